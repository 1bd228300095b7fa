"""Plans: what a file may say, and what is said of one that says something else."""

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bitsweep.relax import plan

SCHEMA = json.loads((Path(__file__).parents[3] / "config/plan.schema.json").read_text())
BITS = st.integers(1, 8)
LAYER_BITS = st.dictionaries(st.text(), st.tuples(BITS, BITS))


def written(folder, contents) -> Path:
    path = folder / "plan.json"
    path.write_text(contents if isinstance(contents, str) else json.dumps(contents))
    return path


@given(LAYER_BITS)
def test_a_plan_survives_its_file_in_the_order_of_its_layers(tmp_path_factory, layer_bits):
    path, again = (tmp_path_factory.mktemp("plan") / name for name in ("a.json", "b.json"))
    plan.write(path, layer_bits)
    jsonschema.validate(json.loads(path.read_text()), SCHEMA)
    assert list(plan.read(path).items()) == list(layer_bits.items())
    plan.write(again, plan.read(path))
    assert again.read_bytes() == path.read_bytes()


def nearly(good):
    """Mostly what is good, now and then what is not."""
    return st.one_of(good, good, good, st.sampled_from([0, 9, -1, 2.5, "8", None, True, [], {}]))


LAYER = st.fixed_dictionaries(
    {"weight_bits": nearly(BITS), "input_bits": nearly(BITS)}, optional={"bits": BITS}
)


@example({"layers": {"a\nb": 0}})
@given(nearly(st.fixed_dictionaries({"layers": nearly(st.dictionaries(st.text(), nearly(LAYER)))})))
def test_what_the_schema_allows_is_what_is_read(tmp_path_factory, contents):
    path = written(tmp_path_factory.mktemp("plan"), contents)
    if jsonschema.Draft202012Validator(SCHEMA).is_valid(contents):
        assert list(plan.read(path)) == list(contents["layers"])
    else:
        with pytest.raises(ValueError, match=r"plan\.json: (it|a plan)") as error:
            plan.read(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        ("{", "it is no JSON: Expecting property name"),
        ([], r"a plan = \[\]: an object with layers is wanted"),
        ({}, "a plan has no layers"),
        ({"layer": {}}, "a plan has the key 'layer'; allowed: layers; did you mean layers?"),
        ({"layers": {"fc": 8}}, "its layers.fc = 8: an object with weight_bits and input_bits is"),
        ({"layers": {"fc": {"weight_bits": 8}}}, "its layers.fc has no input_bits"),
        (
            {"layers": {"fc": {"weight_bits": 9, "input_bits": 8}}},
            "its layers.fc.weight_bits = 9: allowed are 1 to 8",
        ),
        ('{"layers": {}, "layers": {}}', "it has 'layers' twice"),
    ],
)
def test_what_is_no_plan_is_said_in_a_sentence(tmp_path, contents, said):
    with pytest.raises(ValueError, match=said):
        plan.read(written(tmp_path, contents))
