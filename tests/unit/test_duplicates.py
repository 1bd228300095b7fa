import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bitsweep import duplicates
from bitsweep.errors import UserError

KEYS = st.text("abc", min_size=1, max_size=2)
SECTIONS = st.recursive(
    st.integers(0, 9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(SECTIONS)
def test_what_yaml_writes_has_no_key_twice(tmp_path_factory, section):
    path = tmp_path_factory.getbasetemp() / "config.yaml"
    path.write_text(yaml.safe_dump(section))
    duplicates.refuse([path])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: 1\nb: {a: 1}\n",
        "x: &x {a: 1}\ny: &y {b: 1}\nz: {<<: *x, <<: *y, a: 2}\n",
        "1: a\n'1': b",
        '{\t"a": 1}',
    ],
)
def test_other_keys_are_let_through(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    duplicates.refuse([tmp_path / "config.yaml"])


def test_every_key_that_is_there_twice_is_named_with_its_lines(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.json"
    first.write_text("a:\n  b: 1\n  c: [{d: 2, e: 3,\n    d: 4}]\na: 5\n")
    second.write_text('{"x": 1,\n"x": 2}')
    with pytest.raises(UserError) as caught:
        duplicates.refuse([first, second])
    assert str(caught.value) == (
        f"config: {first}, line 4: a.c.0.d is there already, in line 3; "
        f"{first}, line 5: a is there already, in line 1; "
        f"{second}, line 2: x is there already, in line 1"
    )
