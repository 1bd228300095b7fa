"""What two runs tell of speed: false alarms and power, by simulation."""

import numpy as np
import pytest

from bitsweep.compare import speed

TABLES, EXPERIMENTS = 400, 20


def found(generator, processes, spread, factor=1.0):
    """The verdicts of a table whose first experiment is `factor` times as fast in the new run."""
    factors = np.ones((EXPERIMENTS, 1))
    factors[0] = factor
    logs = generator.normal(0.4, spread, (2, EXPERIMENTS, processes))
    old, new = np.exp(logs[0]), np.exp(logs[1]) * factors
    return speed.verdicts([speed.change(*runs) for runs in zip(old, new, strict=True)])


@pytest.mark.parametrize(("processes", "spread"), [(1, 0.1), (3, 0.1), (5, 0.02)])
def test_where_nothing_changed_few_tables_have_a_verdict(processes, spread):
    generator = np.random.default_rng(0)
    alarms = sum(
        not {"faster", "slower"}.isdisjoint(found(generator, processes, spread))
        for _ in range(TABLES)
    )
    # 5 % of tables, and twice the standard error of so many.
    assert alarms / TABLES <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / TABLES)


def test_ten_percent_slower_is_found_by_several_processes():
    generator = np.random.default_rng(1)
    verdicts = [found(generator, 7, 0.02, factor=0.9)[0] for _ in range(100)]
    assert verdicts.count("slower") >= 90


def test_ten_percent_cannot_be_told_by_a_single_process():
    assert speed.verdicts([speed.change([1.5], [1.35])]) == ["inconclusive"]


def test_a_narrow_interval_around_no_change_is_the_same():
    runs = [1.500, 1.501, 1.499, 1.5005]
    assert speed.verdicts([speed.change(runs, runs)]) == ["same"]


def test_the_ratio_is_the_new_speed_over_the_old():
    change = speed.change([1.0, 1.0, 1.0], [2.0, 2.0, 2.0])
    assert change.ratio == pytest.approx(2) and speed.verdicts([change]) == ["faster"]


def test_exchanging_runs_inverts_ratio_and_interval():
    old, new = [1.0, 1.1, 0.95], [1.3, 1.2, 1.4, 1.25]
    there, back = speed.change(old, new), speed.change(new, old)
    assert there.ratio == pytest.approx(1 / back.ratio)
    assert (there.low, there.high) == pytest.approx((1 / back.high, 1 / back.low))


def test_a_table_without_experiments_has_no_verdicts():
    assert speed.verdicts([]) == []
