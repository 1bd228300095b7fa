"""A process of the engine's, before it imports its TVM."""

import importlib.util
import sys


def _import_when_used(package: str, name: str) -> None:
    """Have a package's module load when it is first asked for something."""
    spec = importlib.util.find_spec(package) and importlib.util.find_spec(f"{package}.{name}")
    if not spec or spec.name in sys.modules:
        return
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # Else the package would look for it, and with that load it.
    setattr(sys.modules[package], name, module)


def prepare(task: str) -> None:
    """Spare the process of any task what its TVM imports for nothing."""
    # For what is not used here, which takes as long as the rest of TVM.
    _import_when_used("scipy", "stats")
