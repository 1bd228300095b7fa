"""The tasks of the Relay engine, and how they fail, in real TVM processes on a small network."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections import defaultdict

import numpy as np
import pytest
import torch

from bitsweep.child import Limits
from bitsweep.engines import task
from bitsweep.engines.relay.settings import QUANTIZABLE, Relay
from bitsweep.errors import UserError
from tests.unit import relay, tasks

RELAY = tasks.Tasks(relay.engine)
INT8 = Relay.model_validate({"bits": 8, "storage": "int8"}).settings()


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """A folder with a traced network, its reference, and its import."""
    folder = tmp_path_factory.mktemp("net")
    network, image = tasks.trace(folder)
    torch.jit.trace(network, image).save(str(folder / "torchscript.pt"))
    ended = RELAY.import_(folder, torchscript="torchscript.pt")
    assert ended.failure is None, (folder / "log").read_text()
    assert RELAY.calibrate(folder).failure is None, (folder / "log").read_text()
    return folder


@pytest.fixture
def folder(traced, tmp_path):
    """A copy of that folder, for one test alone."""
    return shutil.copytree(traced, tmp_path / "net with a space")


@pytest.mark.parametrize("precision", [None, INT8], ids=["float32", "int8"])
def test_a_module_answers_as_pytorch_does(folder, precision):
    target = relay.exact_target()
    assert RELAY.quantize(folder, precision, target=target).failure is None
    assert RELAY.compile_(folder, target=target).failure is None
    assert RELAY.link(folder).failure is None
    assert RELAY.difference(folder) <= (1e-5 if precision is None else 0.1)
    assert ("int8" in (folder / "quantized.txt").read_text()) == (precision is not None)
    operators = RELAY.profile(folder)["operators"]
    layers = [(o["layer"], o["kind"], o["macs"], o["arithmetic"]) for o in operators if o["macs"]]
    assert layers == [
        ("stem.0", "convolution", 3 * 8 * 64 * 9, "float"),
        ("body", "convolution", 8 * 8 * 64 * 9, "integer" if precision else "float"),
        (None, "dense", 8 * 5, "float"),
    ]
    assert ("conversion" in {o["kind"] for o in operators}) == (precision is not None)


RECORDS = {
    "autotvm": (lambda record: record["input"][:3], "result"),
    "auto_scheduler": (lambda record: record["i"][0], "r"),
}
"""Of each tuner's records, what tells the operator, and what was measured."""


@pytest.mark.parametrize("tuner", RECORDS)
def test_a_module_is_compiled_by_what_its_tuning_found_the_fastest(folder, tuner):
    operator, result = RECORDS[tuner]
    kept = folder / "kept"

    def tune(trials):
        return RELAY.tune(folder, by=tuner, trials=trials)

    assert RELAY.quantize(folder, None).failure is None
    assert tune(1).failure is None, (folder / "log").read_text()
    first = kept.read_text()
    kept.write_text(first + first[:40], encoding="utf-8")  # as a kill leaves it
    assert tune(2).failure is None, (folder / "log").read_text()
    assert kept.read_text().startswith(first)
    assert kept.read_text() == (folder / "tuning.log").read_text()

    records = [json.loads(line) for line in kept.read_text().splitlines()]
    of_one = defaultdict(list)
    for record in records:
        of_one[json.dumps(operator(record))].append(record)
    assert {len(candidates) for candidates in of_one.values()} == {2}

    def code(fastest):
        """The module's, where of each operator's two candidates that one was the fastest."""
        for name, candidates in of_one.items():
            for place, record in enumerate(candidates):
                if record[result][1] == 0:  # it could be built and run
                    # Of a dense layer's two templates, TVM prefers the other one untuned.
                    is_fast = place == fastest and "dense_nopack" not in name
                    record[result][0] = [1e-6 if is_fast else 1e-3]
        lines = "".join(f"{json.dumps(record)}\n" for record in records)
        (folder / "tuning.log").write_text(lines, encoding="utf-8")
        assert RELAY.compile_(folder, tuner=tuner).failure is None, (folder / "log").read_text()
        assert RELAY.link(folder).failure is None
        assert RELAY.difference(folder) <= 1e-5
        return (folder / "module.s").read_text()

    first = code(fastest=0)
    assert first != code(fastest=1)
    if tuner == "autotvm":  # which begins with what is taken untuned
        assert RELAY.compile_(folder).failure is None
        assert (folder / "module.s").read_text() == first

    kept.write_text(kept.read_text().replace("-mcpu=", "-mcpu=another-"), encoding="utf-8")
    with pytest.raises(UserError, match=r"kept is of another network or target: none of its \d+"):
        tune(2)


