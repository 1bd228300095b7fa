import pytest

from bitsweep.place import Place
from bitsweep.tool_error import parse

PACKAGES = ("onnxruntime", "openvino", "nncf")
HEADER = "Traceback (most recent call last):\n"
OURS = '  File "/openvino/bitsweep/engines/openvino/a.py", line 3, in run\n    tool.f()\n'
TOOLS = (
    '  File "/openvino/.engines/openvino/site/nncf/openvino/a.py", line 30, in quantize\n'
    "    raise ValueError\n           ^^^^^\n"
)
NUMPYS = '  File "/venv/lib/site-packages/numpy/core.py", line 7, in add\n    raise\n'
CAUSED = (
    "\nThe above exception was the direct cause of the following exception:\n\n"
    + HEADER
    + OURS
    + "bitsweep.engines.refusal.Refused: no\n"
)


def test_the_innermost_frame_of_the_tools_is_the_place():
    text = f"{HEADER}{OURS}{TOOLS}{NUMPYS}ValueError: no   such\n  thing\n{CAUSED}"
    assert parse(text, "ValueError", PACKAGES) == Place(
        "ValueError", "no such thing", "quantize", "nncf/openvino/a.py", 30
    )


@pytest.mark.parametrize(
    ("message", "file", "line", "function"),
    [
        ("Exception from src/a/core.cpp:133:\nCheck 'x' failed at src/b/c.cpp:8:\nno\n",
         "src/b/c.cpp", 8, None),
        ("/onnxruntime_src/onnxruntime/core/a.cc:40 onnxruntime::Initializer::Read(int&) no\n",
         "onnxruntime/core/a.cc", 40, "Initializer::Read"),
        ("/onnxruntime_src/onnxruntime/core/a.cc:40 onnxruntime::common::Status onnxruntime::Graph"
         "::Resolve(const onnxruntime::Options&) no\n", "onnxruntime/core/a.cc", 40,
         "Graph::Resolve"),
    ],
)  # fmt: skip
def test_a_place_in_cpp_that_the_message_names_is_further_in(message, file, line, function):
    text = f"W: session.cc:9 a warning\n{HEADER}{OURS}{TOOLS}a.b.Error: {message}{CAUSED}"
    found = parse(text, "Error", PACKAGES)
    assert (found.file, found.line, found.function) == (file, line, function)


def test_torchscript_of_a_network_is_no_place_in_pytorch():
    torch = TOOLS.replace("nncf/openvino/a.py", "torch/nn/module.py")
    network = '  File "code/__torch__/torch/nn/a.py", line 26, in forward\n    ~~~ <--- HERE\n'
    text = f"{HEADER}{OURS}{torch}NotImplementedError: in the interpreter.\n{network}"
    text += (
        f"\nTraceback of TorchScript (most recent call last):\nRuntimeError: no kernel\n{CAUSED}"
    )
    assert parse(text, "NotImplementedError", ("torch",)) == Place(
        "NotImplementedError", "no kernel", "quantize", "torch/nn/module.py", 30
    )


def test_what_has_no_place_has_none():
    assert parse("killed", "Error", PACKAGES) == Place("Error", "")
    text = f"{HEADER}{OURS}{NUMPYS}Error: no\n{CAUSED}"
    assert parse(text, "Error", PACKAGES) == Place("Error", "no")


def test_the_first_cause_of_the_tools_tells():
    """What PyTorch's exporter raises at the end explains how to report it, in colours."""
    first = f"{HEADER}{TOOLS}a.DispatchError: no function for \x1b[96msvd\x1b[0m\n"
    then = f"{CAUSED.partition(HEADER)[0]}{HEADER}{OURS}{NUMPYS}b.ConversionError: report it\n"
    assert parse(first + then + CAUSED, "ConversionError", PACKAGES) == Place(
        "ConversionError", "no function for svd", "quantize", "nncf/openvino/a.py", 30
    )
