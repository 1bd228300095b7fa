"""What every engine's probe does alike, of the packages that its tool is made of."""

import json
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from bitsweep.engines.refusal import Refused, asking


def probe(packages: Sequence[str], python_path: str | None, versions: str) -> None:
    """Import packages, which must lie in `python_path`, and write their versions to `versions`.

    JSON, with numpy's. Without `python_path` the environment's serve. `Refused` where one is
    missing or cannot be imported.
    """
    found = {}
    for name in packages:
        with asking(f"import {name}"):
            package = import_module(name)
        found_at = Path(package.__file__)
        if python_path and not found_at.is_relative_to(Path(python_path).resolve()):
            text = f"there is no package {name} in that directory"
            raise Refused(f"import {name}", "exception", "ImportError", text)
        found[name] = version(name)
    Path(versions).write_text(json.dumps({**found, "numpy": version("numpy")}))
