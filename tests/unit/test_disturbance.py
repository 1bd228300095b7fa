"""What the kernel's counters tell of others on a machine, from texts as kernels give them."""

import os
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsweep import disturbance
from bitsweep.disturbance import Counters, Disturbance

STAT = """cpu  900 90 90 900 90 90 90 90 9 9
cpu0 100 1 20 500 50 3 4 7 11 0
cpu1 200 2 30 600 60 5 6 8 22 0
cpu2 800 80 80 800 80 80 80 80 0 0
intr 1 2 3
"""


@pytest.fixture(autouse=True)
def a_machine(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_CLK_TCK": 100}[name])


def test_counters_are_those_of_the_cpus_that_the_process_may_use(tmp_path):
    (tmp_path / "stat").write_text(STAT)
    found = disturbance.counters(stat=tmp_path / "stat")
    assert (found.cpus, found.busy, found.stolen) == (2, 3.71, 0.15)
    assert found.moment <= time.monotonic() and found.own <= time.process_time()


def test_counters_of_this_machine_grow_by_what_this_process_does():
    if not (before := disturbance.counters()):
        pytest.skip("no /proc/stat")
    while time.process_time() < before.own + 0.1:
        pass
    after = disturbance.counters()
    assert after.busy - before.busy >= 0.05
    assert after.own - before.own >= 0.1
    assert after.stolen >= before.stolen


def test_what_processes_of_ones_own_do_is_no_others():
    code = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    before = time.process_time()
    process.stdout.readline()
    with_it = disturbance.counters([process.pid])
    process.communicate(b"\n")
    without = disturbance.counters([process.pid])
    if with_it:  # there is /proc/stat
        assert with_it.own >= before + 0.25
        assert without.own < with_it.own


@pytest.mark.parametrize("text", [None, "", "cpu 1 2 3 4 5 6 7 8\n", "cpu7 1 2 3 4 5 6 7 8\n"])
def test_a_machine_that_tells_nothing(tmp_path, text):
    if text is not None:
        (tmp_path / "stat").write_text(text)
    assert disturbance.counters(stat=tmp_path / "stat") is None
    assert disturbance.between(None, Counters(1, 1, 1, 1, 1)) is None
    assert disturbance.between(Counters(1, 1, 1, 1, 1), None) is None
    assert disturbance.is_disturbed([None]) is None
    assert disturbance.is_disturbed([]) is None


def test_others_had_what_is_busy_beyond_this_process_and_a_tick_a_cpu():
    before = Counters(moment=10.0, cpus=2, busy=100.0, stolen=5.0, own=50.0)
    after = Counters(moment=14.0, cpus=2, busy=106.02, stolen=5.82, own=54.0)
    found = disturbance.between(before, after)
    assert (found.others, found.steal) == pytest.approx((2 / 8, 0.8 / 8))
    assert found.disturbs


@given(
    elapsed=st.floats(1e-6, 100),
    cpus=st.integers(1, 256),
    own=st.floats(0, 1),
    ticks=st.floats(-1, 1),
)
def test_a_process_that_is_alone_is_never_disturbed_by_the_coarse_count(elapsed, cpus, own, ticks):
    """The kernel counts in ticks: what it says of a CPU is off by up to one of them."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(os, "sysconf", lambda _: 100)
        own *= elapsed * cpus
        after = Counters(elapsed, cpus, own + 0.01 * ticks * cpus, 0.0, own)
        found = disturbance.between(Counters(0.0, cpus, 0.0, 0.0, 0.0), after)
    assert found.others == pytest.approx(0, abs=1e-6) and found.steal == 0


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1))
def test_a_benchmark_is_disturbed_when_more_than_a_fifth_of_its_rounds_are(shares):
    rounds = [Disturbance(steal, others) for steal, others in shares]
    disturbed = sum(steal + others > 0.05 for steal, others in shares)
    assert disturbance.is_disturbed([*rounds, None]) == (disturbed / len(rounds) > 0.2)


def test_the_clock_is_cpufreqs_else_that_of_cpuinfo(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        "".join(
            f"processor\t: {cpu}\ncpu MHz\t\t: {mhz}\n\n"
            for cpu, mhz in enumerate((2400.5, 2600.5, 9))
        )
    )
    assert disturbance.frequency_mhz(tmp_path, cpuinfo) == 2500.5
    for cpu, told in enumerate(("3000000", "3200000", "1")):
        folder = tmp_path / f"cpu{cpu}" / "cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_cur_freq").write_text(f"{told}\n")
    assert disturbance.frequency_mhz(tmp_path, cpuinfo) == 3100
    assert disturbance.frequency_mhz(tmp_path / "none", tmp_path / "none") is None