@pytest.mark.parametrize(("floats", "llvm"), [("bfloat16", "i16"), ("float16", "half")])
def test_a_module_of_16_bit_floats_answers_nearly_as_pytorch_does(folder, floats, llvm):
    precision = Relay.model_validate({"floats": floats}).settings()
    assert RELAY.quantize(folder, precision).failure is None
    text = (folder / "quantized.txt").read_text()
    # Weights are converted beforehand.
    assert re.search(rf"%p\d: Tensor\[\(8, 8, 3, 3\), {floats}\]", text)
    assert "cast(%p" not in text
    coverage = json.loads((folder / "coverage.json").read_text())
    assert (coverage["integer_macs"], coverage["float_operators"]["nn.conv2d"]) == (0, 2)
    assert RELAY.compile_(folder).failure is None
    assert llvm in (folder / "module.ll").read_text()
    assert RELAY.link(folder).failure is None
    assert 1e-6 < RELAY.difference(folder) <= 0.05


@pytest.mark.parametrize(
    ("precision", "integer"),
    [(None, 0), (INT8, 8 * 8 * 64 * 9), ({**INT8, "skip_conv_layers": []}, (3 + 8) * 8 * 64 * 9)],
    ids=["float32", "first layer left out", "int8"],
)
def test_coverage_counts_what_runs_in_integers(folder, precision, integer):
    """The two convolutions are 3x3 on 8x8 images; the dense layer, 8 to 5, stays in float."""
    assert RELAY.quantize(folder, precision).failure is None
    coverage = json.loads((folder / "coverage.json").read_text())
    assert coverage["macs"] == (3 + 8) * 8 * 64 * 9 + 8 * 5
    assert coverage["integer_macs"] == integer
    assert coverage["float_operators"]["nn.dense"] == 1
    assert coverage["float_operators"].get("nn.conv2d", 0) == 2 - (integer > 0) - (integer > 40000)


def test_convolutions_are_left_out_by_pytorchs_names(folder):
    """The first of the network, `stem.0`, has a third of the second's channels."""

    def integer_macs(*skipped):
        assert RELAY.quantize(folder, {**INT8, "skip_conv_layers": list(skipped)}).failure is None
        return json.loads((folder / "coverage.json").read_text())["integer_macs"]

    assert integer_macs("stem.0") == integer_macs(0) == 8 * 8 * 64 * 9
    assert integer_macs("body") == integer_macs(1)
    assert integer_macs("stem.0", "body") == 0


@pytest.mark.parametrize(
    ("skipped", "told"),
    [
        ("stem.1", "there is no convolution stem.1: did you mean stem.0"),
        ("head", "there is no convolution head: there are stem.0, body"),
        (2, "there is no convolution 2: they are 0 (stem.0), 1 (body)"),
    ],
)
def test_a_convolution_that_is_not_there_is_named_with_those_that_are(folder, skipped, told):
    failure = RELAY.quantize(folder, {**INT8, "skip_conv_layers": [skipped]}).failure
    assert (failure.kind, failure.file) == ("refused", None)
    assert failure.message.startswith(f"skip_conv_layers: {told}")


NAMES = """
import sys
import tvm
from tvm import relay
from bitsweep.engines.relay import convolutions
import numpy as np
data = relay.var("data", shape=(1, 4, 8, 8))
weights = [relay.var(name, shape=(4, 4, 3, 3)) for name in "abc"]
body = data
for weight in (weights[0], weights[1], weights[0], weights[2]):
    body = relay.nn.conv2d(body, weight, padding=(1, 1), channels=4, kernel_size=(3, 3))
module = tvm.IRModule.from_expr(body)
values = [np.full((4, 4, 3, 3), value, "float32") for value in (1, 2, 2)]
params = {name: tvm.nd.array(value) for name, value in zip("abc", values)}
paths = {"one.weight": values[0], "two.weight": values[1], "three.weight": values[2]}
named = convolutions.named(module, params, paths, module)
print(list(named.attrs["convolutions"]))
"""


