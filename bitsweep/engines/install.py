"""Lay an engine's TVM into a directory of its own, or take the user's, and record its versions."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from bitsweep import child
from bitsweep.artifact import write_text
from bitsweep.engines import task
from bitsweep.errors import UserError

_PROBE_LIMITS = child.Limits(seconds=300, memory_bytes=4 * 2**30)


def install(
    name: str,
    *,
    wheel: str,
    dependencies: str,
    python_path: str | None,
    record: str,
    log: str,
) -> None:
    """Write `record`, the engine's JSON: `engine`, `python_path`, `versions`.

    Without `python_path` the requirements files are installed into `site` beside the record:
    `wheel` as for CPython 3.10, which its binary interface is unused of, `dependencies` for this
    Python. Raises `UserError` when pip fails or the TVM found does not fit the engine.
    """
    if python_path is None:
        paths = [str(_lay(Path(record).parent, wheel, dependencies))]
    else:
        paths = [python_path]
        if not Path(python_path).is_dir():
            raise UserError(f"engines.{name}.python_path = {python_path!r} is not a directory")
    versions = Path(record).with_name("versions.json")
    ended = task.run(
        task.Engine(name, tuple(paths), {}),
        "probe",
        inputs={},
        outputs={"versions": str(versions)},
        settings={"python_path": paths[0]},
        limits=_PROBE_LIMITS,
        threads=1,
        log=log,
    )
    if ended.failure:
        raise UserError(
            f"the TVM in {paths[0]} cannot serve engine {name}: {ended.failure.message}"
        )
    found = json.loads(versions.read_text())
    versions.unlink()
    write_text(
        record,
        json.dumps({"engine": name, "python_path": paths, "versions": found}, indent=2) + "\n",
    )


def _lay(directory: Path, wheel: str, dependencies: str) -> Path:
    site, fresh = directory / "site", directory / "site.part"
    shutil.rmtree(fresh, ignore_errors=True)
    common = ["--target", str(fresh), "--only-binary=:all:", "--no-deps", "--upgrade"]
    _pip(*common, "--requirement", dependencies)
    _pip(
        *common,
        *("--python-version", "3.10", "--implementation", "cp", "--abi", "cp310"),
        *("--requirement", wheel),
    )
    shutil.rmtree(site, ignore_errors=True)
    fresh.rename(site)
    return site


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", *arguments]
    if subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode:
        raise UserError(
            "the engine's packages could not be installed by pip (offline, or a platform without "
            "such a wheel?); an own TVM can be named by engines.relay.python_path"
        )
