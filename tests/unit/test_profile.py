"""The table of operators and its plots, from files as the stage leaves them."""

import json

import pandas as pd
import pytest
from matplotlib.text import Text

from bitsweep import plots, tables
from bitsweep.errors import UserError
from bitsweep.outcome import Failure, Outcome
from bitsweep.profile import table
from bitsweep.profile.clock import LEAST_ROUNDS, MOST_ROUNDS, profile
from bitsweep.profile.operators import Operator, kind_of, plain
from tests.unit import profiled, synthetic
from tests.unit.figures import assert_texts_within


@pytest.mark.parametrize(
    ("name", "read", "written", "kind"),
    [
        ("fused_nn_contrib_conv2d_NCHWc_add_cast", {"uint8", "int32"}, "int8", "convolution"),
        ("qconv2d_4bit3", {"uint8", "int32"}, "uint8", "convolution"),
        ("fused_nn_contrib_dense_pack_add", {"float32"}, "float32", "dense"),
        ("matmul1", {"float32"}, "float32", "dense"),
        ("fused_nn_max_pool2d", {"int8"}, "int8", "pool"),
        ("fused_multiply_round_clip", {"float32"}, "float32", "conversion"),
        ("fused_cast_add_cast_nn_pad", {"int8"}, "uint8", "conversion"),
        ("fused_dequantize_reshape2", {"int32", "float32"}, "float32", "conversion"),
        ("planes", {"uint8"}, "uint16", "conversion"),
        ("fused_cast_fixed_point_multiply_add", {"int8", "int32"}, "int8", "elementwise"),
        ("qlookup", {"uint8"}, "uint8", "elementwise"),
        ("fused_nn_pad", {"uint8"}, "uint8", "layout"),
        ("transpose", {"float32"}, "float32", "layout"),
        ("qlinearadd", {"uint8", "float"}, "uint8", "elementwise"),  # ONNX Runtime's
        ("dequantizelinear", {"uint8"}, "float", "conversion"),
        ("reorderoutput", {"float"}, "float", "layout"),
        ("fullyconnected", {"uint8"}, "float32", "dense"),  # OpenVINO's
        ("subgraph", {"float32"}, "uint8", "conversion"),
        ("subgraph", {"float32"}, "float32", "elementwise"),
        ("reorder", {"float32"}, "uint8", "conversion"),
        ("reorder", {"float32"}, "float32", "layout"),
        ("softmax", {"float32"}, "float32", "other"),
        ("fused_stack_1addadd0add0add1_", {"float32"}, "float32", "other"),  # within a hash
    ],
)
def test_the_kind_of_a_kernel(name, read, written, kind):
    assert kind_of(name, read, written) == kind


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("fused_cast_add_clip__b6621130d2d99ef1__1", "fused_cast_add_clip"),
        ("fused_nn_max_pool2d", "fused_nn_max_pool2d"),
        ("qconv2d_8bit12", "qconv2d_8bit"),
    ],
)
def test_a_kernels_name_is_told_without_what_tvm_adds(name, told):
    assert plain(name) == told


class Clock:
    """One that takes a millisecond each time it is asked, and a second when it is slow."""

    def __init__(self, seconds, monkeypatch):
        self.now, self.seconds, self.runs = 0.0, seconds, 0
        self.timed = []
        monkeypatch.setattr("bitsweep.profile.clock.time.monotonic", lambda: self.now)

    def set_input(self, image):
        self.shape = image.shape

    def time(self, runs):
        self.now += self.seconds
        self.runs += runs
        return [3.0 + self.runs] * runs

    def time_operators(self):
        self.timed.append([1.0 * self.runs, 2.0])

    def taken(self):
        return self.timed


@pytest.mark.parametrize(("seconds", "rounds"), [(1e-4, MOST_ROUNDS), (9.0, LEAST_ROUNDS)])
def test_figures_are_medians_of_rounds(tmp_path, monkeypatch, seconds, rounds):
    monkeypatch.setenv("TVM_NUM_THREADS", "2")
    clock = Clock(seconds, monkeypatch)
    found = [Operator("a", "other", 1), Operator("b", "other", 1)]
    settings = {"input_shape": [3, 4, 5], "seed": 0}
    profile(clock, found, settings, tmp_path / "operators.json", "what is between")
    left = json.loads((tmp_path / "operators.json").read_text())
    assert clock.shape == (3, 4, 5)
    assert left["rounds"] == clock.runs == rounds
    middle = (rounds + 1) / 2
    assert [one["milliseconds"] for one in left["operators"]] == [middle, 2.0]
    assert (left["whole_ms"], left["sum_ms"], left["rest_ms"]) == (3 + middle, middle + 2, 1)
    assert (left["missing"], left["threads"]) == ("what is between", 2)


@pytest.fixture
def collected(tmp_path):
    """Float32 and int8 of a network, an experiment that failed, and one that was not compiled."""
    experiments = [
        profiled.leave(tmp_path, profiled.experiment(), whole=10.5),
        profiled.leave(tmp_path, profiled.experiment("int8"), profiled.INT8),
        failed(tmp_path, "int4", state="failed", error=synthetic.TIMEOUT),
        failed(tmp_path, "int2", state="skipped", skipped_by="quantize"),
    ]
    return table.collect(experiments, tmp_path, profiled.peaks(tmp_path))


def failed(results, precision, **state):
    of = profiled.experiment(precision)
    (results / str(of)).mkdir(parents=True)
    (results / str(of) / "operators.json").touch()
    Outcome(stage="profile", experiment=of, **state).write(results / str(of) / "profile.json")
    return of


