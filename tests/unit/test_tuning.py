"""Operators take turns at being tuned, and what was measured before counts."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsweep.engines import tuning
from bitsweep.errors import UserError


@dataclass
class Search:
    """An operator with so many candidates, which notes how it is asked."""

    candidates: int
    tried: int = 0
    asked: list[int] = field(default_factory=list)

    def measure(self, count):
        self.asked.append(count)
        self.tried = min(self.tried + count, max(self.candidates, self.tried))


@given(
    before=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=6),
    trials=st.integers(1, 40),
)
def test_every_operator_is_tried_as_often_as_told_or_until_none_is_left(before, trials):
    searches = [Search(candidates, min(tried, candidates)) for candidates, tried in before]
    already = [search.tried for search in searches]
    tuning.take_turns(searches, trials, seconds=60)
    for search, tried in zip(searches, already, strict=True):
        assert search.tried == max(tried, min(trials, search.candidates))
        assert sum(search.asked) <= max(0, trials - tried) or search.candidates < trials


def test_operators_take_turns():
    """So that time that runs out is missing from all of them alike."""
    first, second = Search(99), Search(99)
    asked = []
    first.measure = lambda count: asked.append("first") or Search.measure(first, count)
    second.measure = lambda count: asked.append("second") or Search.measure(second, count)
    tuning.take_turns([first, second], 20, seconds=60)
    assert asked == ["first", "second"] * 3


def test_nothing_begins_after_the_time():
    search = Search(99)
    tuning.take_turns([search], 20, seconds=-1)
    assert search.asked == []


def test_half_a_line_is_no_record(tmp_path):
    log = tmp_path / "folder" / "log"
    assert tuning.read(log) == []
    log.write_text('{"a": 1}\n{"a": 2}\n{"a"', encoding="utf-8")
    assert tuning.read(log) == [{"a": 1}, {"a": 2}]
    assert log.read_text() == '{"a": 1}\n{"a": 2}\n'


def test_what_is_no_log_is_refused_in_a_sentence(tmp_path):
    log = tmp_path / "log"
    log.write_text("no log\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"log is no log of tuning .*; delete it$"):
        tuning.read(log)
    assert log.read_text() == "no log\n"


def test_a_log_of_another_network_is_refused_in_a_sentence(tmp_path):
    log = tmp_path / "log"
    tuning.require_own(log, [], {"a"})
    tuning.require_own(log, ["b", "a"], {"a"})
    with pytest.raises(UserError, match=r"none of its 2 records, such as b, is .*; delete it$"):
        tuning.require_own(log, ["b", "c"], {"a"})
