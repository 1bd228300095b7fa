import re
import textwrap

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.text import Text

from bitsweep import plots
from bitsweep.outcome import Failure
from bitsweep.plots import style
from bitsweep.proportions import wilson_interval
from tests.unit import synthetic
from tests.unit.figures import assert_texts_within

pytestmark = pytest.mark.filterwarnings("error")
LONG = Failure(
    kind="exception",
    type="OpNotImplemented",
    message="The following operators are not implemented: " + "aten::something_long," * 40,
    function="tvm.relay.frontend.from_pytorch",
    file="python/tvm/relay/frontend/pytorch.py",
    line=4906,
    log="import.log",
)


def _texts(figure):
    """All that a figure says."""
    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible()]


@pytest.fixture(params=sorted(plots.PLOTS))
def draw(request):
    return plots.PLOTS[request.param]


def test_every_precision_and_failure_is_shown(draw, tmp_path):
    texts = _texts(draw(synthetic.summarise(tmp_path, synthetic.sweep())))
    for precision in synthetic.PRECISIONS:
        assert texts.count(precision) == 2, precision
    for stage in ("compile", "quantize"):
        assert sum(f"failed@{stage}" in text for text in texts) == 2


def test_untrained_weights_are_said_to_be(draw, tmp_path):
    texts = _texts(draw(synthetic.summarise(tmp_path, synthetic.sweep())))
    assert any(text.startswith("resnet50 (untrained weights)") for text in texts)
    assert any(re.fullmatch(r"digits(, relay)?", text) for text in texts)


def test_engines_are_told_apart(draw, tmp_path):
    summary = synthetic.summarise(tmp_path, synthetic.sweep(engines=["relay", "relax"]))
    texts = " ".join(_texts(draw(summary)))
    assert "relay" in texts and "relax" in texts
    assert texts.count("failed@compile") == 4


@pytest.mark.parametrize("draw", [d for n, d in plots.PLOTS.items() if n != "accuracy"])
def test_precisions_keep_the_order_of_the_rows(draw, tmp_path):
    precisions = ["int8", "int1", "float32", "int2"]
    summary = synthetic.summarise(tmp_path, synthetic.sweep(["digits"], precisions=precisions))
    assert [t for t in _texts(draw(summary)) if t in precisions] == precisions


@pytest.mark.parametrize("precision", ["float32", "int4"])
def test_one_experiment_is_enough(draw, tmp_path, precision):
    summary = synthetic.summarise(tmp_path, synthetic.sweep(["digits"], precisions=[precision]))
    assert precision in _texts(draw(summary))


def test_nothing_has_to_succeed(draw, tmp_path):
    failing = {p: [("import", LONG)] for p in synthetic.PRECISIONS}
    texts = _texts(draw(synthetic.summarise(tmp_path, synthetic.sweep(), failing)))
    assert set(synthetic.PRECISIONS) <= set(texts)
    assert any("failed@import" in text for text in texts)
    assert not any("nan" in text or "<NA>" in text for text in texts)


def test_no_text_leaves_the_figure(draw, tmp_path):
    names = ["resnet50", "digits", "mobilenet_v3_large", "convnext_tiny"]
    failing = {**synthetic.TYPICAL, "int1": [("evaluate", LONG), ("inspect", LONG)]}
    summary = synthetic.summarise(tmp_path, synthetic.sweep(names, ["relay", "relax"]), failing)
    assert_texts_within(draw(summary))


def test_no_text_leaves_the_figure_with_the_names_of_several_cpus(tmp_path):
    summary = synthetic.summarise(tmp_path, synthetic.sweep(engines=["relay", "relax"]))
    for index, model in enumerate(("8481C CPU @ 2.70GHz", "8259CL CPU @ 2.50GHz")):
        summary.loc[index, "cpu_model"] = f"Intel(R) Xeon(R) Platinum {model}"
    summary.loc[0, "disturbed"] = True
    assert_texts_within(plots.PLOTS["latency"](summary))


@pytest.mark.parametrize("engines", [["relay", "relax", *synthetic.SHOWING_NO_CODE], ["openvino"]])
def test_no_text_leaves_the_figure_with_five_engines_or_one(draw, tmp_path, engines):
    experiments = synthetic.sweep(["digits"], engines, ["float32", "int8", "int4"])
    assert_texts_within(draw(synthetic.summarise(tmp_path, experiments)))


