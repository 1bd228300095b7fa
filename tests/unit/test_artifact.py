import hashlib

import pytest

from bitsweep.artifact import replacing, sha256, staging_directory, write_text


def test_sha256_is_that_of_the_bytes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"\0bits\xff" * 1000)
    assert sha256(path) == hashlib.sha256(b"\0bits\xff" * 1000).hexdigest()


def test_replacing_keeps_the_old_file_when_the_block_fails(tmp_path):
    path = tmp_path / "table.csv"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "old"
        assert temporary.suffix == path.suffix
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_replacing_makes_the_folder(tmp_path):
    write_text(tmp_path / "a" / "b" / "file.txt", "é")
    assert (tmp_path / "a" / "b" / "file.txt").read_text(encoding="utf-8") == "é"


def test_a_staging_directory_is_beside_and_goes_away(tmp_path):
    with staging_directory(tmp_path / "stage" / "quantize.json") as directory:
        assert directory.parent == tmp_path / "stage"
        (directory / "file").touch()
    assert list((tmp_path / "stage").iterdir()) == []


def test_what_a_killed_process_left_in_its_staging_directory_is_removed(tmp_path):
    with staging_directory(tmp_path / "quantize.json") as left:
        pass
    left.mkdir()
    (left / "half").touch()
    with staging_directory(tmp_path / "quantize.json") as directory:
        assert list(directory.iterdir()) == []
    assert list(tmp_path.iterdir()) == []
