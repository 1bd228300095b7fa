"""TorchInductor, which makes C++ of a network and has it compiled ahead of time."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch

from bitsweep.engines.refusal import asking_tvm

# Weights are constants, which oneDNN may reorder; a loop has as many threads as its process has.
_CONFIG = {"freezing": True, "cpp.dynamic_threads": True, "compile_threads": 1}
_FOLDER = "/aotinductor/"


def compiled(module: torch.jit.ScriptModule, shape: list[int], folder: Path) -> bytes:
    """Return the package, a zip archive, that a module of float32 input of `shape` compiles to.

    `folder` takes what the tool leaves behind. It needs a C++ compiler.
    """
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "cache")
    from torch._export.converter import TS2EPConverter

    with torch.no_grad():
        with asking_tvm("torch._export.converter.TS2EPConverter.convert"):
            program = TS2EPConverter(module, (torch.zeros(shape),)).convert()
        with asking_tvm("torch._inductor.aoti_compile_and_package"):
            path = torch._inductor.aoti_compile_and_package(
                program, package_path=str(folder / "module.pt2"), inductor_configs=_CONFIG
            )
    return Path(path).read_bytes()


def is_made_by_it(module: Path) -> bool:
    """Whether a module is such a package, not TorchScript, whose archives are zip's too."""
    with zipfile.ZipFile(module) as archive:
        return any(_FOLDER in name for name in archive.namelist())


def load(module: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    """Load a package."""
    with asking_tvm("torch._inductor.aoti_load_package"):
        return torch._inductor.aoti_load_package(str(module))
