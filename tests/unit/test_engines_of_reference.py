"""The tasks of the engines that users would pick instead, and how they fail, in real processes."""

import csv
import json
import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

from bitsweep import machine
from bitsweep.engines import packing
from bitsweep.engines.declared import ENGINES, has_task
from bitsweep.engines.onnxruntime.settings import OnnxRuntime
from bitsweep.engines.openvino.settings import OpenVino
from bitsweep.engines.torch.settings import Torch
from tests.unit import laid_out, tasks

MACS = (3 + 8) * 8 * 64 * 9 + 8 * 5
SETTINGS = {"onnxruntime": OnnxRuntime, "openvino": OpenVino, "torch": Torch}
IMPORTER = {
    "onnxruntime": "torch.onnx.export",
    "openvino": "openvino.convert_model",
    "torch": "torch.jit.optimize_for_inference",
}
QUANTIZING = {"onnxruntime": "Quantize", "openvino": "Quantize", "torch": "::quantize"}
LAYERS = ("conv", "gemm", "fullyconnected", "matmul", "addmm", "::linear")  # in operators' types
# What a CPU has one of that multiplies these floats.
_HAVING = {
    "bfloat16": {"avx512_bf16", "amx_bf16", "avx_ne_convert"},
    "float16": {"avx512_fp16", "amx_fp16", "avx_ne_convert"},
}


@pytest.fixture(scope="module", params=SETTINGS)
def name(request):
    return request.param


def tasks_of(name):
    return tasks.Tasks(lambda: laid_out.engine(name))


def trace(network, image, folder):
    """Leave both forms of a traced network."""
    torch.jit.trace(network, image).save(str(folder / "torchscript.pt"))
    torch.export.save(torch.export.export(network, (image,)), folder / "exported.pt2")


def import_(name, folder):
    form = ENGINES[name].traced
    files = {"torchscript": "torchscript.pt", "exported": "exported.pt2"}
    return tasks_of(name).import_(folder, **{form: files[form]})


@pytest.fixture(scope="module")
def traced(tmp_path_factory, name):
    """A folder with a traced network, its reference, and its import."""
    folder = tmp_path_factory.mktemp(name)
    trace(*tasks.trace(folder), folder)
    assert import_(name, folder).failure is None, (folder / "log").read_text()
    np.savez(folder / "statistics.npz")  # which none of these engines reads
    return folder


@pytest.fixture
def folder(traced, tmp_path):
    """A copy of that folder, for one test alone."""
    return shutil.copytree(traced, tmp_path / "net with a space")


def quantize(name, folder, **settings):
    """Quantize by settings over the engine's own; to no precision where they are None."""
    precision = SETTINGS[name](**settings).settings()
    return tasks_of(name).quantize(folder, precision).failure


def compiled(name, folder, precision):
    ours = tasks_of(name)
    assert ours.quantize(folder, precision).failure is None, (folder / "log").read_text()
    assert ours.compile_(folder).failure is None, (folder / "log").read_text()
    assert ours.link(folder).failure is None
    return ours


