"""What tells that a file in a folder changed."""

import os
import shutil

import pytest

from bitsweep import fingerprint

IMAGES = ("cat/1.png", "cat/2.png", "dog/1.png")
# As in a source tree of TVM's with a build in it.
TVM = (
    "python/tvm/__init__.py",
    "python/tvm/relay/op.py",
    "python/tvm/_core.so",
    "python/tvm_ffi/core.py",
    "build/libtvm.so",
    "build/libtvm_runtime.so.1",
)
NOT_TVM = ("README.md", "python/other/__init__.py", "build/other.o", "python/tvm/a.pyc")


@pytest.fixture(autouse=True)
def anew():
    """Each is taken once in a process, which a run of the workflow is."""
    fingerprint.of_folder.cache_clear()
    fingerprint.of_tvm.cache_clear()


def tree(folder, files):
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
        os.utime(folder / name, ns=(1, 1))
    return folder


def of_folder(folder):
    fingerprint.of_folder.cache_clear()
    return fingerprint.of_folder(folder)


def of_tvm(folder):
    fingerprint.of_tvm.cache_clear()
    return fingerprint.of_tvm(folder / "python")


def rewrite(path):
    path.write_text("x" * path.stat().st_size)


def touch(path):
    os.utime(path, ns=(2, 2))


def lengthen(path):
    time = path.stat().st_mtime_ns
    path.write_text(path.read_text() + "x")
    os.utime(path, ns=(time, time))


def rename(path):
    path.rename(path.with_name(f"3{path.name}"))


CHANGES = (rewrite, touch, lengthen, rename, os.unlink)


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_in_a_folder_of_images_tells(tmp_path, change):
    folder = tree(tmp_path / "images", IMAGES)
    before = of_folder(folder)
    assert of_folder(folder) == before
    change(folder / IMAGES[1])
    after = of_folder(folder)
    tree(folder, ["cat/0.png"])
    assert len({before, after, of_folder(folder)}) == 3


def test_a_copy_that_kept_its_times_is_the_same(tmp_path):
    folder = tree(tmp_path / "images", IMAGES)
    shutil.copytree(folder, tmp_path / "copy")
    assert of_folder(folder) == of_folder(tmp_path / "copy")


def test_links_are_followed(tmp_path):
    folder, elsewhere = tree(tmp_path / "images", IMAGES), tree(tmp_path / "elsewhere", IMAGES)
    (folder / "linked").symlink_to(elsewhere)
    (folder / "nothing").symlink_to("nowhere")
    before = of_folder(folder)
    lengthen(elsewhere / IMAGES[0])
    assert of_folder(folder) != before


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", TVM)
def test_a_change_of_tvms_python_or_of_its_libraries_tells(tmp_path, name, change):
    folder = tree(tmp_path, [*TVM, *NOT_TVM])
    before = of_tvm(folder)
    change(folder / name)
    assert of_tvm(folder) != before


@pytest.mark.parametrize("name", NOT_TVM)
def test_what_is_not_tvms_does_not(tmp_path, name):
    folder = tree(tmp_path, [*TVM, *NOT_TVM])
    before = of_tvm(folder)
    lengthen(folder / name)
    assert of_tvm(folder) == before


def test_a_library_that_the_environment_names_tells(tmp_path, monkeypatch):
    folder = tree(tmp_path, TVM)
    before = of_tvm(folder)
    monkeypatch.setenv("TVM_LIBRARY_PATH", str(tree(tmp_path / "own", ["libtvm.so"])))
    assert of_tvm(folder) != before
