"""Which stages an edit makes stale, in copies of the sources."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bitsweep import code_digest
from bitsweep.engines.declared import ENGINES, has_task

ROOT = Path(__file__).parents[2]
RULES = re.findall(r'code_of\("(\w+)"', "".join(p.read_text() for p in ROOT.glob("rules/*.smk")))
SEARCHED = ["costs", "frontier", "search"]
COMPILED = ["import", "calibrate", "quantize", "tune", "compile", "sensitivity", "time_layers"]
DRAWN = ["plots", "profile_table", "sensitivity_table", "compare_table", "frontier_table"]
CODE = "_EDITED = 1\n"


@pytest.fixture(scope="module")
def original():
    return digests(ROOT)


def digests(folder):
    """The digest of each rule, in each engine where its tasks are the engine's."""
    found = {}
    for rule in RULES:
        script = folder / "workflow_scripts" / f"{rule}.py"
        per_engine = {name: code_digest.of_stage(script, name) for name in ENGINES}
        if len(set(per_engine.values())) == 1:
            found[rule] = next(iter(per_engine.values()))
        else:
            found |= {f"{rule} {name}": digest for name, digest in per_engine.items()}
    return found


def copied(folder):
    for name in ("bitsweep", "workflow_scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def stale(original, folder):
    return {name for name, digest in digests(folder).items() if digest != original[name]}


def in_engine(engine, rules):
    return {f"{rule} {engine}" for rule in rules}


def test_every_rule_that_leaves_results_has_one():
    with_results = {
        re.search(r"rule (\w+)", text)[1]
        for path in ROOT.glob("rules/*.smk")
        for text in re.split(r"(?m)^(?=rule )", path.read_text())
        if text.startswith("rule ") and "output:" in text
    }
    assert set(RULES) == with_results - {"engine"}  # whose record is of a TVM, not of our code


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("relax/kernels/conv2d_integer", in_engine("relax", [*COMPILED, *SEARCHED])),
        (
            "relax/transform/round_weights",
            in_engine("relax", ["quantize", "sensitivity", "time_layers", *SEARCHED]),
        ),
        ("relax/layerwise", in_engine("relax", ["sensitivity", "costs"])),
        ("relax/trial", in_engine("relax", ["frontier", "search"])),
        ("search/repair", {"search relax"}),
        ("engines/relay/tensors", in_engine("relay", ["calibrate", "quantize"])),
        ("engines/relay/compile", in_engine("relay", ["compile"])),
        ("engines/relay/by_autotvm", in_engine("relay", ["compile", "tune"])),
        ("engines/relax/by_tiles", in_engine("relax", ["compile", "tune"])),
        ("engines/tuning", {"tune relay", "tune relax"}),
        ("engines/linking", {"export relay", "export relax", "time_layers relax"}),
        (
            "metrics",
            {
                *(f"evaluate {name}" for name in ENGINES),
                *("sensitivity relax", "frontier_table"),
                *in_engine("relax", SEARCHED),
            },
        ),
        (
            "proportions",
            {
                *(f"evaluate {name}" for name in ENGINES),
                "sensitivity relax",
                *in_engine("relax", SEARCHED),
                *("aggregate", *DRAWN),  # which tell what PyTorch's may be
            },
        ),
        ("pairs", {"aggregate", *DRAWN}),
        ("inspection", {"inspect", "aggregate", *DRAWN}),
        ("digits", {"train", "trace"}),
        ("training", {"train"}),
        ("plots/latency", {*DRAWN}),
        ("answer/plans", {"frontier_table"}),
        ("summary", {"aggregate"}),
        ("explanation/rules", {"aggregate"}),
        ("engines/relay/layers", {"profile relay"}),
        ("engines/relax/operator_clock", {"profile relax"}),
        ("engines/openvino/operator_clock", {"profile openvino"}),
        ("profile/clock", {f"profile {name}" for name in ENGINES if has_task(name, "profile")}),
        ("engines/relax/loops", {"peaks relax"}),
        ("profile/peaks", {"aggregate", "profile_table"}),
        *(
            (name, set())
            for name in (
                "config",
                "progress",
                "script",
                "storage",
                "rule_stage",
                "profile/measuring",
            )
        ),
        ("engines/install", set()),
    ],
)
def test_an_edit_reaches_the_stages_that_run_the_module(original, tmp_path, module, expected):
    with (copied(tmp_path) / "bitsweep" / f"{module}.py").open("a") as source:
        source.write(CODE)
    assert stale(original, tmp_path) == expected