def test_a_weight_used_again_has_a_number_and_one_of_two_that_are_alike_no_name():
    told = _in_tvm(NAMES)
    assert told == "['one', '', 'one#2', '']"


BRANCHES = """
import json
import sys
import numpy as np
import tvm
from tvm import relay
from bitsweep.engines.relay.layers import assigned, layers
from bitsweep.engines.relay.operator_clock import _nodes

def conv(data, value, outputs, inputs, size):
    weight = relay.const(np.full((outputs, inputs, size, size), value, "float32"))
    return relay.nn.conv2d(
        data, weight, padding=(size // 2,) * 2, channels=outputs, kernel_size=(size, size)
    )

image = relay.var("input", shape=(1, 8, 8, 8))
stem = relay.nn.relu(conv(image, 1, 8, 8, 3))
body = conv(relay.nn.relu(conv(stem, 2, 8, 8, 3)), 3, 16, 8, 1)
shortcut = conv(stem, 4, 16, 8, 1)
sides = (body, shortcut) if sys.argv[1] == "body first" else (shortcut, body)
last = conv(relay.nn.relu(relay.add(*sides)), 5, 8, 16, 1)
module = tvm.IRModule.from_expr(relay.Function([image], last))
order = [1, 2, 3, 4, 5] if sys.argv[1] == "body first" else [1, 4, 2, 3, 5]
module = module.with_attr("convolutions", [f"layer {value}" for value in order])
with tvm.transform.PassContext(opt_level=3):
    library = relay.build(module, target="llvm")
graph = json.loads(library.get_graph_json())
nodes = _nodes(graph)
computing = ["conv2d" in node.name for node in nodes]
params = library.get_params()
read = []
for node in graph["nodes"]:
    if "conv2d" in node["name"]:
        values = [
            params[graph["nodes"][source]["name"]].numpy()
            for source, *_ in node["inputs"]
            if graph["nodes"][source]["name"] in params
        ]
        read.append(f"layer {int(values[0].flat[0])}")
found = [layer and layer.name for layer in assigned(nodes, computing, layers(module, module))]
without = assigned(nodes, computing, layers(tvm.IRModule.from_expr(body), module))
print(json.dumps([read, [name for name in found if name], without.count(None) == len(nodes)]))
"""


@pytest.mark.parametrize("order", ["body first", "shortcut first"])
def test_branches_of_one_size_are_told_apart(order):
    """What TVM compiled runs in another order; each layer's weight, all of one number, tells it."""
    read, found, none_of_another = json.loads(_in_tvm(BRANCHES, order))
    assert sorted(read) == [f"layer {value}" for value in (1, 2, 3, 4, 5)]
    assert found == read
    assert none_of_another


def test_a_module_is_timed_in_lockstep(folder):
    RELAY.quantize(folder, None)
    RELAY.compile_(folder)
    RELAY.link(folder)
    assert RELAY.time(folder, processes=1, cold=True) is None
    lines = (folder / "samples.csv").read_text().splitlines()
    assert len(lines) == 1 + 3 * 6 * 2
    assert all(float(line.split(",")[-1]) > 0 for line in lines[1:])


def test_an_import_that_computes_something_else_fails(folder):
    reference = dict(np.load(folder / "reference.npz"))
    reference["output"] *= 1.001
    np.savez(folder / "reference.npz", **reference)
    failure = RELAY.run(
        "frontend",
        folder,
        inputs={"torchscript": "torchscript.pt", "reference": "reference.npz"},
        outputs={"ir": "a", "params": "b", "text": "c"},
    ).failure
    assert (failure.kind, failure.type) == ("exception", "Mismatch")
    assert failure.function == "relay.frontend.from_pytorch"
    assert "0.001 of its scale" in failure.message


def test_a_refusal_names_its_place_in_tvm(folder):
    # Without a convolution left out: the first one is the one that this network has.
    int4 = {**INT8, "skip_conv_layers": []}
    for kind in ("input", "weight"):
        int4[kind] = {"bits": 4, "storage": "int4"}
    assert RELAY.quantize(folder, int4).failure is None
    failure = RELAY.compile_(folder).failure
    assert (failure.kind, failure.function) == ("exception", "CodeGenLLVM::BufferAccessHelper")
    assert (failure.file, failure.message) == (
        "src/target/llvm/codegen_llvm.cc",
        "Check failed: value_dtype.bits() >= 8 (4 vs. 8)",
    )
    assert failure.log == str(folder / "log")


