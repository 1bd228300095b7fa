"""What the machine is said to be, from texts as machines give them."""

import json
import os
import platform

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsweep import machine
from bitsweep.machine import LLVM_CPUS, cores_allowed, llvm_cpu, read_cpuinfo

COMMON = (
    "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse "
    "sse2 ht syscall nx rdtscp lm constant_tsc rep_good nopl cpuid"
)
AVX2 = (
    f"{COMMON} pni pclmulqdq ssse3 fma cx16 sse4_1 sse4_2 x2apic movbe popcnt aes xsave avx f16c "
    "rdrand hypervisor lahf_lm abm bmi1 avx2 bmi2 adx"
)
AVX512 = f"{AVX2} avx512f avx512dq rdseed smap clflushopt clwb avx512cd avx512bw avx512vl"
ICELAKE = (
    f"{AVX512} avx512ifma sha_ni avx512vbmi avx512_vbmi2 gfni vaes vpclmulqdq avx512_vnni "
    "avx512_bitalg avx512_vpopcntdq"
)
REAL = {
    "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz": (
        f"{ICELAKE} avx_vnni avx512_bf16 avx512_fp16 amx_bf16 amx_tile amx_int8",
        "sapphirerapids",
    ),
    "Intel(R) Xeon(R) Processor @ 2.70GHz": (  # the same in a virtual machine that hides AMX
        f"{ICELAKE} avx_vnni avx512_bf16 avx512_fp16",
        "cooperlake",
    ),
    "AMD EPYC": (f"{ICELAKE} mmxext sse4a avx_vnni avx512_bf16 clzero", "znver4"),
    "AMD EPYC 7763 64-Core Processor": (f"{AVX2} mmxext sse4a sha_ni vaes vpclmulqdq", "znver3"),
    "AMD EPYC-Rome Processor": (f"{AVX2} sha_ni", "haswell"),  # a hypervisor hides sse4a
    "AMD EPYC 7R32": (f"{AVX2} mmxext sse4a sha_ni", "znver2"),
    "Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz": (ICELAKE, "icelake-server"),
    "Intel(R) Xeon(R) Gold 6330H": (f"{AVX512} avx512_vnni avx512_bf16", "cooperlake"),
    "Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz": (f"{AVX512} avx512_vnni", "cascadelake"),
    "Intel(R) Xeon(R) Platinum 8175M CPU @ 2.50GHz": (AVX512, "skylake-avx512"),
    "12th Gen Intel(R) Core(TM) i7-12700K": (f"{AVX2} avx_vnni gfni vaes vpclmulqdq", "alderlake"),
    "Intel(R) Core(TM) i7-4770 CPU @ 3.40GHz": (AVX2, "haswell"),
    "Intel(R) Xeon(R) CPU X5570 @ 2.93GHz": (
        f"{COMMON} pni ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm",
        "nehalem",
    ),
    "QEMU Virtual CPU version 2.5+": (f"{COMMON} pni cx16", "x86-64"),
}


def cpuinfo_text(model, flags):
    return (
        f"processor\t: 0\nmodel\t\t: 143\nmodel name\t: {model}\ncpu MHz\t\t: 2700\n"
        f"flags\t\t: {flags}\nbugs\t\t: spectre_v1\n\nprocessor\t: 1\nmodel name\t: another\n"
        "flags\t\t: fpu\n\n"
    )


@pytest.mark.parametrize("model", REAL)
def test_llvm_names_of_real_cpus(model, tmp_path):
    flags, name = REAL[model]
    path = tmp_path / "cpuinfo"
    path.write_text(cpuinfo_text(model, flags))
    cpu = read_cpuinfo(path)
    assert cpu.model == model
    assert cpu.flags == set(flags.split())
    assert llvm_cpu(cpu.flags, cpu.model, "x86_64") == name