@pytest.mark.parametrize(
    ("quantized", "near", "integer"),
    [(False, 1e-5, 0), (True, 0.15, MACS)],
    ids=["float32", "int8"],
)
def test_a_module_answers_as_pytorch_does(name, folder, quantized, near, integer):
    precision = SETTINGS[name]().settings() if quantized else None
    ours = compiled(name, folder, precision)
    expected = np.load(folder / "reference.npz")["output"]
    of_mean = np.abs(expected - expected.mean(axis=0)).max() / np.abs(expected).max()
    assert ours.difference(folder) <= near < of_mean
    coverage = json.loads((folder / "coverage.json").read_text())
    assert (coverage["macs"], coverage["integer_macs"]) == (MACS, integer)
    assert any("conv" in name.lower() for name in coverage["float_operators"]) == (not quantized)
    assert QUANTIZING[name] not in (folder / "imported.txt").read_text()
    assert (QUANTIZING[name] in (folder / "quantized.txt").read_text()) == quantized
    if not has_task(name, "profile"):
        return
    operators = ours.profile(folder)["operators"]
    layers = [(o["layer"], o["kind"], o["macs"], o["arithmetic"]) for o in operators if o["macs"]]
    arithmetic = "integer" if quantized else "float"
    assert layers == [
        ("stem.0", "convolution", 3 * 8 * 64 * 9, arithmetic),
        ("body", "convolution", 8 * 8 * 64 * 9, arithmetic),
        ("head", "dense", 8 * 5, arithmetic),
    ]
    assert ("conversion" in {o["kind"] for o in operators}) == quantized
    # The weights of the body, what it reads, writes and adds: bytes, or four of each, of which ONNX
    # Runtime's kernels of floats want 16 channels.
    (size,) = (o["bytes"] for o in operators if o["layer"] == "body")
    elements = 8 * 8 * 9 + 3 * 8 * 64
    assert elements - 8 * 64 <= size / (1 if quantized else 4) < 2 * elements
    # The clock adds none of its own.
    compiled_to = packing.operators(str(folder / "objects.tar"))
    assert Counter(o["name"] for o in operators) == Counter(o["type"] for o in compiled_to)


def test_the_operators_are_those_that_run(name, folder):
    """Two convolutions and a dense layer, of the data type that the tool says they run in."""
    for precision, dtypes in (
        (None, {"float32"}),
        (SETTINGS[name]().settings(), {"uint8", "int8"}),
    ):
        compiled(name, folder, precision)
        of_layers = layers_dtypes(folder)
        assert len(of_layers) == 3
        assert set(of_layers) <= dtypes
        assert (folder / "module.ll").read_bytes() == (folder / "module.s").read_bytes() == b""


@pytest.mark.parametrize("floats", ["bfloat16", "float16"])
def test_a_module_of_16_bit_floats_answers_nearly_as_pytorch_does(name, folder, floats):
    """Or is refused where the CPU has none, which OpenVINO itself takes others for in silence."""
    if (name, floats) == ("onnxruntime", "bfloat16"):
        pytest.skip("which it has no conversion to")
    if name == "torch":
        pytest.skip("which has a test of its own")
    assert quantize(name, folder, floats=floats) is None, (folder / "log").read_text()
    coverage = json.loads((folder / "coverage.json").read_text())
    assert (coverage["macs"], coverage["integer_macs"]) == (MACS, 0)
    ours = tasks_of(name)
    failure = ours.compile_(folder).failure
    if name == "openvino" and not _HAVING[floats] & machine.read_cpuinfo().flags:
        assert (failure.kind, failure.type) == ("refused", "Precision")
        assert failure.message.startswith(f"asked for {floats}, it computes in ")
        return
    assert failure is None, (folder / "log").read_text()
    assert ours.link(folder).failure is None
    epsilon = torch.finfo(getattr(torch, floats)).eps
    assert epsilon / 100 < ours.difference(folder) <= 3 * epsilon  # which has three layers
    layers = [one for one in ours.profile(folder)["operators"] if one["macs"]]
    arithmetic = "bfloat16" if floats == "bfloat16" else "float"
    assert [(one["layer"], one["arithmetic"]) for one in layers] == [
        ("stem.0", arithmetic),
        ("body", arithmetic),
        ("head", arithmetic),
    ]
    if name == "openvino":
        told = packing.operators(str(folder / "objects.tar"))
        assert {one["dtype"] for one in told if one["type"] == "Convolution"} == {floats}


