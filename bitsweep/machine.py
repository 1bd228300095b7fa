"""The machine that a measurement was taken on, and the name that LLVM knows its CPU by."""

import math
import os
import platform
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
CGROUP_ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
CACHES = Path("/sys/devices/system/cpu")


@dataclass(frozen=True)
class CpuInfo:
    """The first CPU of a cpuinfo text; `model` is None and `flags` empty where it tells none."""

    model: str | None
    flags: frozenset[str]


def describe() -> dict[str, object]:
    """Return this machine's CPU, cores, memory in bytes and software, safe in JSON.

    `node` is its name, in Slurm that of the node, whose `partition` the job was sent to.
    """
    cpu = read_cpuinfo()
    return {
        "node": os.environ.get("SLURMD_NODENAME") or platform.node(),
        "partition": os.environ.get("SLURM_JOB_PARTITION"),
        "cpu_model": cpu.model,
        "cpu_flags": sorted(cpu.flags),
        "cores_allowed": cores_allowed(),
        "cores_online": os.cpu_count() or 1,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "platform": platform.platform(),
        "python": platform.python_version(),
    }


def read_cpuinfo(path: Path | str = CPUINFO) -> CpuInfo:
    """Read the CPU's model name and flags (`flags` on x86, `Features` on Arm)."""
    fields: dict[str, str] = {}
    for line in _read(path).splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = fields.get("flags") or fields.get("Features") or ""
    return CpuInfo(fields.get("model name") or None, frozenset(flags.split()))


def cores_allowed(
    cgroup_root: Path | str = CGROUP_ROOT, membership: Path | str = MEMBERSHIP
) -> int:
    """Return how many cores this process may really use, at least 1.

    The fewer of the cores it is scheduled on and the CPU quota, rounded up, of its control group
    and the groups around it. `membership` is the file that names its groups; versions 1 and 2 are
    read (`cpu.cfs_quota_us` over `cpu.cfs_period_us`, and `cpu.max`).
    """
    cores = len(os.sched_getaffinity(0))
    quotas = [_quota(group) for group in _cpu_groups(Path(cgroup_root), membership)]
    return max(1, min([cores, *(math.ceil(quota) for quota in quotas if quota is not None)]))


def cores_alone() -> int:
    """Return how many cores a process that is alone on this machine may use.

    Those allowed to this one, but all of a node for a job of Slurm, which has a part of it.
    """
    return os.cpu_count() or 1 if "SLURM_JOB_ID" in os.environ else cores_allowed()


def usable(threads: int) -> int:
    """Return how many of the threads a job was given it can run at once on this machine."""
    return min(threads, cores_allowed())


def _cpu_groups(root: Path, membership: Path | str) -> set[Path]:
    """Return the directories that may hold this process's CPU quota, up to the root."""
    groups = set()
    lines = [line for line in _read(membership).splitlines() if line.count(":") >= 2]
    for line in ["0::/", "0:cpu:/", "0:cpu,cpuacct:/", *lines]:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / controllers
        path = mount / group.lstrip("/")
        groups |= {path, *(parent for parent in path.parents if parent.is_relative_to(mount))}
    return groups


