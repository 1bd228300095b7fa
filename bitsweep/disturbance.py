"""What else used the CPUs while something was timed: other processes, a hypervisor's other guests.

Linux counts the CPU time of all processes, and what a hypervisor took (steal), in ticks of mostly
10 ms. What is told here is more than a tick a CPU, so that a round shorter than that is never
called disturbed.
"""

import os
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

STAT = Path("/proc/stat")
CPUINFO = Path("/proc/cpuinfo")
CPUS = Path("/sys/devices/system/cpu")

# A round is disturbed when others had more than this share of the CPU time, a benchmark when more
# than this share of its rounds is: its median is then above the 62nd percentile of the others.
OF_CPU_TIME = 0.05
OF_ROUNDS = 0.2


@dataclass(frozen=True)
class Counters:
    """CPU time so far, seconds, on the `cpus` that this process may use, at a `moment`, seconds.

    `busy` is of all processes, `own` of this one and those that work for it, `stolen` what a
    hypervisor gave to others.
    """

    moment: float
    cpus: int
    busy: float
    stolen: float
    own: float


@dataclass(frozen=True)
class Disturbance:
    """The shares of the CPU time that a hypervisor stole and that other processes had, 0 to 1."""

    steal: float
    others: float

    @property
    def disturbs(self) -> bool:
        """Whether it is more than a benchmark should have beside it."""
        return self.steal + self.others > OF_CPU_TIME


def counters(processes: Collection[int] = (), *, stat: Path | str = STAT) -> Counters | None:
    """Read the counters; None where `stat` does not tell them.

    The `processes` of these numbers are no others, but this one's own.
    """
    ticks = os.sysconf("SC_CLK_TCK")
    names = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    cpus, busy, stolen = 0, 0, 0
    for line in _lines(stat):
        name, *fields = line.split() or [""]
        if name in names:
            user, nice, system, _, _, irq, softirq, steal = map(int, fields[:8])
            cpus += 1
            busy += user + nice + system + irq + softirq
            stolen += steal
    if not cpus:
        return None
    own = time.process_time() + sum(map(_cpu_seconds, processes))
    return Counters(time.monotonic(), cpus, busy / ticks, stolen / ticks, own)


def _cpu_seconds(process: int) -> float:
    try:
        times = psutil.Process(process).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system


def between(before: Counters | None, after: Counters | None) -> Disturbance | None:
    """Return what happened between two readings, None where one is missing."""
    if before is None or after is None or after.moment <= before.moment:
        return None
    cpu_time = (after.moment - before.moment) * after.cpus
    uncertain = after.cpus / os.sysconf("SC_CLK_TCK")

    def share(seconds: float) -> float:
        return min(1.0, max(0.0, seconds - uncertain) / cpu_time)

    return Disturbance(
        steal=share(after.stolen - before.stolen),
        others=share(after.busy - before.busy - (after.own - before.own)),
    )


def share_disturbed(rounds: Sequence[Disturbance | None]) -> float | None:
    """Return the share of the rounds that are disturbed, None where nothing is known of them."""
    known = [found for found in rounds if found]
    return sum(found.disturbs for found in known) / len(known) if known else None


def is_disturbed(rounds: Sequence[Disturbance | None]) -> bool | None:
    """Return whether too many of a benchmark's rounds are disturbed, None where it is unknown."""
    share = share_disturbed(rounds)
    return None if share is None else share > OF_ROUNDS


def frequency_mhz(cpus: Path | str = CPUS, cpuinfo: Path | str = CPUINFO) -> float | None:
    """Return the mean clock of the CPUs that this process may use, MHz, None where it is unknown.

    As the kernel's cpufreq has it, else /proc/cpuinfo, where a virtual machine shows a constant.
    """
    own_cpus = os.sched_getaffinity(0)
    found = [
        float(line) / 1000
        for cpu in own_cpus
        for line in _lines(Path(cpus) / f"cpu{cpu}/cpufreq/scaling_cur_freq")
        if line.isdecimal()
    ] or _of_cpuinfo(cpuinfo, own_cpus)
    return sum(found) / len(found) if found else None


def _of_cpuinfo(path: Path | str, own_cpus: Collection[int]) -> list[float]:
    found, cpu = [], None
    for line in _lines(path):
        name, _, value = line.partition(":")
        if name.strip() == "processor":
            cpu = int(value)
        elif name.strip() == "cpu MHz" and cpu in own_cpus:
            found.append(float(value))
    return found


def _lines(path: Path | str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
