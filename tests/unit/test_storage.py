"""Full file systems by what programs told; that writing tells the same is tested by workflows."""

import errno
import os

import pytest

from bitsweep.storage import shortage, try_writing


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_shortage_that_was_told_of_is_one_even_where_there_is_room_again(tmp_path, number):
    told = f"ld: final link failed: {os.strerror(number)}\ncollect2: error"
    sentence = shortage([tmp_path / "removed" / "since"], told)
    assert sentence.startswith(f"{os.strerror(number)}: /")
    assert sentence.endswith(" is full; make room and run again")
    assert "removed" not in sentence


def test_other_errors_are_none(tmp_path):
    assert shortage([tmp_path], "ld: cannot find -lc") is None


def test_trying_leaves_nothing(tmp_path):
    try_writing(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_written_to_says_why():
    with pytest.raises(OSError):
        try_writing("/proc")