def _quota(group: Path) -> float | None:
    """Return the cores' worth of CPU time that a control group grants; None for no limit."""
    fields = _read(group / "cpu.max").split()
    if not fields:
        fields = [_read(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    if len(fields) != 2 or not all(field.isdecimal() for field in fields) or int(fields[1]) == 0:
        return None
    return int(fields[0]) / int(fields[1])


def _read(path: Path | str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def last_level_bytes(caches: Path | str = CACHES) -> int:
    """Return the bytes of all last-level caches of this machine, 0 where it does not tell."""
    found: dict[tuple[int, str], int] = {}
    for index in Path(caches).glob("cpu[0-9]*/cache/index[0-9]*"):
        level, size = (_read(index / name).strip() for name in ("level", "size"))
        if level.isdecimal() and size[:-1].isdecimal() and size[-1] in "KMG":
            shared = _read(index / "shared_cpu_list").strip()
            found[int(level), shared] = int(size[:-1]) << {"K": 10, "M": 20, "G": 30}[size[-1]]
    last = max((level for level, _ in found), default=0)
    return sum(size for (level, _), size in found.items() if level == last)


def native_triple() -> str:
    """Return this machine's LLVM target triple, such as `x86_64-linux-gnu`."""
    return f"{platform.machine()}-linux-gnu"


# Only flags that LLVM may turn into instructions without being asked for them by name count here:
# an absent `pku` or `rdpru` (common in virtual machines) costs nothing.
_X86_64_V2 = frozenset({"cx16", "lahf_lm", "pni", "popcnt", "sse4_1", "sse4_2", "ssse3"})
_HASWELL = _X86_64_V2 | {"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}
_CRYPTO = {"adx", "aes", "pclmulqdq"}
_WIDE_CRYPTO = {"vaes", "vpclmulqdq"}
_ZNVER2 = _HASWELL | _CRYPTO | {"sse4a"}
_ZNVER3 = _ZNVER2 | _WIDE_CRYPTO
_ALDERLAKE = _HASWELL | _CRYPTO | _WIDE_CRYPTO | {"avx_vnni", "gfni"}
_SKYLAKE = _HASWELL | _CRYPTO | {"avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"}
_CASCADELAKE = _SKYLAKE | {"avx512_vnni"}
_AVX512_2019 = {"avx512_bitalg", "avx512_vbmi2", "avx512_vpopcntdq", "avx512ifma", "avx512vbmi"}
_ICELAKE = _CASCADELAKE | _WIDE_CRYPTO | _AVX512_2019 | {"gfni"}
_AMX = {"amx_bf16", "amx_int8", "amx_tile"}
_SAPPHIRERAPIDS = _ICELAKE | _AMX | {"avx512_bf16", "avx512_fp16", "avx_vnni"}

# Most capable first: the name, the flags it needs, whether it is AMD's.
LLVM_CPUS = (
    ("sapphirerapids", _SAPPHIRERAPIDS, False),
    ("znver4", _ICELAKE | _ZNVER3 | {"avx512_bf16"}, True),
    ("cooperlake", _CASCADELAKE | {"avx512_bf16"}, False),
    ("icelake-server", _ICELAKE, False),
    ("cascadelake", _CASCADELAKE, False),
    ("skylake-avx512", _SKYLAKE, False),
    ("alderlake", _ALDERLAKE, False),
    ("znver3", _ZNVER3, True),
    ("znver2", _ZNVER2, True),
    ("haswell", _HASWELL, False),
    ("nehalem", _X86_64_V2, False),
    ("x86-64", frozenset(), False),
)


def llvm_cpu(flags: Iterable[str], model: str | None = None, machine: str | None = None) -> str:
    """Return the most capable `-mcpu` name of LLVM 17 whose flags this CPU all has.

    `flags` are spelled as in /proc/cpuinfo; `model` is its model name, by which AMD's CPUs are
    known; `machine` defaults to this machine's architecture, and all but x86_64 give `generic`.
    LLVM is not asked: where a virtual machine hides AMX, its own detection names a CPU with it.
    """
    if (machine or platform.machine()) != "x86_64":
        return "generic"
    present, is_amd = frozenset(flags), "AMD" in (model or "")
    return next(
        name for name, needed, amd in LLVM_CPUS if needed <= present and (is_amd or not amd)
    )


# Features whose instructions LLVM may pick and which /proc/cpuinfo spells alike, but for dashes.
_VECTOR_FEATURE = re.compile(r"avx|amx|gfni|vaes|vpclmulqdq")


def better_llvm_cpu(
    detected: Collection[str], named: Collection[str], flags: Iterable[str]
) -> bool:
    """Return whether the CPU that an LLVM took this one for is at least as good a name as ours.

    `detected` and `named` are LLVM's features of the one name and of the other. LLVM may name a CPU
    with features that a virtual machine hides, or one without features that /proc/cpuinfo shows in
    its `flags`.
    """
    present, detected, named = map(_vector_features, (flags, detected, named))
    return detected <= present and len(detected) >= len(named & present)


def _vector_features(names: Iterable[str]) -> set[str]:
    plain = (name.replace("_", "").replace("-", "") for name in names)
    return {name for name in plain if _VECTOR_FEATURE.match(name)}