class Named(nn.Module):
    """Layers that are hard to tell apart, or to recognise."""

    def __init__(self):
        super().__init__()
        self.twice = nn.Conv2d(3, 3, 3, padding=1)
        self.grouped = nn.Conv2d(3, 6, 3, groups=3, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.norm.weight.data = torch.tensor([1.0, -2.0, 0.5, -0.5, 1.0, 0.0])
        # Of one weight for each output: whose they are cannot be told.
        self.one, self.other = (nn.Conv2d(6, 6, 1, groups=6) for _ in range(2))
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = self.twice(torch.relu(self.twice(x)))
        x = torch.relu(self.norm(self.grouped(x)))
        return self.head(self.other(torch.relu(self.one(x))).mean((2, 3)))


def test_layers_have_pytorchs_names_where_these_can_be_told(name, folder):
    if not has_task(name, "profile"):
        pytest.skip("which has no profile")
    torch.manual_seed(0)
    network, images = Named().eval(), torch.randn(4, *tasks.SHAPE)
    with torch.no_grad():
        np.savez(folder / "reference.npz", input=images, output=network(images))
    trace(network, images[:1], folder)
    assert import_(name, folder).failure is None, (folder / "log").read_text()
    ours = compiled(name, folder, None)
    layers = [
        (one["layer"], one["macs"]) for one in ours.profile(folder)["operators"] if one["macs"]
    ]
    # OpenVINO's importer leaves weights without names, ONNX's keeps all.
    second, *depthwise = {
        "onnxruntime": ("twice", "one", "other"),
        "openvino": ("twice#2", None, None),
    }[name]
    assert layers == [
        ("twice", 3 * 3 * 64 * 9),
        (second, 3 * 3 * 64 * 9),
        ("grouped", 6 * 36 * 9),
        *((one, 6 * 36) for one in depthwise),
        ("head", 6 * 5),
    ]


def layers_dtypes(folder):
    return [
        operator["dtype"]
        for operator in packing.operators(str(folder / "objects.tar"))
        if any(kind in operator["type"].lower() for kind in LAYERS)
        and operator["type"] != "Convert"
    ]


def test_a_module_is_timed_in_lockstep(name, folder):
    compiled(name, folder, SETTINGS[name]().settings())
    (folder / "module.so").rename(folder / "int8.so")
    ours = compiled(name, folder, None)
    beside = {"reference": laid_out.engine(name), "module": "int8.so"}
    failure = ours.time(folder, processes=1, cold=True, **beside)
    assert failure is None, (folder / "log").read_text()
    with (folder / "samples.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    modules = ("candidate", "baseline", "reference")
    assert Counter(row["module"] for row in rows) == dict.fromkeys(modules, 18)
    assert all(float(row["milliseconds"]) > 0 for row in rows)


def test_an_import_that_computes_something_else_fails(name, folder):
    reference = dict(np.load(folder / "reference.npz"))
    reference["output"] *= 1.001
    np.savez(folder / "reference.npz", **reference)
    failure = import_(name, folder).failure
    assert (failure.kind, failure.type) == ("exception", "Mismatch")
    assert failure.function == IMPORTER[name]
    assert "0.001 of its scale" in failure.message


class Unknown(nn.Module):
    """A network with an operator that no importer has."""

    def forward(self, x):
        return torch.linalg.svdvals(x).flatten(1)


def test_an_operator_that_is_not_imported_is_a_failure_inside_the_tool(name, folder):
    if name == "torch":
        pytest.skip("which has them all")
    trace(Unknown(), torch.randn(1, *tasks.SHAPE), folder)
    failure = import_(name, folder).failure
    assert failure.kind == "exception"
    assert failure.file.startswith({"onnxruntime": "torch/onnx/", "openvino": "src/"}[name])
    assert failure.line > 0
    assert "svd" in failure.message


class Pooled(tasks.Net):
    """Max pooling between the layers."""

    def forward(self, x):
        return super().forward(nn.functional.max_pool2d(torch.relu(self.stem(x))[:, :3], 2))


def test_four_bits_are_refused_in_the_tools_own_words(name, folder):
    torch.manual_seed(0)
    network, images = Pooled().eval(), torch.randn(4, *tasks.SHAPE)
    with torch.no_grad():
        np.savez(folder / "reference.npz", input=images, output=network(images))
    trace(network, images[:1], folder)
    assert import_(name, folder).failure is None, (folder / "log").read_text()
    if name == "openvino":
        failure = quantize(name, folder, weight_bits=4, activation_bits=4)
        assert failure.file == "nncf/common/quantization/structs.py"
        assert "incompatible with HW capabilities" in failure.message
    elif name == "torch":
        failure = quantize(name, folder, weight_type="quint4x2", activation_type="quint4x2")
        assert failure.file == "torch/nn/modules/module.py"
        assert failure.message.endswith("not implemented for 'QUInt4x2'")
    else:
        assert quantize(name, folder, weight_type="int4", activation_type="uint4") is None
        failure = tasks_of(name).compile_(folder).failure
        assert failure.file == "onnxruntime/capi/onnxruntime_inference_collection.py"
        assert "operator (MaxPool)" in failure.message
    assert failure.kind == "exception"


def test_four_bits_that_run_are_none_of_integers(folder, name):
    if name != "onnxruntime":
        pytest.skip("the others refuse them")
    assert quantize(name, folder, weight_type="int4", activation_type="uint4") is None
    assert json.loads((folder / "coverage.json").read_text())["integer_macs"] == 0
    assert tasks_of(name).compile_(folder).failure is None, (folder / "log").read_text()
    dtypes = {one["dtype"] for one in packing.operators(str(folder / "objects.tar"))}
    assert {"float32", "uint4"} <= dtypes
    assert tasks_of(name).link(folder).failure is None
    layers = [one for one in tasks_of(name).profile(folder)["operators"] if one["macs"]]
    assert [(one["layer"], one["arithmetic"]) for one in layers] == [
        ("stem.0", "float"),
        ("body", "float"),
        ("head", "float"),
    ]


@pytest.mark.parametrize("named", [{"cpu": "znver4"}, {"triple": "aarch64-linux-gnu"}])
def test_another_machine_is_refused(name, folder, named):
    tasks_of(name).quantize(folder, None)
    failure = tasks_of(name).compile_(folder, target={**tasks.NATIVE, **named}).failure
    assert (failure.kind, failure.type) == ("refused", "Target")
    assert failure.message.endswith("compiles for the machine that it runs on alone")


def test_the_probe_refuses_a_folder_without_the_tool(name, tmp_path):
    """Also where the environment has one, which must not serve instead."""
    failure = (
        tasks_of(name)
        .run("probe", tmp_path, outputs={"versions": "versions.json"}, python_path=str(tmp_path))
        .failure
    )
    assert failure.message == f"there is no package {name} in that directory"


def test_pytorch_computes_in_other_floats(name, folder):
    if name != "torch":
        pytest.skip("the others have no such setting")
    ours = compiled(name, folder, Torch(floats="bfloat16").settings())
    assert 1e-4 < ours.difference(folder) < 0.03
    assert layers_dtypes(folder) == ["bfloat16"] * 3
    coverage = json.loads((folder / "coverage.json").read_text())
    assert (coverage["macs"], coverage["integer_macs"]) == (MACS, 0)


def test_what_inductor_compiles_answers_as_pytorch_does(name, folder):
    if name != "torch":
        pytest.skip("it is PyTorch's")
    ours = compiled(name, folder, Torch(floats="float32", compiler="inductor").settings())
    assert ours.difference(folder) < 1e-5
    operators = packing.operators(str(folder / "objects.tar"))
    assert {one["dtype"] for one in operators} == {"float32"}
    assert sum("convolution" in one["type"] for one in operators) == 2
    assert any(one["type"].startswith("cpp_fused") for one in operators)


def test_without_a_compiler_inductor_fails_in_its_own_words(name, folder, monkeypatch):
    if name != "torch":
        pytest.skip("it is PyTorch's")
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("PATH", str(folder))
    assert quantize(name, folder, floats="float32", compiler="inductor") is None
    failure = tasks_of(name).compile_(folder).failure
    assert failure.kind == "exception"
    assert failure.file.startswith("torch/_inductor/")
    assert "No working C++ compiler found" in failure.message
