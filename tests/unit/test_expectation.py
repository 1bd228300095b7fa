import pytest

from bitsweep import tables
from bitsweep.errors import UserError
from bitsweep.expectation import check, outcome_of
from tests.unit import synthetic

EXPERIMENTS = synthetic.sweep(models=("digits",))
TYPICAL = dict.fromkeys(synthetic.PRECISIONS, "ok") | {
    "int4": "failed@compile",
    "int2": "failed@quantize",
    "int1": "degenerate",
}


@pytest.fixture(scope="module", params=["csv", "parquet"])
def summary(request, tmp_path_factory):
    """The summary of a typical sweep: two precisions fail, one is degenerate."""
    folder = tmp_path_factory.mktemp("swept")
    path = folder / f"summary.{request.param}"
    tables.write(synthetic.summarise(folder, EXPERIMENTS), path)
    return path


def expected(**changed):
    return list((TYPICAL | changed).values())


def surprise(summary, **changed):
    with pytest.raises(UserError) as caught:
        check(summary, expected(**changed))
    return str(caught.value)


def test_each_row_has_one_outcome(summary):
    rows = tables.read_summary(summary).iterrows()
    assert [outcome_of(row) for _, row in rows] == expected()


def test_what_is_expected_passes(summary, capsys):
    check(summary, expected())
    assert capsys.readouterr().out == "all 7 experiments are as expected\n"


@pytest.mark.parametrize(
    ("precision", "wanted"),
    [
        ("int8", "failed@compile"),  # it should have failed, and did not
        ("int8", "degenerate"),
        ("int4", "ok"),  # it should not have failed, and did
        ("int4", "failed@quantize"),  # it failed elsewhere
        ("int1", "ok"),
        ("int1", "failed@compile"),
    ],
)
def test_a_surprise_in_either_direction_is_named(summary, precision, wanted):
    assert surprise(summary, **{precision: wanted}) == (
        "1 of 7 experiments are not as expected: "
        f"digits/relay/cpu/{precision} is {TYPICAL[precision]}, expected {wanted}"
    )


def test_every_surprise_is_told(summary):
    said = surprise(summary, float32="failed@export", int4="ok")
    assert said.startswith("2 of 7 ")
    assert said.index("/float32 is ok") < said.index("/int4 is failed@compile")


def test_expectations_are_in_the_order_of_the_rows(summary):
    with pytest.raises(UserError):
        check(summary, reversed(expected()))


@pytest.mark.parametrize("wrong", [expected()[:-1], [*expected(), "ok"], []])
def test_an_expectation_for_each_row_and_no_more(summary, wrong):
    with pytest.raises(ValueError, match="argument 2"):
        check(summary, wrong)
