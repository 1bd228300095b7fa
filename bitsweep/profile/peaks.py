"""The machine's peaks, as the stage `peaks` measured them: what operators are told beside."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Peaks:
    """What a machine can do at most, by so many threads.

    `gigaproducts`, by arithmetic, are 10^9 products with accumulation a second, `gigabytes` 10^9
    bytes read a second from memory, beyond caches of `last_level_bytes`. Where a figure is unknown
    it is missing, or None.
    """

    gigaproducts: Mapping[str, float]
    gigabytes: float | None
    last_level_bytes: int | None


NONE = Peaks({}, None, None)


def read(path: Path | str, cpu_model: str | None, threads: int) -> Peaks:
    """Return the peaks for so many threads, `NONE` where another CPU was measured."""
    found = json.loads(Path(path).read_text(encoding="utf-8"))
    if "error" in found or found["cpu_model"] != cpu_model:
        return NONE
    own = {
        arithmetic: by_threads[str(threads)]
        for arithmetic, by_threads in found["gigaproducts"].items()
        if str(threads) in by_threads
    }
    return Peaks(own, found["gigabytes"].get(str(threads)), found["last_level_bytes"] or None)
