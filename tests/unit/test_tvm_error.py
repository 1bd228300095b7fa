"""The parser on real errors of two TVMs, and on what no TVM ever printed."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsweep.tvm_error import Place, parse, short_name

ERRORS = Path(__file__).parent / "tvm_errors"
INFER_TYPE = ("InferType", "src/relay/transforms/type_infer.cc", None)
LIBRARY_MODULE = ("WrapPackedFunc", "src/runtime/library_module.cc", 78)

# File: exception type, start of the message, end of the message, (function, file, line).
REAL = {
    "relay_int4_compile": (
        "InternalError",
        "Check failed: value_dtype.bits() >= 8 (4 vs. 8)",
        "(4 vs. 8)",
        ("CodeGenLLVM::BufferAccessHelper", "src/target/llvm/codegen_llvm.cc", 1749),
    ),
    "relay_int2_quantize": (
        "InternalError",
        "Check failed: data_bits % 8 == 0U (2 vs. 0) : Need to load/store by multiple of bytes",
        "multiple of bytes",
        ("GetVectorBytes", "include/tvm/runtime/data_type.h", 283),
    ),
    "relay_int1_compile": (
        "InternalError",
        "Check failed: (value == 0 || value == 1) is false: ValueError: -1 exceeds range of int1",
        "int1",
        ("IntImm::IntImm", "src/ir/expr.cc", 84),
    ),
    "relay_accumulator16_quantize": (
        "TVMError",
        "Assert fail: T.tvm_struct_get(compute, 0, 5",
        "intrp_fused_fixed_point_multiply.compute.dtype is expected to be int32",
        LIBRARY_MODULE,
    ),
    "relay_accumulator8_quantize": ("TVMError", "Assert fail:", "int32", LIBRARY_MODULE),
    "relay_kl_quantize": (
        "TypeError",
        "unsupported operand type(s) for /: 'tuple' and 'int'",
        "'int'",
        ("visit_func", "tvm/relay/quantize/_calibrate.py", 163),
    ),
    "relay_qnn_int4_weight": (
        "InternalError",
        "Check failed: (weight->dtype == DataType::Int(8)",
        "for weight but was int4",
        ("QnnConv2DRel", "src/relay/qnn/op/convolution.cc", 56),
    ),
    "relay_qnn_int4_quantize": (
        "InternalError",
        "Check failed: (out_dtype == DataType::Int(8)",
        "but was int4",
        ("QuantizeRel", "src/relay/qnn/op/quantize.cc", 93),
    ),
    "relay_no_stack": (
        "TVMError",
        "relay.concatenate requires all tensors have the same shape",
        "non-concatenating axes",
        ("__call__", "tvm/ir/transform.py", 238),
    ),
    "relay_diagnostic_broadcast": (
        "DiagnosticError",
        "data types int16 and int32 do not match in BroadcastRel",
        "BroadcastRel",
        ("BroadcastRel", "src/relay/op/type_relations.cc", None),
    ),
    "relay_diagnostic_broadcast_shape": (
        "DiagnosticError",
        "Incompatible broadcast type TensorType([2, 3], float32)",
        "TensorType([4, 5], float32)",
        INFER_TYPE,
    ),
    "relay_diagnostic_mismatch": (
        "DiagnosticError",
        "In particular `Tensor[(4, 5, 3, 3), float32]` does not match",
        "`Tensor[(4, 3, 3, 3), float32]`",
        INFER_TYPE,
    ),
    "relay_diagnostic_layout": (
        "DiagnosticError",
        "conv2d only support input layouts that are convertible from NCHW.",
        "ABCD",
        INFER_TYPE,
    ),
    "relay_diagnostic_without_log": (
        "DiagnosticError",
        "one or more error diagnostics were emitted",
        "for output.",
        INFER_TYPE,
    ),
    "relax_quantize_int4": (
        "TypeError",
        "Unsupported output datatype attribute for operation: 'int4",
        "'int4",
        ("InferTypeQuantize", "src/relax/op/tensor/qdq.cc", 72),
    ),
    "relax_mixed_types": (
        "TypeError",
        "Binary operators must have the same datatype for both operands. However",
        'dtype="int32")).',
        ("InferBinaryArithOpOutDtype", "src/relax/op/op_common.h", 334),
    ),
    "relax_no_target": (
        "InternalError",
        "Check failed: (llvm_instance) is false: LLVM instance error",
        '"zzz-foo"`',
        ("CreateLLVMTargetInstance", "src/target/llvm/llvm_instance.cc", 408),
    ),
    "relax_argument": (
        "TypeError",
        "Mismatched a.dtype on argument #0 when calling: `main(a: Tensor([64], int8)",
        "expected int8",
        (None, None, None),
    ),
}


def sample(name: str) -> str:
    return (ERRORS / f"{name}.txt").read_text(encoding="utf-8")


def test_every_sample_is_tested():
    assert set(REAL) == {path.stem for path in ERRORS.glob("*.txt")}


@pytest.mark.parametrize("name", REAL)
def test_real_errors(name):
    type_name, start, end, where = REAL[name]
    place = parse(sample(name))
    assert place.type == type_name
    assert place.message.startswith(start)
    assert place.message.endswith(end)
    assert (place.function, place.file, place.line) == where


@pytest.mark.parametrize("name", [name for name in REAL if name.startswith("relay_int")])
def test_text_of_the_exception_alone_is_enough(name):
    traceback = sample(name)
    start = traceback.index("InternalError: Traceback") + len("InternalError: ")
    assert parse(traceback[start:]) == parse(traceback)


def test_an_exception_of_ours_raised_from_tvms_changes_nothing():
    text = sample("relay_kl_quantize")
    wrapped = (
        f"{text}\nThe above exception was the direct cause of the following exception:\n\n"
        "Traceback (most recent call last):\n"
        '  File "/opt/bitsweep/engines/quantize.py", line 5, in quantize\n    ask()\n'
        "bitsweep.Refused: unsupported operand\n"
    )
    assert parse(wrapped) == parse(text)


def test_windows_line_ends():
    text = sample("relay_int4_compile")
    assert parse(text.replace("\n", "\r\n")) == parse(text)


def test_message_without_a_type_takes_the_given_one():
    assert parse("no such thing", "builtins.KeyError") == Place("KeyError", "no such thing")
    assert parse("no such thing").type == "unknown"


def test_a_bare_assertion_tells_its_source_line():
    text = (
        "Traceback (most recent call last):\n"
        '  File "/opt/venv/tvm/relay/quantize/_annotate.py", line 71, in annotate\n'
        "    assert kind in KINDS\n           ^^^^^^^^^^^^^\nAssertionError\n"
    )
    assert parse(text) == Place(
        "AssertionError", "assert kind in KINDS", "annotate", "tvm/relay/quantize/_annotate.py", 71
    )


def test_a_diagnostics_listing_with_source_excerpts():
    text = (
        "error: The Relay type checker is unable to show the following types match.\n"
        "In particular `int8` does not match `int32`\n"
        " --> from_string:3:5\n  |\n3 | %1 = add(%x, %y)\n  |   ^^^\n"
        "note: run with `TVM_BACKTRACE=1` environment variable to display a backtrace.\n"
    )
    assert parse(text).message == "In particular `int8` does not match `int32`"
    told = "error: Incompatible broadcast type\n" + sample("relay_diagnostic_without_log")
    assert parse(told).message == "Incompatible broadcast type"


def test_a_relation_on_the_stack_is_preferred_and_the_checks_place_kept():
    text = (
        "Traceback (most recent call last):\n"
        "  3: tvm::relay::TypeSolver::Solve()\n"
        "  2: bool tvm::relay::Conv2DRel<tvm::relay::Conv2DAttrs>(tvm::Attrs const&)\n"
        "  1: tvm::relay::Helper(int)\n"
        "  0: tvm::runtime::Array<tvm::PrimExpr, void>::operator[](long) const\n"
        '  File "/build/include/tvm/runtime/container/array.h", line 414\n\n'
        "InternalError: Check failed: 0 <= i : \n"
    )
    assert parse(text) == Place(
        "InternalError",
        "Check failed: 0 <= i",
        "Conv2DRel",
        "include/tvm/runtime/container/array.h",
        414,
    )


@pytest.mark.parametrize(
    ("signature", "name"),
    [
        ("tvm::min_value(tvm::runtime::DataType const&, tvm::Span)", "min_value"),
        (
            "tvm::relay::ExprFunctor<tvm::RelayExpr (tvm::RelayExpr const&)>::VisitExpr(tvm::A)",
            "ExprFunctor::VisitExpr",
        ),
        (
            "tvm::transform::Pass::operator()(tvm::IRModule) const",
            "Pass::operator()",
        ),
        ("const llvm::Target* tvm::codegen::Create(std::string, bool)", "Create"),
        ("llvm::Value *MakeValue(int)", "MakeValue"),
        ("tvm::(anonymous namespace)::Visit(int)", "Visit"),
        (
            "tvm::runtime::PackedFuncObj::Extractor<tvm::runtime::PackedFuncSubObj<"
            "tvm::relay::Rewriter::Make() const::{lambda(int)#1}> >::Call(int)",
            "Rewriter::Make",
        ),
        (
            "tvm::relay::DFPatternRewrite::Make() const::{lambda(int)#1}::operator()(int) const",
            "DFPatternRewrite::Make",
        ),
        (
            "tvm::runtime::TypedPackedFunc<void ()>::AssignTypedLambda<tvm::tir::MakePackedAPI()::"
            "{lambda(int)#1}>(tvm::tir::MakePackedAPI()::{lambda(int)#1})::{lambda(int)#1}::"
            "operator()(int) const",
            "MakePackedAPI",
        ),
        (
            "_ZN3tvm5relay16MixedModeMutator17DispatchVisitExprERKNS_9RelayExp",
            "MixedModeMutator::DispatchVisitExpr",
        ),
        ("_ZZN3tvm5relay11ExprFunctorIFNS_9RelayExprERKS2_EE10InitVTableEv", "ExprFunctor"),
        ("_ZN3tvm7runtime13PackedFuncObj", None),
        ("_ZNSt17_Function_handlerIFN3tvm7runtime9ObjectRefEvE", None),
        ("_ZN3tvm99999999999", "tvm"),
        ("_Z", None),
        ("", None),
        ("(", None),
        ("::{lambda(", None),
    ],
)
def test_short_names(signature, name):
    assert short_name(signature) == name


def test_plumbing_gives_way_to_the_next_frame():
    text = (
        "Traceback (most recent call last):\n  2: tvm::tir::Lower(int)\n"
        "  1: _ZNSt17_Function_handlerIFvvE\n  0: _ZN3tvm7runtime13PackedFuncObj\n"
        '  File "/build/src/tir/lower.cc", line 9\n\nInternalError: no\n'
    )
    assert parse(text).function == "Lower"


def test_stacks_are_kept_apart():
    text = (
        "Traceback (most recent call last):\n"
        '  0: tvm::tir::Lower(int)\n  File "/build/src/tir/lower.cc", line 9\n'
        '  0: _ZNSt8functionIFvvE\n  File "/build/src/node/reflection.cc", line 7\n'
    )
    assert parse(text) == Place("unknown", "", None, "src/node/reflection.cc", 7)


lines = st.sampled_from(
    [*(line for name in REAL for line in sample(name).split("\n")), "", "x", "Error:", "  0: ("]
)


@given(st.text() | st.lists(lines, max_size=60).map("\n".join), st.none() | st.text())
def test_never_raises_and_gives_one_printable_line(text, type_name):
    place = parse(text, type_name)
    assert place.message.isprintable()
    assert "\n" not in place.message
    assert len(place.message) <= 500
    place.message.encode("utf-8")


@given(st.binary())
def test_bytes_of_any_kind(data):
    parse(data.decode("utf-8", errors="surrogateescape"))
    parse(data.decode("latin-1"))


@pytest.mark.parametrize(
    "unit",
    [
        "(", "<", ">", "::{lambda(", "a::", "a.", " ", "1", "Rel", "_ZN3tvm", "\n", "\n  0: f(",
        '\n  File "', '\n  File "a/src/b.cc", line 1', "\nXError: ", "Error\n", "\x00", "é",
        "\nTraceback (most recent call last):", '\n  File "a.cc", line 2, in f<(', "\nError: a\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("start", ["", "Traceback (most recent call last):\n  0: ", "AError: "])
def test_huge_input_takes_linear_time(start, unit):
    begun = time.process_time()
    parse(start + unit * (1_000_000 // len(unit)))
    assert time.process_time() - begun < 10  # quadratic behaviour takes minutes


def test_a_line_number_too_long_for_an_integer():
    digits = "9" * 10_000
    text = f'Traceback (most recent call last):\n  0: f()\n  File "/src/a.cc", line {digits}\n'
    assert parse(text).line is None