def test_kl_divergence_is_a_failure_inside_tvm(folder):
    failure = RELAY.quantize(folder, {**INT8, "calibrate_mode": "kl_divergence"}).failure
    assert (failure.type, failure.file) == ("TypeError", "tvm/relay/quantize/_calibrate.py")


def test_a_crash_of_llvm_names_the_function_under_way(folder):
    RELAY.quantize(folder, None)
    # LLVM ends the process where functions return floats and the CPU has no register for them.
    without_sse = {**tasks.NATIVE, "cpu": "x86-64", "attributes": ["-sse", "-sse2"]}
    failure = RELAY.compile_(folder, target=without_sse).failure
    assert (failure.kind, failure.function) == ("crash", "Module.get_source")
    assert "SSE register return with SSE disabled" in failure.message


def test_a_segmentation_fault_is_a_crash(folder, monkeypatch):
    """As a fault in TVM ends its process: by the signal, with a function of TVM's under way."""
    function = folder / "under_way"
    code = f"import os, signal; open({str(function)!r}, 'w').write('relay.build')"
    code += "; os.kill(os.getpid(), signal.SIGSEGV)"
    start = task.child.Child

    def faulting(command, *, environment, **rest):
        function.unlink(missing_ok=True)
        function.symlink_to(environment[task.UNDER_WAY])
        return start([sys.executable, "-c", code], environment=environment, **rest)

    monkeypatch.setattr(task.child, "Child", faulting)
    failure = RELAY.compile_(folder).failure
    assert (failure.kind, failure.type, failure.function) == ("crash", "SIGSEGV", "relay.build")


def test_a_time_out_is_a_failure_of_its_kind(folder):
    limits = Limits(seconds=0.25, memory_bytes=2**32)
    failure = RELAY.quantize(folder, INT8, limits=limits).failure
    assert (failure.kind, failure.message, failure.limit) == (
        "timeout",
        "stopped after 0.25 s",
        0.25,
    )


def test_a_memory_limit_is_a_failure_of_its_kind(folder):
    failure = RELAY.quantize(
        folder, INT8, limits=Limits(seconds=300, memory_bytes=60 << 20)
    ).failure
    assert (failure.kind, failure.message, failure.limit) == ("memory", "stopped above 60 MiB", 60)


def test_an_error_of_ours_is_no_outcome(folder):
    (folder / "calibration.npz").unlink()
    with pytest.raises(UserError, match=r"quantize of engine relay broke: FileNotFoundError"):
        RELAY.quantize(folder, INT8)


def test_a_kill_from_outside_is_no_outcome(folder, monkeypatch):
    """The machine's out-of-memory killer must not become a verdict on a precision."""
    monkeypatch.setattr(task.child.Child, "wait", lambda _: task.child.Ending(-9, 1.0, 0, None))
    with pytest.raises(UserError, match="killed from outside by SIGKILL"):
        RELAY.quantize(folder, INT8)


def test_two_tvms_stay_apart(tmp_path):
    """This process's TVM is another than the engine's, and neither sees the other's files."""
    path = str(relay.engine().python_path[0])
    RELAY.run("probe", tmp_path, outputs={"versions": "versions.json"}, python_path=path)
    assert json.loads((tmp_path / "versions.json").read_text())["tvm"].startswith("0.16")
    code = "import sys, tvm; print(tvm.__version__, [m for m in sys.modules if 'relay' in m])"
    own = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert own.stdout.strip() == "0.27.0.post1 []"


def test_objects_are_a_tar_of_object_files(folder):
    RELAY.quantize(folder, None)
    RELAY.compile_(folder)
    with tarfile.open(folder / "objects.tar") as archive:
        assert {name.rsplit(".", 1)[-1] for name in archive.getnames()} <= {"o", "c", "json"}


OWN_CALIBRATION = """
import json, sys
from importlib import import_module
import numpy as np
from tvm import relay
calibrate = import_module("tvm.relay.quantize._calibrate")
own = calibrate._set_params
def noting(module, input_scale, weight_scale):
    def noted(call):
        scales.append(float(input_scale(call)))
        return scales[-1]
    return own(module, noted, weight_scale)
scales = []
calibrate._set_params = noting
from bitsweep.engines.relay import quantize
inputs, outputs, settings, with_statistics = json.loads(sys.argv[1])
if not with_statistics:
    del inputs["statistics"]
quantize.run(inputs, outputs, settings)
print("scales", json.dumps(scales))
"""


