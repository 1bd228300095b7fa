"""The engines that users would pick instead, on the digits: one run beside the finished sweep."""

import json

import numpy as np
import pytest
from torch import nn

from bitsweep import tables
from bitsweep.digits import residual_network
from bitsweep.engines.declared import has_task
from bitsweep.outcome import read
from bitsweep.profile import table as profiles
from tests.workflow.checkout import DIGITS

ENGINES = ("onnxruntime", "openvino", "torch")
CONFIG = {
    "sweep": {**DIGITS["sweep"], "engines": [*ENGINES], "precisions": ["float32", "int8", "int4"]},
    "precisions": {"int4": {"torch": None}},  # one refusal is enough; unit tests know the others
    "sensitivity": {"precisions": []},
    "expect": [{"engine": "openvino", "precision": "int4", "outcome": "failed@quantize"}],
}


def test_the_digits_in_each_engine(digits):
    ended = digits.done(config=CONFIG)
    table = tables.read_summary(digits.path("results/tables/summary.csv"))
    rows = {(row["engine"], row["precision"]): row for _, row in table.iterrows()}
    results = digits.path("results/digits")
    with np.load(results / "reference.npz") as reference:
        expected, labels = reference["output"], reference["label"]
    for engine in ENGINES:
        answers = {}
        for precision in ("float32", "int8"):
            with np.load(results / engine / "cpu" / precision / "outputs.npz") as file:
                answers[precision] = file["output"]
            row = rows[engine, precision]
            # By the images themselves, not by the tables.
            right = (answers[precision].argmax(axis=1) == labels).mean()
            assert row["state"] == "ok" and row["top1_accuracy"] == pytest.approx(right)
            assert right >= 0.95
            assert row["latency_median_ms"] > 0
        difference = np.abs(answers["float32"] - expected).max()
        assert difference <= 1e-4 * np.abs(expected).max()
        # Quantized they are near, and others.
        assert 10 < rows[engine, "int8"]["sqnr_db"] < 45 < rows[engine, "float32"]["sqnr_db"]
        assert rows[engine, "int8"]["integer_macs_percent"] == 100
        assert rows[engine, "float32"]["integer_macs_percent"] == 0
        assert rows[engine, "int8"]["size_vs_float32"] < 0.6
        assert rows[engine, "int8"]["speedup_vs_float32"] > 0
        code = json.loads((results / engine / "cpu" / "int8" / "code.json").read_text())
        assert code["dtypes"]["i8"] > 9 > code["float32"]["dtypes"]["i8"] == 0  # convolutions
        if has_task(engine, "profile"):
            assert rows[engine, "int8"]["explanation"].startswith(f"{engine}/int8")
    # Every layer is told in every experiment, by its name in PyTorch and of as many products.
    layers = profiles.read(digits.path("results/tables/layers.csv")).dropna(subset=["macs"])
    named = {
        key: dict(zip(own["layer"], own["macs"], strict=True))
        for key, own in layers.groupby(["engine", "precision"])
    }
    assert len(named) == 4
    assert all(own == named["openvino", "float32"] for own in named.values())
    modules = residual_network().named_modules()
    weighted = {name for name, module in modules if isinstance(module, nn.Conv2d | nn.Linear)}
    assert set(named["openvino", "float32"]) == weighted
    refused = read(results / "openvino/cpu/int4/quantize.json").error
    assert refused.file == "nncf/common/quantization/structs.py"
    assert "digits/openvino/cpu/int4 failed@quantize: constrain_qconfig_list" in ended.output
    digits.done("--", "check", config=CONFIG)
    assert digits.stale(config=CONFIG) == set()
