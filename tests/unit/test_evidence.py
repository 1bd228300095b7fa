import json

import pytest

from bitsweep import evidence, inspection
from bitsweep.engines import packing

ASSEMBLY = "f:\n\tvpmaddwd\t%ymm0, %ymm1, %ymm2\n\tret\n"
TRIPLE = 'target triple = "x86_64-linux-gnu"\n'
CODE = "define <16 x i8> @f(<16 x i8> %x) #0 { ret <16 x i8> %x }\n"
CPU = 'attributes #0 = { nounwind "target-cpu"="znver4" }\n'
LLVM_IR = TRIPLE + CODE + CPU
FILES = {
    "ir": "{}" * 5,
    "params": "p" * 20,
    "llvm_ir": LLVM_IR,
    "assembly": ASSEMBLY,
    "objects": "o" * 30,
    "module": "m" * 40,
}


def inspected(folder, *, more=None, **files):
    """Write `files` over `FILES` and return their evidence; `more` are further inputs."""
    folder.mkdir(exist_ok=True)
    inputs = {}
    for name, text in (FILES | files).items():
        (folder / name).write_text(text)
        inputs[name] = str(folder / name)
    evidence.write(inputs | (more or {}), {"code": str(folder / "code.json")})
    return json.loads((folder / "code.json").read_text())


def test_counts_and_sizes_are_those_of_the_files(tmp_path):
    code = inspected(tmp_path)
    assert code["dtypes"] == inspection.count_llvm_types(LLVM_IR)
    assert code["dtypes"]["i8"] == 3
    assert code["instructions"]["vpmaddwd"] == 1
    assert code["sizes"] == {f"{name}_bytes": len(text) for name, text in FILES.items()}


def test_the_baseline_is_its_own_float32(tmp_path):
    code = inspected(tmp_path)
    assert code["float32"] == {key: code[key] for key in ("dtypes", "instructions", "sizes")}


def test_the_figures_of_the_baseline_stand_beside(tmp_path):
    baseline = inspected(tmp_path / "float32", llvm_ir=LLVM_IR.replace("i8", "float"))
    code = inspected(
        tmp_path / "int8", module="m" * 10, more={"baseline": tmp_path / "float32" / "code.json"}
    )
    assert code["float32"] == baseline["float32"]
    assert (code["float32"]["dtypes"]["float"], code["dtypes"]["float"]) == (3, 0)
    assert (code["float32"]["sizes"]["module_bytes"], code["sizes"]["module_bytes"]) == (40, 10)


def test_a_baseline_that_failed_leaves_none_beside(tmp_path):
    assert inspected(tmp_path, more={"baseline": None})["float32"] is None


def test_of_a_tool_that_shows_no_code_operators_are_counted(tmp_path):
    dtypes = ("uint8", "int8", "uint8", "float32", "bfloat16", "int4", "bool")
    operators = [{"name": "n", "type": "Conv", "dtype": dtype} for dtype in dtypes]
    packing.pack(str(tmp_path / "objects.tar"), b"module", operators)
    baseline = inspected(tmp_path / "float32")
    objects = {"objects": str(tmp_path / "objects.tar")}
    code = inspected(tmp_path / "int8", llvm_ir="", assembly="", more=objects)
    counted = {"i8": 3, "float": 1, "bfloat": 1, "i4": 1, "i1": 1}
    assert code["dtypes"] == dict.fromkeys(inspection.LLVM_TYPES, 0) | counted
    assert (code["target"], code["instructions"]) == (None, None)
    assert baseline["instructions"] is not None
    packing.unpack(objects, {"module": str(tmp_path / "module")})
    assert (tmp_path / "module").read_bytes() == b"module"


@pytest.mark.parametrize(
    ("llvm_ir", "target"),
    [
        (TRIPLE + CODE + CPU, "x86_64-linux-gnu znver4"),
        (TRIPLE + CODE + CPU + CPU.replace("znver4", "generic"), "x86_64-linux-gnu znver4"),
        (TRIPLE + CODE, "x86_64-linux-gnu unknown"),
        (CODE + CPU, "unknown znver4"),
        (CODE, "unknown unknown"),
        ('; target triple = "i386"\n' + TRIPLE + CODE + CPU, "x86_64-linux-gnu znver4"),
        ('target triple = ""\n' + CODE + 'attributes #0 = { "target-cpu"="" }', "unknown unknown"),
    ],
)
def test_the_target_is_the_one_that_llvm_recorded(tmp_path, llvm_ir, target):
    assert inspected(tmp_path, llvm_ir=llvm_ir)["target"] == target