@pytest.mark.parametrize("skipped", [{}, {"skip_conv_layers": [], "skip_dense_layer": False}])
def test_statistics_give_the_scales_that_tvm_finds_itself(folder, skipped):
    def scales(with_statistics):
        names = ("ir", "params", "text")
        inputs = {name: str(folder / f"imported.{name}") for name in names}
        inputs |= {n: str(folder / f"{n}.npz") for n in ("calibration", "statistics")}
        outputs = {name: str(folder / f"q.{name}") for name in (*names, "coverage")}
        settings = {"precision": {**INT8, **skipped}, "target": tasks.NATIVE}
        request = json.dumps([inputs, outputs, settings, with_statistics])
        return json.loads(_in_tvm(OWN_CALIBRATION, request).removeprefix("scales"))

    by_tvm = scales(False)
    assert len(by_tvm) >= 2
    assert scales(True) == pytest.approx(by_tvm, rel=1e-6)


def test_statistics_of_another_network_are_not_taken(folder):
    statistics = dict(np.load(folder / "statistics.npz"))
    statistics["tensor"][1] = "nn.dense"
    np.savez(folder / "statistics.npz", **statistics)
    with pytest.raises(UserError, match="the statistics are of another network"):
        RELAY.quantize(folder, INT8)


def test_tvm_still_asks_how_it_was_built_for_each_dimension():
    """When it no longer does, that part of `relay.lowering` can go."""
    code = (
        "from tvm.relay.backend import te_compiler; asked = []; own = te_compiler.libinfo; "
        "te_compiler.libinfo = lambda: asked.append(1) or own(); "
        "import tvm; te_compiler.get_shape([tvm.tir.IntImm('int32', 3)] * 4); print(len(asked))"
    )
    assert _in_tvm(code) == "4"


LAZY = """
import sys
from bitsweep.engines.relay import process
process.prepare("quantize")
from bitsweep.engines.relay import quantize
loaded = [name for name in sys.modules if name.startswith("scipy.stats.")]
from scipy import stats
import scipy.stats
assert stats is scipy.stats
print(loaded, stats.entropy([1, 1], [1, 1]))
"""


def test_scipys_statistics_load_only_when_they_are_used():
    assert _in_tvm(LAZY) == "[] 0.0"


FOLDING = """
import sys
import numpy as np
import tvm
from tvm import relay
from bitsweep.engines.relay import lowering
name, compiled = "relay.backend.build", []
build = tvm.get_global_func(name)
tvm.register_func(name, lambda *args: compiled.append(1) or build(*args), override=True)
if sys.argv[1] == "remembering":
    lowering.remember_repeated_work()
shapes = [(2, 3), (2, 3), (2, 3), (3, 2)]
values = [np.random.default_rng(i).normal(size=s).astype("float32") for i, s in enumerate(shapes)]
sums = [relay.add(relay.const(value), relay.const(value)) for value in values]
function = relay.Function([], relay.Tuple([*sums, relay.negative(relay.const(values[0]))]))
folded = relay.transform.FoldConstant()(tvm.IRModule.from_expr(function))["main"].body
for field, value in zip(folded.fields, [*(2 * value for value in values), -values[0]], strict=True):
    np.testing.assert_array_equal(field.data.numpy(), value)
print(len(compiled))
"""


@pytest.mark.parametrize(("how", "compiled"), [("as TVM is", 5), ("remembering", 3)])
def test_constants_that_are_folded_alike_are_compiled_once(how, compiled):
    """When TVM compiles three by itself, that part of `relay.lowering` can go."""
    assert _in_tvm(FOLDING, how) == str(compiled)


def test_the_operators_that_may_be_enabled_are_those_that_tvm_quantizes():
    code = (
        "from tvm import ir; import tvm.relay.quantize; names = ir.Op.list_op_names(); "
        "print([n for n in names if ir.Op.get(n).get_attr('FQAnnotateRewrite') is not None])"
    )
    assert sorted(ast.literal_eval(_in_tvm(code))) == sorted(QUANTIZABLE)


def _in_tvm(code, *arguments):
    """Run Python code where `tvm` is Relay's; return the last line that it prints."""
    paths = [*relay.engine().python_path, str(relay.ROOT)]
    told = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr
    return told.stdout.splitlines()[-1]
