"""Counts in listings, against listings written out by hand and a naive reading of them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsweep import inspection
from bitsweep.inspection import GROUPS, LLVM_TYPES, count_instructions, count_llvm_types

IR = """\
; ModuleID = 'TVMMod' with i8 and float in a comment
%0 = type { double }
%closure.i8 = type { ptr, <4 x i8>, i16 }
@.str = private constant [26 x i8] c"dtype is i8, \\22int32\\22 or float\\00", align 1
@float = global i32 0

; Function Attrs: i64
define internal fastcc i1 @f.i8(ptr noalias %i8_foo, float %float) #0 !dbg !5 {
i32:
  call void @llvm.dbg.value(metadata i32 %num_args, metadata !13, metadata !DIExpression()), !dbg !1
    #dbg_value(i32 %num_args, !12, !DIExpression(), !15)
  %i8 = load <16 x i8>, ptr %i8_foo, align 16, !tbaa !3 ; i8
  %i64.x = call <8 x i16> @llvm.x86.i8.v16i8(<16 x i8> %i8, <16 x i8> %i8)
  %"i8 quoted float" = sext <8 x i16> %i64.x to <8 x i32>
  %1 = fpext half 0xH3C00 to float
  %2 = bitcast i4 0 to <4 x i1>
  %3 = trunc i128 0 to i2
  %4 = fptrunc float %float to bfloat
  br label %i8-next
i8-next:
  ret i1 true
}
attributes #0 = { "target-cpu"="i8" }
!3 = !{!"i8", i64 7, i64 9}
!5 = !DIBasicType(name: "float", size: 32)
"""
IR_COUNTS = {
    "half": 1,
    "bfloat": 1,
    "float": 3,
    "double": 1,
    "i1": 3,
    "i2": 1,
    "i4": 1,
    "i8": 5,
    "i16": 3,
    "i32": 2,
    "i64": 0,
}

ASSEMBLY = """\
\t.text
\t.file\t"vmulps"
vmulps:
.LBB0_1:
\t.cfi_startproc
\tvpdpbusd\t(%rdi), %zmm1, %zmm0
\tvpdpbusds\t(%rdi), %zmm1, %zmm0
\tvpdpwssd\t%ymm1, %ymm2, %ymm0
\tvpmaddubsw\t%ymm1, %ymm2, %ymm0
\tpmaddwd\t%xmm1, %xmm0
\ttdpbusd\t%tmm1, %tmm2, %tmm0
\tvfmadd231ps\t(%rax), %ymm1, %ymm0   # vpmulld
\tvfnmadd213ss\t%xmm1, %xmm2, %xmm0
\tvfmsub132pd\t%ymm1, %ymm2, %ymm0
\tvpmulld\t%ymm1, %ymm2, %ymm0
\tpmullw\t%xmm1, %xmm0
\tvmulps\t%ymm1, %ymm2, %ymm0
\tmulss\t%xmm1, %xmm0
\timull\t$3, %eax, %eax
\tsdot\tv0.4s, v1.16b, v2.16b
\tusmmla\tv0.4s, v1.16b, v2.16b
\tfmla\tv0.4s, v1.4s, v2.4s
\tretq
"""


def test_types_in_ir():
    assert count_llvm_types(IR) == IR_COUNTS


def test_words_that_only_contain_a_type():
    assert not any(
        count_llvm_types("v16i8 xfloat floats double2 i8x i16_ i i128 %i8 @f.i8").values()
    )


def test_a_file_counts_like_its_text(tmp_path, monkeypatch):
    path = tmp_path / "module.ll"
    path.write_text(IR * 20)
    monkeypatch.setattr(inspection, "_READ_AT_ONCE", 100)
    assert count_llvm_types(path) == {name: 20 * n for name, n in IR_COUNTS.items()}


def test_nothing_to_count(tmp_path):
    assert count_llvm_types("") == dict.fromkeys(LLVM_TYPES, 0)
    path = tmp_path / "empty.s"
    path.touch()
    assert count_instructions(path) == {"instructions": 0, **dict.fromkeys(GROUPS, 0)}


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "binary"
    path.write_bytes(bytes(range(256)) * 10)
    count_llvm_types(path)
    count_instructions(path)


@given(st.lists(st.sampled_from(LLVM_TYPES)))
def test_each_operand_counts_once(names):
    code = "".join(f"  %x = freeze <8 x {name}> %i8.{name}, {name} 1\n" for name in names)
    counts = count_llvm_types(code)
    assert counts == {name: 2 * names.count(name) for name in LLVM_TYPES}


def test_instructions(tmp_path):
    path = tmp_path / "module.s"
    path.write_text(ASSEMBLY)
    counts = count_instructions(path)
    assert counts["instructions"] == 18
    assert counts["int_dot"] == 8
    assert counts["float_fma"] == 4
    assert counts["int_multiply"] == 2
    assert counts["float_multiply"] == 2
    assert counts["vpdpbusd"] == counts["vpdpbusds"] == counts["vfmadd231ps"] == 1
    assert counts["vmulps"] == 1  # neither the label nor the file's name
    assert "imull" not in counts  # an address
    assert "retq" not in counts


@pytest.mark.parametrize(
    ("group", "mnemonics"),
    {
        "int_dot": "vpdpbusd vpdpbusds vpdpwssd vpdpwssds vpdpbssd vpdpwuud vpmaddubsw vpmaddwd "
        "pmaddubsw pmaddwd tdpbusd tdpbssd tdpbsud tdpbuud sdot udot usdot sudot smmla ummla "
        "usmmla",
        "bit_count": "vpopcntb vpopcntw vpopcntd vpopcntq cnt",
        "float_fma": "vfmadd132ps vfmadd213sd vfmadd231ph vfnmadd231ps vfmsub231ps vfnmsub213ss "
        "vfmaddsub231ps vfmsubadd213pd vdpbf16ps tdpbf16ps tdpfp16ps fmla fmls fmadd fmsub fnmadd "
        "bfdot bfmmla",
        "int_multiply": "vpmulld vpmullw vpmullq pmulld pmullw vpmulhw vpmulhuw pmulhw vpmulhrsw "
        "vpmuldq vpmuludq mla mls smull smull2 umlal smlal2",
        "float_multiply": "vmulps vmulpd vmulss vmulsd vmulph mulps mulsd fmul",
        None: "popcntl popcntq imull vaddps vpaddd vpsubd movl fadd mul madd vfpclassps vpmovsxbw "
        "fmulx",
    }.items(),
)
def test_groups(tmp_path, group, mnemonics):
    path = tmp_path / "module.s"
    path.write_text("".join(f"\t{name}\tx, y\n" for name in mnemonics.split()))
    counts = count_instructions(path)
    expected = {name: 0 for name in GROUPS} | ({group: len(mnemonics.split())} if group else {})
    assert {name: counts[name] for name in GROUPS} == expected
    assert all(counts.get(name) == (1 if group else None) for name in mnemonics.split())


@pytest.mark.parametrize(
    ("count", "text"), [(count_llvm_types, IR), (count_instructions, ASSEMBLY)]
)
def test_large_files_in_seconds(tmp_path, count, text):
    path = tmp_path / "large"
    path.write_text(text * (20_000_000 // len(text)))
    begun = time.process_time()
    count(path)
    assert time.process_time() - begun < 10
