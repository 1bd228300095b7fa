"""Lay an engine's tool into a directory of its own, or take the user's, and record its versions."""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement

from bitsweep import child
from bitsweep.artifact import write_text
from bitsweep.engines import task
from bitsweep.errors import UserError
from bitsweep.storage import shortage

_PIP_LIMITS = child.Limits(seconds=3600, memory_bytes=4 * 2**30)
_PROBE_LIMITS = child.Limits(seconds=300, memory_bytes=4 * 2**30)


def install(
    name: str,
    *,
    requirements: Mapping[str, str],
    python_path: str | None,
    record: str,
    log: str,
) -> None:
    """Write `record`, the engine's JSON: `engine`, `python_path`, `versions`.

    `requirements` are pip's files. Without `python_path`, `packages` (for this Python) and `wheel`
    (as for CPython 3.10, which its binary interface is unused of) are installed into `site` beside
    the record, without what they depend on, so that what is not listed is this Python's own; or
    `environment` is what this Python's own environment must have, whose tool then serves. Raises
    `UserError` when pip fails, where for want of room with a sentence on that, or the tool found
    does not fit the engine.
    """
    if python_path is not None:
        paths = [python_path]
        if not Path(python_path).is_dir():
            raise UserError(f"engines.{name}.python_path = {python_path!r} is not a directory")
    elif "environment" in requirements:
        paths = []
        _require_installed(name, requirements["environment"])
    else:
        paths = [str(_lay(name, Path(record).parent, Path(log), **requirements))]
    versions = Path(record).with_name("versions.json")
    ended = task.run(
        task.Engine(name, tuple(paths), {}),
        "probe",
        inputs={},
        outputs={"versions": str(versions)},
        settings={"python_path": paths[0] if paths else None},
        limits=_PROBE_LIMITS,
        threads=1,
        log=log,
    )
    if ended.failure:
        where = paths[0] if paths else "this environment"
        raise UserError(f"{where} cannot serve engine {name}: {ended.failure.message}")
    found = json.loads(versions.read_text())
    versions.unlink()
    write_text(
        record,
        json.dumps({"engine": name, "python_path": paths, "versions": found}, indent=2) + "\n",
    )


def installed(requirements: str) -> dict[Requirement, str | None]:
    """Return the version that this environment has of each package of a requirements file."""
    found: dict[Requirement, str | None] = {}
    for line in Path(requirements).read_text(encoding="utf-8").splitlines():
        if not (text := line.partition("#")[0].strip()):
            continue
        requirement = Requirement(text)
        try:
            found[requirement] = version(requirement.name)
        except PackageNotFoundError:
            found[requirement] = None
    return found


def _require_installed(name: str, requirements: str) -> None:
    """Raise `UserError` where a package of a requirements file is not there, or another version."""
    for wanted, found in installed(requirements).items():
        if found is None or not wanted.specifier.contains(found, prereleases=True):
            raise UserError(
                f"engine {name} needs {wanted.name} {str(wanted.specifier).removeprefix('==')} and "
                f"this environment has {found or 'none'}; run `pip install -r {requirements}`, or "
                f"name a folder that has it by engines.{name}.python_path"
            )


def _lay(name: str, directory: Path, log: Path, packages: str, wheel: str | None = None) -> Path:
    site, fresh = directory / "site", directory / "site.part"
    shutil.rmtree(fresh, ignore_errors=True)
    _pip(name, fresh, log, "--requirement", packages)
    if wheel:
        _pip(
            *(name, fresh, log, "--python-version", "3.10", "--implementation", "cp"),
            *("--abi", "cp310", "--requirement", wheel),
        )
    shutil.rmtree(site, ignore_errors=True)
    fresh.rename(site)
    return site


def _pip(name: str, target: Path, log: Path, *what: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target)]
    command += ["--only-binary=:all:", "--no-deps", "--upgrade", *what]
    if child.run(command, environment=os.environ, log=log, limits=_PIP_LIMITS).returncode:
        raise UserError(
            shortage([target, log.parent], told=log.read_text(encoding="utf-8"))
            or "the engine's packages could not be installed by pip (offline, or a platform "
            f"without such a wheel?); a folder that has them can be named by "
            f"engines.{name}.python_path"
        )
