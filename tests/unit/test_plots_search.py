"""The plots of the frontier and of the allocation, of plans that a real search found."""

import pytest
from matplotlib.text import Text

from bitsweep import plots
from bitsweep.answer import layers, plans
from bitsweep.outcome import Failure
from tests.unit import searched
from tests.unit.figures import assert_texts_within

pytestmark = pytest.mark.filterwarnings("error")
FEWEST = {"fewest_bits": searched.GOALS["fewest_bits"]}


class Left:
    """The tables that the plots are drawn from."""

    def __init__(self, results, experiments):
        searches = searched.searches(experiments)
        self.summary = searched.summarise(results, experiments)
        self.plans = plans.collect(searches, results)
        self.layers = layers.collect(searches, results)

    def frontier(self):
        return plots.frontier.draw(self.plans, self.summary)

    def allocation(self):
        return plots.allocation.draw(self.layers, self.summary)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Digits with labels, times and a search that failed; an untrained network without."""
    results = tmp_path_factory.mktemp("results")
    goals = searched.GOALS | {"small": searched.FASTEST}
    experiments = searched.leave(results, "digits", goals, timed=True)
    agreeing = {"fewest_bits": FEWEST["fewest_bits"] | {"tolerance": 5}}
    experiments += searched.leave(results, "resnet50", agreeing, layers=54, seed=3)
    return Left(results, experiments)


def texts(figure):
    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible()]


def lines(ax, marker):
    return [line for line in ax.get_lines() if line.get_marker() == marker]


def test_accuracy_stands_against_bytes_and_latency_where_it_is_known(both):
    told = texts(both.frontier())
    for label in (
        "bytes of the layers (kB)", "latency (ms)", "top-1 accuracy (%)\n200 selection images",
        "agreement with float32 (%)\n200 selection images", "digits",
        "resnet50 (untrained weights)", "float32",
    ):  # fmt: skip
        assert label in told, label
    assert told.count("bytes of the layers (kB)") == 2
    assert told.count("latency (ms)") == 1
    assert not any("nan" in text or "<NA>" in text for text in told)


def test_every_uniform_width_is_a_named_point(both):
    by_bytes, by_latency, _ = both.frontier().axes
    uniform = both.plans[(both.plans["model"] == "digits") & (both.plans["kind"] == "uniform")]
    for ax, column, unit in ((by_bytes, "bytes", 1000), (by_latency, "latency_ms", 1)):
        (squares,) = lines(ax, "s")
        assert list(squares.get_xdata()) == pytest.approx(list(uniform[column] / unit))
        assert list(squares.get_ydata()) == pytest.approx(list(100 * uniform["top1_accuracy"]))
        told = [text.get_text() for text in ax.texts]
        assert all(name in told for name in ("8 bits", "4 bits", "2 bits", "1 bit"))


def test_widths_in_one_place_share_a_name_and_inputs_tell_them_apart(tmp_path):
    left = Left(tmp_path, searched.leave(tmp_path, "digits", FEWEST, widths=(8, 4)))
    assert "w4a4" in texts(left.frontier())
    uniform = left.plans["uniform_bits"]
    same = ["bytes", "top1_accuracy"]
    three = (uniform == 3) & (left.plans["input_bits"] == 8)
    four = (uniform == 4) & (left.plans["input_bits"] == 8)
    left.plans.loc[three, same] = left.plans.loc[four, same].to_numpy()
    told = texts(left.frontier())
    assert "4, 3 bits" in told
    assert "3 bits" not in told


def test_the_line_joins_the_mixed_plans_that_none_is_better_than(both):
    by_bytes, *_ = both.frontier().axes
    (line,) = (own for own in by_bytes.get_lines() if own.get_drawstyle() == "steps-post")
    places, heights = list(line.get_xdata()), list(line.get_ydata())
    assert places == sorted(places)
    assert heights == sorted(heights)
    mixed = both.plans[(both.plans["model"] == "digits") & (both.plans["kind"] == "mixed")]
    drawn = set(zip(places, heights, strict=True))
    for _, plan in mixed.iterrows():
        place, height = plan["bytes"] / 1000, 100 * plan["top1_accuracy"]
        better = mixed[
            (mixed["bytes"] <= plan["bytes"])
            & (mixed["top1_accuracy"] >= plan["top1_accuracy"])
            & ((mixed["bytes"] < plan["bytes"]) | (mixed["top1_accuracy"] > plan["top1_accuracy"]))
        ]
        if better.empty:
            assert (place, height) in drawn
    assert len(drawn) > 4


def test_chosen_plans_have_their_test_images_beside(both):
    by_bytes, *_ = both.frontier().axes
    rings = [line for line in lines(by_bytes, "o") if line.get_markersize() == 9]
    chosen = both.plans[both.plans["chosen_by"].notna() & (both.plans["model"] == "digits")]
    assert [own.get_xdata()[0] for own in rings] == sorted(chosen["bytes"] / 1000)
    ours = both.summary[both.summary["model"] == "digits"].set_index("precision")
    tested = {own.get_ydata()[0] for own in lines(by_bytes, "D")}
    names = ("fewest_bits", "small")
    assert tested == {100 * ours.loc[name, "top1_accuracy"] for name in names}
    bars = {tuple(segment[:, 1]) for bar in by_bytes.collections for segment in bar.get_segments()}
    assert bars == {
        tuple(100 * ours.loc[name, f"top1_accuracy_{end}"] for end in ("low", "high"))
        for name in names
    }
    assert {own.get_ydata()[0] for own in lines(by_bytes, "_")} == {97.2}
    for name in names:
        assert name in texts(both.frontier())


def test_what_failed_stands_in_the_margin(both):
    told = "\n".join(texts(both.frontier()))
    assert told.count("failed@") == 1
    assert "✕  hard failed@search" in told


@pytest.mark.parametrize("plot", ["frontier", "allocation"])
def test_a_model_that_was_never_traced_keeps_its_place(tmp_path, plot):
    experiments = searched.leave(tmp_path, "digits", FEWEST)
    left = Left(tmp_path, experiments)
    for table in (left.plans, left.summary, left.layers):
        assert len(table)
    left.plans = left.plans.iloc[:0]
    left.layers = left.layers.iloc[:1].copy()
    left.layers[["layer", "position", "bytes", "error"]] = None
    left.layers[["state", "failed_stage"]] = ("failed", "import")
    left.summary[["state", "failed_stage", "search_state"]] = ("failed", "import", "skipped")
    told = "\n".join(texts(getattr(left, plot)()))
    assert "failed@import" in told
    assert "digits" in told
    assert "nan" not in told


def test_a_search_whose_module_failed_has_no_test_images_beside(tmp_path):
    ours = searched.leave(tmp_path, "digits", FEWEST)
    refused = Failure(kind="crash", type="SIGSEGV", message="")
    searched.fail(tmp_path, searched.experiment("fewest_bits"), refused, "compile")
    figure = Left(tmp_path, ours).frontier()
    (ax,) = figure.axes
    assert lines(ax, "D") == []
    assert "✕  fewest_bits failed@compile" in texts(figure)


def test_the_bits_of_every_layer_are_in_their_cell(both):
    cells, *_ = both.allocation().axes
    own = both.layers[both.layers["model"] == "digits"]
    assert [label.get_text() for label in cells.get_xticklabels()] == [
        "fewest_bits", "small", "hard",
    ]  # fmt: skip
    layers_in_order = [label.get_text() for label in cells.get_yticklabels()]
    assert layers_in_order == own[own["precision"] == "small"]["layer"].tolist()
    told = {text.get_position(): text.get_text() for text in cells.texts}
    for column, name in enumerate(("fewest_bits", "small")):
        for _, row in own[own["precision"] == name].iterrows():
            assert told[column, row["position"]] == str(row["weight_bits"])
    assert "✕  failed@search" in told.values()


def test_more_bits_are_darker(both):
    cells, *_ = both.allocation().axes
    bars = [bar for bars in cells.containers for bar in bars]
    bits = [int(text.get_text()) for text in cells.texts if text.get_text().isdigit()]
    brightness = {
        width: sum(bar.get_facecolor()[:3]) for width, bar in zip(bits, bars, strict=True)
    }
    assert len(brightness) > 2
    assert sorted(brightness, key=brightness.get) == sorted(brightness, reverse=True)


def test_bytes_times_and_errors_stand_beside(both):
    _, by_bytes, by_time, by_error, *others = both.allocation().axes
    own = both.layers[(both.layers["model"] == "digits") & both.layers["layer"].notna()]
    for ax, column, unit in ((by_bytes, "bytes", 1000), (by_time, "latency_ms", 1)):
        widths = [bar.get_width() for bars in ax.containers for bar in bars]
        assert widths == pytest.approx(list(own[column] / unit))
    (least,) = lines(by_error, "|")
    assert list(least.get_xdata()) == list(own["least_error"][:12])
    drawn = [value for line in lines(by_error, "o") for value in line.get_xdata()]
    assert drawn == list(own["error"])
    assert [ax.get_visible() for ax in others] == [True, True, False, True]


def test_the_bits_of_inputs_are_told_where_they_are_not_eight(tmp_path):
    left = Left(tmp_path, searched.leave(tmp_path, "digits", FEWEST, layers=4))
    assert not any("/" in text for text in texts(left.allocation()))
    left.layers.loc[0, "input_bits"] = 4
    assert f"{left.layers.loc[0, 'weight_bits']}/4" in texts(left.allocation())


def test_untrained_weights_are_said_to_be(both):
    assert "resnet50 (untrained weights)" in texts(both.allocation())


@pytest.mark.parametrize("plot", ["frontier", "allocation"])
@pytest.mark.parametrize("layers", [2, 54])
def test_no_text_leaves_the_figure(tmp_path, plot, layers):
    figure = getattr(
        Left(tmp_path, searched.leave(tmp_path, "digits", layers=layers, timed=True)), plot
    )()
    assert_texts_within(figure)