def test_an_engine_that_is_added_makes_nothing_stale(original, tmp_path):
    """And the config knows it: a package of task modules, which declares itself."""
    engines = copied(tmp_path) / "bitsweep" / "engines"
    shutil.copytree(engines / "openvino", engines / "another")
    assert stale(original, tmp_path) == set()
    code = "from bitsweep import config; print(*config.Precision.__pydantic_fields__)"
    python = [sys.executable, "-c", code]
    told = subprocess.run(python, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert told.split() == sorted([*ENGINES, "another"])


def test_comments_docstrings_and_the_version_are_no_code(original, tmp_path):
    for path in (copied(tmp_path) / "bitsweep").rglob("*.py"):
        text = re.sub(r'(?m)^( *)"""', r'\1"""Edited: ', path.read_text(), count=1)
        path.write_text(f"# A comment.\n\n\n{text}")
    version = tmp_path / "bitsweep" / "__init__.py"
    version.write_text(re.sub('__version__ = ".*"', '__version__ = "9"', version.read_text()))
    assert "Edited" in version.read_text()
    assert '"9"' in version.read_text()
    assert stale(original, tmp_path) == set()


def test_a_module_that_comes_to_be_imported_counts(original, tmp_path):
    kernel = copied(tmp_path) / "bitsweep/relax/kernels/dot.py"
    kernel.write_text(kernel.read_text() + "def _later():\n    from bitsweep import metrics\n")
    once = digests(tmp_path)["compile relax"]
    again = copied(tmp_path / "again")
    (again / "bitsweep/relax/kernels/dot.py").write_text(kernel.read_text())
    with (again / "bitsweep/metrics.py").open("a") as source:
        source.write(CODE)
    assert len({original["compile relax"], once, digests(again)["compile relax"]}) == 3


@pytest.mark.parametrize(
    ("module", "used"),
    [
        ("bitsweep.engines.relax.compile", "bitsweep.relax.build"),
        ("bitsweep.engines.relax.calibrate", "bitsweep.relax.observe"),
        ("bitsweep.plots", "bitsweep.plots.write"),
        ("bitsweep.quality", "bitsweep.quality.write"),
    ],
)
def test_what_counts_is_what_python_imports(module, used):
    """Also where a package imports what is looked up in it no earlier than that."""
    code = f"import sys, {module}, bitsweep.relax; {used}; print(*sys.modules)"
    if "relax" not in module:
        code = code.replace(", bitsweep.relax", "")
    python = [sys.executable, "-c", code]
    printed = subprocess.run(python, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    imported = {name for name in printed.split() if name.partition(".")[0] == "bitsweep"}
    assert set(code_digest.modules([module], (ROOT,))[0]) == imported


USERS = {
    "nets/__init__.py": "",
    "nets/build.py": (
        "import json\nfrom . import blocks\nfrom .blocks import block as b\n"
        "import importlib, pinned\n\ndef net():\n    '''A network.'''\n"
        "    import heads.linear as linear\n    importlib.import_module('late')\n"
    ),
    "nets/blocks.py": "block = 1\n",
    "heads/linear.py": "features = 8\n",  # no `__init__`: a namespace package
    "late.py": "late = 1\n",
    "unrelated.py": "",
}


def users(folder, **edited):
    for name, text in (USERS | edited).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return code_digest.of_module("nets.build", ROOT, folder)


@pytest.mark.parametrize(
    "name", ["nets/__init__.py", "nets/build.py", "nets/blocks.py", "heads/linear.py", "late.py"]
)
def test_a_users_module_counts_with_what_it_imports(tmp_path, name):
    edited = {name: USERS[name] + CODE}
    assert users(tmp_path / "before") != users(tmp_path / "after", **edited)


def test_what_it_does_not_import_and_texts_do_not(tmp_path):
    text = USERS["nets/build.py"].replace("A network.", "The network.  # of two blocks")
    edited = {"unrelated.py": CODE, "nets/build.py": text}
    assert users(tmp_path / "before") == users(tmp_path / "after", **edited)


def test_a_module_with_an_error_is_for_others_to_tell(tmp_path):
    before = users(tmp_path / "before")
    assert users(tmp_path / "after", **{"nets/blocks.py": "block = ("}) != before


def test_versions_of_other_packages_count(tmp_path, monkeypatch):
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(site)
    found = []
    for version in ("1.0", "1.0", "2.0"):
        shutil.rmtree(site, ignore_errors=True)
        folder = site / f"a_name_of_its_own-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Name: a-name-of-its-own\nVersion: {version}\n")
        (folder / "RECORD").write_text("pinned/__init__.py,,\n")
        for cached in (code_digest._installed, code_digest.version):
            cached.cache_clear()
        found.append(users(tmp_path / str(len(found))))
    assert found[0] == found[1] != found[2]
    for cached in (code_digest._installed, code_digest.version):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("package", "distribution"),
    [
        ("torch", "torch"),
        ("sklearn", "scikit-learn"),
        ("tvm", "apache-tvm"),
        ("typing_extensions", "typing-extensions"),
    ],
)
def test_a_package_has_the_version_of_its_distribution(package, distribution):
    assert code_digest.version(package) == importlib.metadata.version(distribution)
    assert code_digest.version("no_such_package") is None


@pytest.fixture
def kept(tmp_path):
    folder = tmp_path / "kept"
    code_digest.keep_in(folder)
    yield folder
    code_digest._kept = None


def test_what_files_hold_is_kept_by_their_content(original, kept, tmp_path, monkeypatch):
    assert stale(original, copied(tmp_path / "first")) == set()
    files = {path: path.read_bytes() for path in kept.iterdir()}

    monkeypatch.setattr(code_digest, "_parsed", None)  # nothing is parsed again
    assert stale(original, copied(tmp_path / "second")) == set()
    monkeypatch.undo()

    edited = copied(tmp_path / "edited")
    with (edited / "bitsweep/metrics.py").open("a") as file:
        file.write(CODE)
    assert "evaluate" in {name.split()[0] for name in stale(original, edited)}
    assert len(list(kept.iterdir())) == len(files) + 1

    for path in files:  # as a full disk might leave them
        path.write_bytes(b"")
    assert stale(original, copied(tmp_path / "third")) == set()
    assert {path: path.read_bytes() for path in files} == files
