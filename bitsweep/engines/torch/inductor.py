"""TorchInductor, which makes C++ of a network and has it compiled ahead of time."""

import os
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from bitsweep.engines.refusal import asking

# Weights are constants, which oneDNN may reorder; a loop has as many threads as its process has.
_CONFIG = {"freezing": True, "cpp.dynamic_threads": True, "compile_threads": 1}
_FOLDER = "/aotinductor/"
_CALLER = ".wrapper.cpp"
_CALL = re.compile(r"^ +(?:\w+\()?(?:aoti_torch_cpu_|(?=cpp_fused_))(\w+)\(", re.MULTILINE)


def compiled(module: torch.jit.ScriptModule, shape: Sequence[int], folder: Path) -> Path:
    """Compile a module of float32 input of `shape` to a package, a zip archive in `folder`.

    `folder` takes what else the tool leaves behind. It needs a C++ compiler.
    """
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "cache")
    from torch._export.converter import TS2EPConverter

    example = (torch.zeros(shape),)
    with torch.no_grad():
        with asking("torch._export.converter.TS2EPConverter.convert"):
            network = TS2EPConverter(module, example).convert().module()
        with asking("torch.export.export"):
            program = torch.export.export(network, example)  # of this shape, not of any
        with asking("torch._inductor.aoti_compile_and_package"):
            path = torch._inductor.aoti_compile_and_package(
                program, package_path=str(folder / "module.pt2"), inductor_configs=_CONFIG
            )
    return Path(path)


def kernels(package: Path) -> list[str]:
    """Return the kernels that a package runs, its own and PyTorch's, in the order of running."""
    with zipfile.ZipFile(package) as archive:
        (caller,) = (name for name in archive.namelist() if name.endswith(_CALLER))
        return _CALL.findall(archive.read(caller).decode())


def is_made_by_it(module: Path) -> bool:
    """Whether a module is such a package, not TorchScript, whose archives are zip's too."""
    with zipfile.ZipFile(module) as archive:
        return any(_FOLDER in name for name in archive.namelist())


def load(module: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    """Load a package."""
    with asking("torch._inductor.aoti_load_package"):
        return torch._inductor.aoti_load_package(str(module))
