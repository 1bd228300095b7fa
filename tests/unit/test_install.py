"""Which TVM serves an engine: small packages named `tvm` stand for the user's own."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest
import tvm_ffi

from bitsweep.engines import task
from bitsweep.engines.install import install
from bitsweep.errors import UserError

SHIPPED = Path(__file__).parents[2] / "requirements" / "relax.txt"
TVMS = version("apache-tvm")
TVM = """
__version__ = "0.19.0"

class support:
    @staticmethod
    def libinfo():
        return {"LLVM_VERSION": "17.0.6"}
"""


@pytest.fixture
def site(tmp_path):
    """A site with a `tvm` that has Relay."""
    write(tmp_path / "site" / "tvm" / "relay" / "quantize.py", "")
    write(tmp_path / "site" / "tvm" / "relay" / "__init__.py", "")
    write(tmp_path / "site" / "tvm" / "__init__.py", TVM)
    return tmp_path / "site"


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def install_own(python_path, folder, name="relay"):
    install(
        name,
        requirements={"wheel": "not read", "packages": "not read"},
        python_path=str(python_path),
        record=str(folder / "engine.json"),
        log=str(folder / "log"),
    )


def install_environments(folder, requirements, name="relax"):
    """Install an engine whose tool is the environment's from the text of its requirements."""
    write(folder / f"{name}.txt", requirements)
    install(
        name,
        requirements={"environment": str(folder / f"{name}.txt")},
        python_path=None,
        record=str(folder / "engine.json"),
        log=str(folder / "log"),
    )


def test_the_environments_tvm_is_recorded_with_its_versions(tmp_path):
    install_environments(tmp_path, SHIPPED.read_text())
    record = json.loads((tmp_path / "engine.json").read_text())
    assert (record["engine"], record["python_path"]) == ("relax", [])
    assert record["versions"]["tvm"] == version("apache-tvm")
    assert record["versions"]["tvm_ffi"] == version("apache-tvm-ffi")
    assert set(record["versions"]) == {"tvm", "tvm_ffi", "llvm", "numpy"}


def test_the_environments_pytorch_may_be_any_build_of_the_release(tmp_path):
    release, _, _ = version("torch").partition("+")
    install_environments(tmp_path, f"torch=={release}\n", name="torch")
    record = json.loads((tmp_path / "engine.json").read_text())
    versions = {"torch": version("torch"), "numpy": version("numpy")}
    assert record == {"engine": "torch", "python_path": [], "versions": versions}


@pytest.mark.parametrize(
    ("requirements", "said"),
    [
        ("# TVM\napache-tvm==0.28.1\n", f"apache-tvm 0.28.1 and this environment has {TVMS}"),
        ("no-such-tvm==1.0  # none", "no-such-tvm 1.0 and this environment has none"),
    ],
)
def test_an_environment_without_the_pinned_tvm_is_refused(tmp_path, requirements, said):
    with pytest.raises(UserError) as caught:
        install_environments(tmp_path, requirements)
    assert str(caught.value) == (
        f"engine relax needs {said}; run `pip install -r {tmp_path / 'relax.txt'}`, or name a "
        "folder that has it by engines.relax.python_path"
    )
    assert not (tmp_path / "engine.json").exists()


RELAX = {"relax": "", "tirx": ""}


@pytest.mark.parametrize(
    ("ffi", "modules", "said"),
    [
        ("0.1.15", RELAX, "apache-tvm-ffi 0.1.15 crashes when a module is serialised"),
        ("0.1.14", {}, "TVM 0.19.0 at "),
        ("0.1.14", {"relax": ""}, "is too old; 0.27 is the first that serves"),
    ],
)
def test_a_tvm_that_cannot_serve_relax_is_refused(tmp_path, ffi, modules, said):
    site = tmp_path / "site"
    write(site / "tvm" / "__init__.py", TVM)
    write(site / "tvm_ffi" / "__init__.py", f"__version__ = {ffi!r}")
    for name, text in modules.items():
        write(site / "tvm" / f"{name}.py", text)
    assert said in refusal(site, tmp_path, name="relax")


def refusal(python_path, folder, name="relay"):
    with pytest.raises(UserError) as caught:
        install_own(python_path, folder, name)
    assert not (folder / "engine.json").exists()
    return str(caught.value)


def test_an_own_tvm_is_recorded_with_its_versions(site, tmp_path):
    install_own(site, tmp_path)
    versions = {"tvm": "0.19.0", "llvm": "17.0.6", "numpy": version("numpy")}
    record = json.loads((tmp_path / "engine.json").read_text())
    assert record == {"engine": "relay", "python_path": [str(site)], "versions": versions}
    assert task.Engine.read(tmp_path / "engine.json") == task.Engine(
        "relay", (str(site),), versions
    )
    assert {path.name for path in tmp_path.iterdir()} == {"engine.json", "log", "site"}


def test_a_path_that_is_no_directory_is_named(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "nowhere"):
        said = refusal(path, tmp_path)
        assert said == f"engines.relay.python_path = {str(path)!r} is not a directory"


def test_a_tvm_without_relay_is_refused_by_its_version(tmp_path):
    """Today's Apache TVM, which this environment has."""
    site = Path(tvm_ffi.__file__).parents[1]
    assert refusal(site, tmp_path) == (
        f"{site} cannot serve engine relay: TVM {version('apache-tvm')} at "
        f"{site / 'tvm'} has no Relay; 0.19 is the last"
    )


def test_a_directory_without_a_tvm_is_refused(tmp_path):
    """The environment's own TVM, which would be found after it, must not serve instead."""
    (tmp_path / "empty").mkdir()
    assert "there is no package tvm in that directory" in refusal(tmp_path / "empty", tmp_path)


def test_what_a_tvm_prints_is_not_taken_for_its_error(site, tmp_path):
    write(site / "tvm" / "__init__.py", TVM + "print('a warning')")
    (site / "tvm" / "relay" / "quantize.py").unlink()
    assert refusal(site, tmp_path).endswith("has no Relay; 0.19 is the last")


def test_a_tvm_that_cannot_be_imported_says_why_in_one_line(site, tmp_path):
    write(site / "tvm" / "__init__.py", "raise RuntimeError('libLLVM is missing')")
    assert refusal(site, tmp_path) == (f"{site} cannot serve engine relay: libLLVM is missing")
    log = (tmp_path / "log").read_text()
    assert "RuntimeError: libLLVM is missing" in log
    assert log.rstrip().splitlines()[-1].startswith('seconds in TVM: {"import tvm": ')
    assert log.count("seconds in TVM") == 1


@pytest.mark.parametrize(
    "end", ["raise RuntimeError(said)", "print(said); import os; os.abort()", "raise OSError(said)"]
)
def test_that_there_is_no_room_is_said_instead_of_what_followed(site, tmp_path, end):
    write(site / "tvm" / "__init__.py", f"said = 'ld: No space left on device'; {end}")
    assert refusal(site, tmp_path).startswith("No space left on device: /")


def test_a_tvm_that_crashes_when_imported_is_refused(site, tmp_path):
    write(site / "tvm" / "__init__.py", "import os; os.abort()")
    assert refusal(site, tmp_path).endswith(": Fatal Python error: Aborted")


def test_an_engine_whose_tvm_is_gone_is_named(site, tmp_path):
    install_own(site, tmp_path)
    site.rename(tmp_path / "elsewhere")
    with pytest.raises(UserError) as caught:
        task.Engine.read(tmp_path / "engine.json")
    record = tmp_path / "engine.json"
    assert str(caught.value) == f"engine relay: {site} is gone; delete {record}"