def test_a_legend_of_two_rows_has_no_row_for_one_entry(tmp_path):
    engines = ["relay", "relax", *synthetic.SHOWING_NO_CODE]
    summary = synthetic.summarise(tmp_path, synthetic.sweep(["digits"], engines, ["float32"]))
    summary.loc[0, "disturbed"] = True
    figure = plots.PLOTS["latency"](summary)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    heights = [text.get_window_extent().y0 for text in legend.get_texts()]
    first = heights.count(max(heights))
    assert len(heights) == 7
    assert first == 4


def test_figures_of_five_engines_do_not_lie_over_each_other(tmp_path):
    engines = ["relay", "relax", *synthetic.SHOWING_NO_CODE]
    experiments = synthetic.sweep(["digits"], engines, ["float32", "int8"])
    figure = plots.PLOTS["accuracy"](synthetic.summarise(tmp_path, experiments))
    figure.draw_without_rendering()
    figures = [t for t in figure.findobj(Text) if re.fullmatch(r"9\d\.\d", t.get_text())]
    boxes = [text.get_window_extent() for text in figures]
    assert len(boxes) == 10
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_a_tool_that_shows_no_code_has_the_types_of_its_operators(tmp_path):
    experiments = synthetic.sweep(["digits"], ["relay", "openvino"], ["float32", "int8"])
    figure = plots.PLOTS["dtypes"](synthetic.summarise(tmp_path, experiments))
    of_relay, of_openvino = figure.axes[:2], figure.axes[2:]
    assert [ax.get_xlabel() for ax in of_relay] == [
        "data types in the LLVM IR (%)",
        "instructions in the module",
    ]
    assert of_openvino[0].get_xlabel() == "data types of the operators that run (%)"
    assert of_openvino[0].patches and not of_openvino[1].get_visible()


def test_the_failing_cell_carries_the_reason(tmp_path):
    figure = plots.PLOTS["outcomes"](synthetic.summarise(tmp_path, synthetic.sweep(["digits"])))
    told = " ".join(_texts(figure))
    assert "CodeGenLLVM::BufferAccessHelper src/target/llvm/codegen_llvm.cc:1749" in told
    assert "value_dtype.bits() >= 8 (4 vs. 8)" in told
    assert "Need to load/store by multiple of bytes" in told
    assert "degenerate" in told


@pytest.mark.parametrize("stage", ["import", "compile"])
def test_a_long_reason_is_cut_and_stays_in_its_cell(tmp_path, stage):
    failing = {"float32": [(stage, LONG)]}
    experiments = synthetic.sweep(["digits"], precisions=["float32"])
    figure = plots.PLOTS["outcomes"](synthetic.summarise(tmp_path, experiments, failing))
    figure.draw_without_rendering()
    lines = [t for t in figure.findobj(Text) if "Mono" in "".join(t.get_fontfamily())]
    assert lines[-1].get_text().endswith("…")
    cells = [p.get_window_extent() for p in figure.axes[0].patches]
    for line in lines:
        box = line.get_window_extent()
        assert any(
            c.x0 <= box.x0 and box.x1 <= c.x1 and c.y0 <= box.y0 and box.y1 <= c.y1 for c in cells
        ), textwrap.shorten(line.get_text(), 60)


def test_sqnr_stands_in_where_there_are_no_labels(tmp_path):
    texts = _texts(plots.PLOTS["accuracy"](synthetic.summarise(tmp_path, synthetic.sweep())))
    assert sum("SQNR against PyTorch" in text for text in texts) == 1
    assert sum("top-1 accuracy" in text for text in texts) == 1
    assert "exact" in texts and "36.1" in texts and "92.6" in texts


def test_what_a_constant_would_have_is_a_line(tmp_path):
    figure = plots.PLOTS["accuracy"](synthetic.summarise(tmp_path, synthetic.sweep()))
    levels = {}
    for ax in _of_accuracy(figure):
        (label,) = (text for text in ax.texts if text.get_text() == "constant")
        levels[ax.get_title("left") or ax.get_title()] = label.xy[1]
        assert any(np.allclose(line.get_ydata(), label.xy[1]) for line in ax.lines)
    assert levels == {
        "resnet50 (untrained weights)": pytest.approx(12.9),
        "digits": pytest.approx(10.2),
    }


def _of_accuracy(figure):
    """The axes of a plot of accuracy that have a model's name."""
    return [ax for ax in figure.axes if ax.get_title("left")]


def _bars(ax):
    """The vertical bars of some axes: place, lower and upper end."""
    bars = [bar for bar in ax.collections if isinstance(bar, LineCollection)]
    found = [segment for bar in bars for segment in bar.get_segments()]
    return sorted((start[0], start[1], end[1]) for start, end in found)


