"""What a raised limit runs again."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bitsweep import limits
from bitsweep.outcome import Experiment, Failure, Outcome

KINDS = ("timeout", "memory")
LIMITS = st.fixed_dictionaries({kind: st.integers(1, 4) for kind in KINDS})
EXPERIMENT = Experiment(model="net")


@given(
    st.lists(
        st.tuples(LIMITS, st.sampled_from([*KINDS, "exception", None]), st.booleans()), max_size=8
    )
)
def test_exactly_what_ran_into_a_smaller_limit_runs_again(tmp_path_factory, steps):
    """Each step sets limits and may run the stage for another reason; it ends in some way."""
    path = Path(tmp_path_factory.mktemp("outcome") / "compile.json")
    recorded, ran_into = None, None
    for allowed, ending, otherwise in steps:
        told = repr(limits.raised(path, recorded, allowed))
        changed = recorded is not None and told not in recorded
        kind, limit = ran_into or (None, None)
        assert changed == (kind in KINDS and limit < allowed[kind])
        if recorded is None or changed or otherwise:
            recorded = ["{'bits': 4}", told]
            ran_into = ending and (ending, allowed.get(ending))
            outcome_of(ran_into).write(path)


def outcome_of(ran_into):
    error = ran_into and Failure(kind=ran_into[0], type="", message="", limit=ran_into[1])
    return Outcome(
        state="failed" if error else "ok", stage="compile", experiment=EXPERIMENT, error=error
    )


def test_a_damaged_outcome_is_left_to_who_reads_it(tmp_path):
    path = tmp_path / "compile.json"
    path.write_text('{"limit"')
    allowed = {"timeout": 1, "memory": 1}
    assert limits.raised(path, None, allowed) == limits.raised(tmp_path / "none", None, allowed)