def test_arm(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\nCPU part\t: 0xd40\n")
    cpu = read_cpuinfo(path)
    assert (cpu.model, cpu.flags) == (None, {"fp", "asimd", "asimddp", "i8mm"})
    assert llvm_cpu(cpu.flags, cpu.model, "aarch64") == "generic"


@pytest.mark.parametrize("text", [None, "", "processor\t: 0\n", "\x00\xff:::"])
def test_cpuinfo_that_tells_nothing(tmp_path, text):
    path = tmp_path / "cpuinfo"
    if text is not None:
        path.write_text(text)
    cpu = read_cpuinfo(path)
    assert (cpu.model, cpu.flags) == (None, frozenset())
    assert llvm_cpu(cpu.flags, cpu.model, "x86_64") == "x86-64"


ORDER = [name for name, *_ in LLVM_CPUS]
KNOWN = sorted(frozenset().union(*(needed for _, needed, _ in LLVM_CPUS)))


@given(st.sets(st.sampled_from(KNOWN)), st.sets(st.sampled_from(KNOWN)), st.booleans())
def test_fewer_flags_never_give_a_more_capable_name(flags, removed, amd):
    model = "AMD Ryzen" if amd else "Intel"
    all_flags = llvm_cpu(set(KNOWN) - flags, model, "x86_64")
    fewer = llvm_cpu(set(KNOWN) - flags - removed, model, "x86_64")
    assert ORDER.index(fewer) >= ORDER.index(all_flags)


@pytest.mark.parametrize(("name", "needed", "amd"), LLVM_CPUS)
def test_each_name_needs_each_of_its_flags(name, needed, amd):
    model = "AMD Ryzen" if amd else "Intel"
    assert llvm_cpu(needed, model, "x86_64") == name
    for flag in needed:
        assert llvm_cpu(needed - {flag}, model, "x86_64") != name
    if amd:
        assert llvm_cpu(needed, "Intel", "x86_64") != name


ZEN = {"avx2", "avx512f", "avx512vnni", "64bit"}


@pytest.mark.parametrize(
    ("detected", "named", "flags", "better"),
    [
        ({*ZEN, "avx512vp2intersect"}, ZEN, "avx2 avx512f avx512_vnni avx512_vp2intersect", True),
        (ZEN, ZEN, "avx2 avx512f avx512_vnni fpu", True),
        # It took a processor with AMX for one without.
        (ZEN, {*ZEN, "amx-tile"}, "avx2 avx512f avx512_vnni amx_tile", False),
        # A virtual machine hides AMX from programs.
        ({*ZEN, "amx-tile"}, ZEN, "avx2 avx512f avx512_vnni", False),
        # Ours has what the machine hides: that does not count for it.
        (ZEN, {*ZEN, "gfni"}, "avx2 avx512f avx512_vnni", True),
        (set(), set(), "", True),
    ],
)
def test_llvms_own_name_is_taken_where_it_is_as_good(detected, named, flags, better):
    assert machine.better_llvm_cpu(detected, named, flags.split()) is better


@pytest.fixture
def four_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("files", "membership", "cores"),
    [
        ({}, "", 4),
        ({"cpu.max": "max 100000\n"}, "0::/\n", 4),
        ({"cpu.max": "200000 100000\n"}, "0::/\n", 2),
        ({"cpu.max": "150000 100000\n"}, "0::/\n", 2),
        ({"cpu.max": "10000 100000\n"}, "0::/\n", 1),
        ({"cpu.max": "900000 100000\n"}, "0::/\n", 4),
        ({"cpu.max": "0 100000\n"}, "0::/\n", 1),
        ({"cpu.max": "nonsense"}, "nonsense\n", 4),
        ({"cpu.max": "200000 0\n"}, "0::/\n", 4),
        ({"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}, "0::/a/b\n", 3),
        ({"a/b/cpu.max": "100000 100000", "a/cpu.max": "300000 100000"}, "0::/a/b\n", 1),
        ({"other/cpu.max": "100000 100000"}, "0::/a\n", 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, "", 4),
        ({"cpu/cpu.cfs_quota_us": "250000\n", "cpu/cpu.cfs_period_us": "100000\n"}, "", 3),
        (
            {
                "cpu,cpuacct/job/cpu.cfs_quota_us": "200000\n",
                "cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
            },
            "5:memory:/\n4:cpu,cpuacct:/job/step\n",
            2,
        ),
        (
            {"memory/job/cpu.cfs_quota_us": "1\n", "memory/job/cpu.cfs_period_us": "1\n"},
            "5:memory:/job\n",
            4,
        ),
    ],
)
def test_cores_allowed(four_cores, tmp_path, files, membership, cores):
    for name, text in files.items():
        write(tmp_path / "cgroup" / name, text)
    write(tmp_path / "membership", membership)
    assert cores_allowed(tmp_path / "cgroup", tmp_path / "membership") == cores


def test_cores_without_any_control_group(four_cores, tmp_path):
    assert cores_allowed(tmp_path / "none", tmp_path / "none") == 4


@pytest.mark.parametrize(("job", "cores"), [(None, 4), ("5", 64)])
def test_a_job_of_slurm_counts_all_cores_of_its_node(monkeypatch, job, cores):
    monkeypatch.setattr(machine, "cores_allowed", lambda: 4)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    if job:
        monkeypatch.setenv("SLURM_JOB_ID", job)
    assert machine.cores_alone() == cores


@pytest.mark.parametrize(("given_to_it", "threads"), [(1, 1), (3, 3), (4, 4), (64, 4)])
def test_a_job_runs_no_more_threads_than_there_are_cores(monkeypatch, given_to_it, threads):
    monkeypatch.setattr(machine, "cores_allowed", lambda: 4)
    assert machine.usable(given_to_it) == threads


def test_describe():
    described = machine.describe()
    assert json.loads(json.dumps(described, allow_nan=False)) == described
    assert set(described) == {
        "cpu_model",
        "cpu_flags",
        "cores_allowed",
        "cores_online",
        "memory_bytes",
        "node",
        "partition",
        "platform",
        "python",
    }
    assert 1 <= described["cores_allowed"] <= described["cores_online"]
    assert described["memory_bytes"] > 2**20
    assert described["cpu_flags"] == sorted(described["cpu_flags"])


def test_a_job_of_slurm_tells_its_node_and_partition(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_PARTITION", raising=False)
    monkeypatch.delenv("SLURMD_NODENAME", raising=False)
    here = machine.describe()
    assert (here["node"], here["partition"]) == (platform.node(), None)
    monkeypatch.setenv("SLURM_JOB_PARTITION", "fast")
    monkeypatch.setenv("SLURMD_NODENAME", "n17")
    here = machine.describe()
    assert (here["node"], here["partition"]) == ("n17", "fast")


def test_native_triple(monkeypatch):
    monkeypatch.setattr(machine.platform, "machine", lambda: "aarch64")
    assert machine.native_triple() == "aarch64-linux-gnu"
    assert llvm_cpu([]) == "generic"


def test_last_level_caches_are_counted_once_each(tmp_path):
    """Two of 32 MiB, each shared by two CPUs, beside smaller ones of each CPU."""
    for cpu in range(4):
        for index, (level, size, shared) in enumerate(
            [(1, "32K", f"{cpu}"), (2, "1024K", f"{cpu}"), (3, "32M", "0-1" if cpu < 2 else "2-3")]
        ):
            folder = tmp_path / f"cpu{cpu}" / "cache" / f"index{index}"
            folder.mkdir(parents=True)
            for name, told in (("level", level), ("size", size), ("shared_cpu_list", shared)):
                (folder / name).write_text(f"{told}\n")
    assert machine.last_level_bytes(tmp_path) == 2 * 32 * 2**20
    assert machine.last_level_bytes(tmp_path / "nowhere") == 0