def test_an_operator_has_a_row_beside_the_machines_peaks(collected):
    rows = collected[collected["precision"] == "float32"]
    assert rows["position"].tolist() == [0, 1, 2, 3]
    assert rows["share"].tolist() == pytest.approx([0.4, 0.5, 0.05, 0.05])
    assert rows["gigaproducts_per_second"].tolist()[:3] == pytest.approx([25, 60, 2])
    assert rows["peak_gigaproducts_per_second"].tolist()[:3] == [100.0] * 3
    assert rows["gigaproducts_per_second"].isna().tolist() == [False] * 3 + [True]
    assert rows["gigabytes_per_second"].tolist() == pytest.approx([1, 0.2, 2, 2])
    assert rows["rest_ms"].tolist() == pytest.approx([0.5] * 4)
    int8 = collected[collected["precision"] == "int8"]
    assert int8["peak_gigaproducts_per_second"].dropna().tolist() == [100.0, 400.0, 400.0]


def test_products_of_bits_are_counted_as_such_and_of_a_peak_that_is_not_known_none(tmp_path):
    layer = Operator("qconv2d", "convolution", 10, "a", 10**6, "bits", 4 * 10**6)
    of = profiled.leave(tmp_path, profiled.experiment(), [(layer, 2.0)])
    (row,) = table.collect([of], tmp_path, profiled.peaks(tmp_path)).to_dict("records")
    assert row["gigaproducts_per_second"] == pytest.approx(2.0)
    assert pd.isna(row["peak_gigaproducts_per_second"])


@pytest.mark.parametrize("other", [{"cpu_model": "another"}, {"error": "no LLVM"}])
def test_peaks_of_another_machine_are_not_compared_with(tmp_path, other):
    of = profiled.leave(tmp_path, profiled.experiment())
    rows = table.collect([of], tmp_path, profiled.peaks(tmp_path, **other))
    assert rows["gigaproducts_per_second"].notna().any()
    names = ["peak_gigaproducts_per_second", "peak_gigabytes_per_second", "last_level_bytes"]
    assert rows[names].isna().all(axis=None)


def test_an_operator_that_the_clock_cannot_tell_has_no_rate(tmp_path):
    layer = Operator("conv2d", "convolution", 10, "a", 10**6, "float")
    timed = [(layer, -0.001), (layer, 1.0)]
    of = profiled.leave(tmp_path, profiled.experiment(), timed)
    rows = table.collect([of], tmp_path, profiled.peaks(tmp_path))
    assert rows["gigaproducts_per_second"].isna().tolist() == [True, False]


def test_what_failed_has_a_row_that_says_so(collected):
    rows = collected[collected["operator"].isna()].set_index("precision")
    assert rows.loc["int4", "error"] == "relay.quantize.quantize: stopped after 1800 s"
    assert rows["failed_stage"].tolist() == ["profile", "quantize"]
    told = tables.failed_line(rows.reset_index().iloc[0])
    assert told.startswith("resnet50/relay/cpu/int4 failed@profile: relay.quantize")


def test_a_written_table_reads_back_the_same(collected, tmp_path):
    tables.write(collected, tmp_path / "layers.csv")
    pd.testing.assert_frame_equal(table.read(tmp_path / "layers.csv"), collected)


def test_a_profile_that_changed_since_is_the_users_to_mend(tmp_path):
    of = profiled.leave(tmp_path, profiled.experiment())
    (tmp_path / str(of) / "operators.json").write_text("{}")
    with pytest.raises(UserError, match=r"operators\.json is corrupt"):
        table.collect([of], tmp_path, profiled.peaks(tmp_path))


@pytest.mark.filterwarnings("error")
def test_every_experiment_is_drawn_and_what_failed_is_told(tmp_path):
    precisions = ("float32", "int8", "int4", "fewest_bits")
    experiments = synthetic.sweep(engines=("relay", "relax"), precisions=precisions)
    summary = synthetic.summarise(tmp_path, experiments)
    failure = Failure(kind="crash", type="SIGSEGV", message="ended by SIGSEGV")
    for experiment in experiments:
        if experiment.precision == "int4":
            folder = tmp_path / str(experiment)
            (folder / "operators.json").touch()
            Outcome(
                stage="profile",
                experiment=experiment,
                **(
                    {"state": "skipped", "skipped_by": "compile"}
                    if experiment.engine == "relay"
                    else {"state": "failed", "error": failure}
                ),
            ).write(folder / "profile.json")
            continue
        timed = profiled.FLOAT if experiment.precision == "float32" else profiled.INT8
        profiled.leave(tmp_path, experiment, timed)
    layers = table.collect(experiments, tmp_path, profiled.peaks(tmp_path))
    for draw, told in (
        (plots.profile.draw, {"✕  failed@compile", "✕  failed@profile", "10.0 ms", "conversion"}),
        (plots.roofline.draw, {"floats (FMA)", "bytes (VNNI)", "weights: 8 bits"}),
    ):
        drawn = draw(layers, summary)
        assert_texts_within(drawn)
        texts = [text.get_text() for text in drawn.findobj(Text)]
        assert {"resnet50 (untrained weights), relay", "digits, relax"} <= set(texts)
        assert told <= set(texts)
        # Of an engine that has no profile there is nothing to draw.
        others = pd.concat([summary, summary.assign(engine="openvino")], ignore_index=True)
        assert len(draw(layers, others).axes) == len(drawn.axes)
    nothing = layers[layers["precision"] == "int4"]
    of_nothing = summary[summary["precision"] == "int4"]
    for draw in (plots.profile.draw, plots.roofline.draw):
        assert_texts_within(draw(nothing, of_nothing))