def _band(ax):
    """The ends of the band that stands for PyTorch's own interval."""
    (band,) = (patch for patch in ax.patches if to_hex(patch.get_facecolor()) == "#dfe8ee")
    return band.get_y(), band.get_y() + band.get_height()


def test_every_accuracy_and_every_difference_has_its_interval(tmp_path):
    summary = synthetic.summarise(tmp_path, synthetic.sweep(["digits"], ["relay", "relax"]))
    above, below = plots.PLOTS["accuracy"](summary).axes
    ok = summary[summary["state"] == "ok"]
    for ax, name in ((above, "top1_accuracy"), (below, "accuracy_difference")):
        bars = _bars(ax)
        assert len(bars) == len({x for x, *_ in bars}) == len(ok) == 10
        for end, drawn in (("low", 1), ("high", 2)):
            expected = sorted(100 * ok[f"{name}_{end}"])
            assert sorted(bar[drawn] for bar in bars) == pytest.approx(expected)
        bottom, top = ax.get_ylim()
        assert all(bottom < low and high < top for _, low, high in bars)
    assert _band(above) == pytest.approx([100 * end for end in wilson_interval(0.972, 540)])
    assert _band(below) == pytest.approx([-0.706, 0.706], abs=1e-3)


def test_an_interval_of_few_images_is_seen_to_be_wider(tmp_path):
    summary = synthetic.summarise(tmp_path, synthetic.sweep(["digits"]))
    summary["images"] = 60
    above, below = plots.PLOTS["accuracy"](summary).axes
    assert np.ptp(_band(above)) > 8
    assert np.ptp(_band(below)) > 12


def test_what_is_more_than_chance_has_a_star(tmp_path):
    precisions = ["float32", "int8", "int1"]
    summary = synthetic.summarise(tmp_path, synthetic.sweep(["digits"], precisions=precisions))
    for p, stars in ((0.051, 1), (0.049, 2)):
        summary.loc[summary["precision"] == "int8", "accuracy_difference_p"] = p
        _, below = plots.PLOTS["accuracy"](summary).axes
        assert [text.get_text() for text in below.texts].count("*") == stars


def test_accuracies_without_labels_have_no_differences(tmp_path):
    summary = synthetic.summarise(tmp_path, synthetic.sweep(["resnet50"]))
    figure = plots.PLOTS["accuracy"](summary)
    (ax,) = figure.axes
    assert _bars(ax) == []
    assert not any("interval" in text or "chance" in text for text in _texts(figure))


def test_accuracy_stands_against_bits_which_fall_to_the_right(tmp_path):
    precisions = ["w1a8", "int8", "int2", "w4a8", "int4", "w2a8", "float32"]
    experiments = synthetic.sweep(["digits"], ["relax"], precisions)
    figure = plots.PLOTS["accuracy"](synthetic.summarise(tmp_path, experiments, {}))
    above, below = figure.axes
    falling = ["float32", "int8", "w4a8", "int4", "w2a8", "int2", "w1a8"]
    assert [label.get_text() for label in below.get_xticklabels()] == falling
    assert above.get_xlim() == below.get_xlim()
    texts = _texts(figure)
    for told in ("8 bits", "4 bits", "1 bit", "8-bit activations", "2-bit activations"):
        assert texts.count(told) == 1, told


def test_an_engine_without_a_precision_leaves_its_place_free(draw, tmp_path):
    relay = synthetic.sweep(["digits"], ["relay"], ["float32", "int8", "int2_in_int8"])
    relax = synthetic.sweep(["digits"], ["relax"], ["float32", "w4a8", "int8"])
    texts = _texts(draw(synthetic.summarise(tmp_path, [*relay, *relax], {})))
    for precision in ("int2_in_int8", "w4a8"):
        assert texts.count(precision) == 1
    assert not any("failed@" in text or "not measured" in text for text in texts)


def test_precisions_of_two_engines_keep_the_order_of_each(tmp_path):
    relay = synthetic.sweep(["digits"], ["relay"], ["float32", "int8", "int4", "int2_in_int8"])
    relax = synthetic.sweep(["digits"], ["relax"], ["float32", "int8", "w4a8", "int4"])
    (panel,) = style.panels(synthetic.summarise(tmp_path, [*relay, *relax]))
    assert panel.precisions == ["float32", "int8", "w4a8", "int4", "int2_in_int8"]
    heights = [height for height, _ in panel.slots()]
    assert heights == sorted(heights) and len(set(heights)) == 8


def test_speedup_and_size_ratio_are_annotated(tmp_path):
    summary = synthetic.summarise(tmp_path, synthetic.sweep(["resnet50"]))
    assert "0.63× [0.61, 0.64]" in _texts(plots.PLOTS["latency"](summary))
    assert "0.27×" in _texts(plots.PLOTS["size"](summary))


