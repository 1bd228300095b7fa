"""Which errors are TVM's: packages of its names stand for it."""

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

import bitsweep
from bitsweep.engines.refusal import UNDER_WAY, Refused, asking
from bitsweep.relax import NotQuantizable

HERE = Path(bitsweep.__file__).parent


def function(file, body, **names):
    """Return a function `f` that was compiled as if `file` held it."""
    scope = dict(names)
    exec(compile(f"def f(*args):\n    {body}\n", str(file), "exec"), scope)
    return scope["f"]


@pytest.fixture
def tvm():
    """Return a maker of functions of TVM's."""
    return lambda body, **names: function("/site/tvm/relax/op.py", body, **names)


@pytest.fixture
def ours():
    """Return a maker of functions of the quantizer's."""
    return lambda body, **names: function(HERE / "relax" / "pass.py", body, **names)


def asked(call):
    with asking("tvm.f"):
        call()


def test_what_tvm_raises_is_a_refusal(tvm):
    with pytest.raises(Refused) as caught:
        asked(tvm("raise ValueError('four bits')"))
    refused = caught.value
    assert (refused.function, refused.kind) == ("tvm.f", "exception")
    assert (refused.type_name, refused.text) == ("ValueError", "four bits")
    assert isinstance(refused.__cause__, ValueError)


def test_what_tvm_raises_below_our_quantizer_is_a_refusal(tvm, ours):
    with pytest.raises(Refused):
        asked(ours("inner()", inner=tvm("raise ValueError('four bits')")))


@pytest.mark.parametrize("package", ["onnxruntime", "onnx", "nncf", "openvino", "torch"])
def test_what_another_tool_raises_below_a_function_of_ours_is_a_refusal(package):
    tool = function(f"/site/{package}/quantization/static.py", "raise ValueError('four bits')")
    with pytest.raises(Refused):
        asked(function(HERE / "engines/onnxruntime/ir.py", "inner()", inner=tool))


def test_what_tvms_cpp_raises_below_our_quantizer_is_a_refusal(ours):
    cpp = function("/project/src/relax/op.cc", "raise ValueError('four bits')")
    with pytest.raises(Refused):
        asked(ours("inner()", inner=cpp))


def test_what_our_quantizer_refuses_is_a_refusal_of_its_kind(ours):
    with pytest.raises(Refused) as caught:
        asked(ours("raise NotQuantizable('no layer')", NotQuantizable=NotQuantizable))
    refused = caught.value
    assert (refused.kind, refused.text) == ("refused", "no layer")
    assert (refused.function, refused.type_name) == ("tvm.f", "NotQuantizable")


def test_an_error_of_our_quantizer_is_none(tvm, ours):
    """A bug of ours, also where TVM calls us back."""
    with pytest.raises(ValueError, match="not calibrated"):
        asked(ours("raise ValueError('not calibrated')"))
    with pytest.raises(KeyError):
        asked(ours("outer()", outer=tvm("inner()", inner=ours("return {}['x']"))))


def test_an_error_of_numpy_below_our_quantizer_is_none(ours):
    numpy = function("/site/numpy/core.py", "raise IndexError('axis 4')")
    with pytest.raises(IndexError):
        asked(ours("inner()", inner=numpy))


def test_errors_of_the_system_are_none(tvm):
    with pytest.raises(FileNotFoundError):
        asked(tvm("raise FileNotFoundError('cc')"))


def test_memory_that_ran_out_is_a_refusal_of_its_kind(ours):
    with pytest.raises(Refused) as caught:
        asked(ours("raise MemoryError"))
    assert caught.value.kind == "memory"


@pytest.mark.parametrize("error", [None, RuntimeError, OSError])
def test_a_function_is_noted_while_it_is_under_way(tmp_path, monkeypatch, error):
    note = tmp_path / "under way"
    monkeypatch.setenv(UNDER_WAY, str(note))

    def call():
        assert note.read_text() == "tvm.f"
        if error:
            raise error

    with pytest.raises((Refused, RuntimeError, OSError)) if error else nullcontext():
        asked(call)
    assert note.read_text() == ""


def test_only_engines_and_the_quantizer_import_tvm():
    """All else is to run where another TVM is, or none."""
    found = subprocess.run(
        ["grep", "-rlE", r"^\s*(import|from) tvm\b", str(HERE), "--include=*.py"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    folders = {Path(path).relative_to(HERE).parts[0] for path in found}
    assert folders <= {"engines", "relax"}
    code = "import sys, bitsweep.tables, bitsweep.rule_stage; assert 'tvm' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