def _markers(figure):
    """The markers of the medians of a plot of latencies, in order: their shape and their face."""
    lines = [
        line for ax in figure.axes for line in ax.get_lines() if line.get_label() == "_nolegend_"
    ]
    return [
        (line.get_marker(), line.get_markerfacecolor() == "white")
        for line in lines
        if line.get_marker() in "osD^vPX"
    ]


def test_a_disturbed_latency_is_hollow(tmp_path):
    summary = synthetic.summarise(tmp_path, synthetic.sweep(["digits"]))
    quiet = plots.PLOTS["latency"](summary)
    assert "disturbed" not in _texts(quiet)
    assert _markers(quiet) == [("o", False)] * 5
    summary.loc[summary["precision"] == "int8", "disturbed"] = True
    figure = plots.PLOTS["latency"](summary)
    assert "disturbed" in _texts(figure)
    assert _markers(figure) == [("o", False), ("o", True), *[("o", False)] * 3]


def test_speeds_are_relative_to_the_reference_where_it_was_measured(tmp_path):
    summary = synthetic.summarise(tmp_path, synthetic.sweep())
    ours = summary["model"] == "digits"
    summary.loc[ours, "reference"] = "openvino"
    summary.loc[ours, "speedup_vs_reference"] = 0.1 / summary.loc[ours, "latency_median_ms"]
    for end, factor in (("low", 0.9), ("high", 1.1)):
        summary.loc[ours, f"reference_speedup_{end}"] = (
            factor * summary.loc[ours, "speedup_vs_reference"]
        )
    figure = plots.PLOTS["latency"](summary)
    absolute, relative = figure.axes[:2]
    assert "ms" in absolute.get_xlabel()
    assert relative.get_xlabel().startswith("speed relative to openvino's float32")
    dashed = [line for line in relative.get_lines() if line.get_linestyle() == "--"]
    assert [list(line.get_xdata()) for line in dashed] == [[1.0, 1.0]]
    points = [line.get_xdata()[0] for line in relative.get_lines() if line.get_marker() == "o"]
    known = summary[ours].dropna(subset=["speedup_vs_reference"])["speedup_vs_reference"]
    assert sorted(points) == pytest.approx(sorted(known))


def test_latencies_of_several_cpus_are_told_apart(tmp_path):
    summary = synthetic.summarise(tmp_path, synthetic.sweep())
    assert "AMD EPYC 9B14" not in _texts(plots.PLOTS["latency"](summary))
    ours = (summary["model"] == "digits") & (summary["precision"] == "int8")
    summary.loc[ours, "cpu_model"] = pd.NA
    figure = plots.PLOTS["latency"](summary)
    texts = _texts(figure)
    assert "AMD EPYC 9B14" in texts and "an unnamed CPU" in texts
    shapes = [shape for shape, _ in _markers(figure)]
    assert shapes == ["o"] * 6 + ["s"] + ["o"] * 3
    dashed = [
        [line for line in ax.get_lines() if line.get_linestyle() == "--"] for ax in figure.axes
    ]
    assert [len(lines) for lines in dashed] == [1, 0]


def test_a_figure_without_an_interval_is_drawn_without(tmp_path):
    summary = synthetic.summarise(tmp_path, synthetic.sweep(["resnet50"]))
    bounds = ["latency_low_ms", "latency_high_ms", "speedup_low", "speedup_high"]
    summary[bounds] = pd.NA
    texts = _texts(plots.PLOTS["latency"](summary))
    assert "0.63×" in texts and "75.3 ms" in texts


def test_a_stage_that_failed_singly_hides_only_its_own_figures(tmp_path):
    failing = {"int8": [("benchmark", synthetic.TIMEOUT), ("evaluate", synthetic.TIMEOUT)]}
    experiments = synthetic.sweep(["digits"], precisions=["float32", "int8"])
    summary = synthetic.summarise(tmp_path, experiments, failing)
    shown = {name: " ".join(_texts(draw(summary))) for name, draw in plots.PLOTS.items()}
    for stage, plot in (("benchmark", "latency"), ("evaluate", "accuracy")):
        marked = {name for name, texts in shown.items() if f"failed@{stage}" in texts}
        assert marked == {plot, "outcomes"}


def test_write_leaves_a_png(tmp_path):
    summary = synthetic.summarise(tmp_path, synthetic.sweep(["digits"], precisions=["float32"]))
    plots.write("size", summary, tmp_path / "plots" / "size.png")
    assert (tmp_path / "plots/size.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["size.png"]
