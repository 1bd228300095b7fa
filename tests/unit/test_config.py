import copy
import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from snakemake.utils import update_config

from bitsweep import config
from bitsweep.engines.relay import settings as relay_settings
from bitsweep.errors import UserError
from bitsweep.outcome import Experiment
from bitsweep.relax import plan
from bitsweep.relax.config import PRESETS, QConfig

FOLDER = Path(__file__).parents[2] / "config"
SHIPPED = sorted(FOLDER.glob("*.yaml"))


def shipped(path=FOLDER / "config.yaml"):
    """A shipped config as Snakemake sees it: laid over the default one."""
    raw = yaml.safe_load((FOLDER / "config.yaml").read_text())
    update_config(raw, yaml.safe_load(path.read_text()))
    return raw


def edited(edit):
    raw = copy.deepcopy(shipped())
    edit(raw)
    return raw


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configs_are_valid_and_agree_with_the_schema(path):
    schema = json.loads((FOLDER / "schema.json").read_text())
    jsonschema.validate(shipped(path), schema)
    config.load(shipped(path))


def test_the_schema_file_is_that_of_the_code():
    assert (FOLDER / "schema.json").read_text() == config.schema()


def test_the_default_config_spells_out_the_defaults():
    """Who reads config.yaml must not be misled about what a left-out key would mean."""
    raw = shipped()
    left_out = {k: v for k, v in raw.items() if k not in ("benchmark", "limits", "targets")}
    assert config.load(raw) == config.load(left_out)


def test_experiments_are_every_combination_in_order():
    loaded = config.load(shipped())
    assert loaded.experiments[0] == Experiment(
        model="resnet50", engine="relay", target="cpu", precision="float32"
    )
    of_an_engine = {
        engine: [
            e.precision for e in loaded.experiments if (e.model, e.engine) == ("digits", engine)
        ]
        for engine in loaded.sweep.engines
    }
    assert of_an_engine == {
        engine: [
            name
            for name in loaded.sweep.precisions
            if name == "float32" or engine in loaded.precisions[name].engines
        ]
        for engine in ("relay", "relax", "onnxruntime", "openvino")
    }
    count = sum(map(len, of_an_engine.values()))  # of the last model, which has all precisions
    assert {e.model for e in loaded.experiments[-count:]} == {"digits"}
    assert "digits" not in {e.model for e in loaded.experiments[:-count]}


def test_a_model_may_have_fewer_precisions_than_the_sweep():
    loaded = config.load(edited(lambda raw: raw["models"]["digits"].update(precisions=["w2a8"])))
    assert [(e.engine, e.precision) for e in loaded.experiments if e.model == "digits"] == [
        ("relay", "float32"),
        ("relax", "float32"),
        ("relax", "w2a8"),
        ("onnxruntime", "float32"),
        ("openvino", "float32"),
    ]
    other = config.load(edited(lambda raw: raw["models"]["digits"].update(precisions=["int8"])))
    swept = {(e.model, e.precision) for each in (loaded, other) for e in each.sensitivities}
    assert swept == {("resnet50_digits", "w2a8"), ("digits", "w2a8")}
    assert ("digits", "w2a8") not in {(e.model, e.precision) for e in other.sensitivities}


def test_weights_that_are_made_are_where_the_rule_leaves_them():
    """Named or not, and also where the section is laid over a model without it."""
    for more in ({}, {"weights": "results/digits/weights.pt"}):
        loaded = config.load(edited(lambda raw, more=more: raw["models"]["digits"].update(more)))
        assert loaded.models["digits"].weights == "results/digits/weights.pt"
    loaded = config.load(edited(lambda raw: raw["models"]["digits"].update(train=None)))
    assert loaded.models["digits"].weights == "seeded"


def test_an_engine_has_the_precisions_that_it_has_a_section_for():
    loaded = config.load(shipped())
    assert loaded.precisions["int8"].engines == (
        *("onnxruntime", "openvino", "relax", "relay", "torch"),
    )
    assert loaded.precisions["w4a8"].engines == ("relax",)
    assert loaded.precisions["int4_in_int8"].engines == ("relay",)


@pytest.mark.parametrize(
    ("engine", "precision", "bits"),
    [
        ("relay", "float32", (32, 32)),
        ("relay", "int4", (4, 4)),
        ("relax", "int4", (4, 4)),
        ("relax", "w1a8", (1, 8)),
        ("relax", "bfloat16", (16, 16)),
        ("relay", "apart", (4, 8)),
        ("openvino", "bfloat16", (16, 16)),
        ("onnxruntime", "float16", (16, 16)),
        ("torch", "int8", (8, 8)),
        ("torch", "int4", (4, 4)),
        ("torch", "bfloat16", (16, 16)),
        ("torch", "compiled", (32, 32)),
    ],
)
def test_bits_are_those_of_the_engines_section(engine, precision, bits):
    apart = {name: {"bits": b, "storage": "int8"} for name, b in (("weight", 4), ("input", 8))}
    raw = edited(lambda raw: raw["precisions"].update(apart={"relay": apart}))
    experiment = Experiment(model="digits", engine=engine, target="cpu", precision=precision)
    assert config.load(raw).bits(experiment) == bits


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_its_settings(preset):
    raw = edited(lambda raw: raw["precisions"].update(x={"relax": {"preset": preset}}))
    settings = config.load(raw).precisions["x"].relax.settings()
    assert QConfig(**settings | {"skip_layers": ()}) == PRESETS[preset]
    assert json.loads(json.dumps(settings)) == settings


def test_what_stands_beside_a_preset_comes_before_it():
    section = {"preset": "w4a8", "activation_bits": 6, "skip_layers": ["stem"]}
    raw = edited(lambda raw: raw["precisions"].update(x={"relax": section}))
    settings = config.load(raw).precisions["x"].relax.settings()
    assert (settings["weight_bits"], settings["activation_bits"]) == (4, 6)
    assert settings["skip_layers"] == ["stem"]


def test_bits_of_layers_come_from_a_plan_and_before_it(tmp_path):
    path = tmp_path / "plan.json"
    plan.write(path, {"stem": (8, 8), "fc": (4, 8)})
    section = {"plan": str(path), "layer_bits": {"fc": {"weight_bits": 2, "input_bits": 6}}}
    raw = edited(lambda raw: raw["precisions"].update(x={"relax": section}))
    jsonschema.validate(raw, json.loads(config.schema()))
    settings = config.load(raw).precisions["x"].relax.settings()
    assert settings["layer_bits"] == {"stem": [8, 8], "fc": [2, 6]}
    assert QConfig(**settings).layer_bits == {"stem": (8, 8), "fc": (2, 6)}


def test_a_plan_that_is_none_is_said_with_its_key(tmp_path):
    path = tmp_path / "plan.json"
    raw = edited(lambda raw: raw["precisions"].update(x={"relax": {"plan": str(path)}}))
    key = f"precisions.x.relax.plan = '{path}': "
    with pytest.raises(UserError, match=f"^config: {key}it cannot be read: No such file"):
        config.load(raw)
    plan.write(path, {"fc": (9, 8)})
    with pytest.raises(UserError, match=rf"^config: {key}its layers\.fc\.weight_bits = 9: allowed"):
        config.load(raw)


def searching(**goals):
    sections = {name: {"relax": {"search": goal}} for name, goal in goals.items()}
    return edited(
        lambda raw: (
            raw["precisions"].update(sections),
            raw["sweep"].update(precisions=["float32", "w4a8", *sections]),
        )
    )


def test_an_experiment_goes_through_the_stages_of_its_precision():
    raw = searching(
        small={"minimise": "bytes", "tolerance": 0.5},
        fast={"minimise": "error", "latency_ms": 1.5},
    )
    jsonschema.validate(raw, json.loads(config.schema()))
    loaded = config.load(raw)

    def between(precision):
        experiment = Experiment(model="digits", engine="relax", target="cpu", precision=precision)
        stages = loaded.stages(experiment)
        return stages[stages.index("import") + 1 : stages.index("quantize")]

    assert between("float32") == ()
    assert between("w4a8") == ("calibrate",)
    assert between("small") == ("calibrate", "costs", "frontier", "search")
    assert between("fast") == ("calibrate", "costs", "time_layers", "frontier", "search")
    assert {e.precision for e in loaded.searches} == {"small", "fast"}


TUNED = {"tuning": {"by": "autotvm", "trials": 2}}


def tuning(engines=("relay", "onnxruntime"), targets=("cpu", "tuned"), **more):
    sweep = {"engines": list(engines), "targets": list(targets), "precisions": ["float32"]}
    return edited(
        lambda raw: (raw["targets"].update(tuned=TUNED, **more), raw["sweep"].update(sweep))
    )


def test_only_what_an_engine_can_tune_for_is_swept():
    loaded = config.load(tuning())
    of_digits = [e for e in loaded.experiments if e.model == "digits"]
    assert [(e.engine, e.target) for e in of_digits] == [
        *(("relay", "cpu"), ("relay", "tuned"), ("onnxruntime", "cpu"))
    ]
    stages = [loaded.stages(e) for e in of_digits]
    assert ["tune" in own for own in stages] == [False, True, False]
    tuned = stages[1]
    assert tuned.index("quantize") + 1 == tuned.index("tune") == tuned.index("compile") - 1


def test_what_is_tuned_is_beside_the_same_target_without_tuning():
    other = {"old": {"cpu": "x86-64"}, "older": {"cpu": "x86-64", **TUNED}}
    loaded = config.load(tuning(targets=["tuned", "cpu", "old", "older"], **other))
    assert {name: loaded.untuned(name) for name in loaded.sweep.targets} == {
        **{"cpu": None, "tuned": "cpu", "old": None, "older": "old"}
    }
    assert config.load(tuning(["relay"], ["tuned"])).untuned("tuned") is None


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (tuning(x={"tuning": {"by": "autotvm", "trials": 0}}), "trials = 0: allowed is 1 or more"),
        (tuning(x={"tuning": {"by": "autotvm", "seconds": 0}}), "seconds = 0: allowed is more"),
        (tuning(x={"tuning": {"by": "auto_tvm"}}), "did you mean autotvm"),
        (
            tuning(["openvino"]),
            "targets.tuned.tuning.by = 'autotvm' is there in relay only, and the engines of the "
            "sweep are openvino",
        ),
        (
            tuning(targets=["tuned"]),
            "sweep.engines = 'onnxruntime' can tune for none of the targets of the sweep: tuned",
        ),
    ],
)
def test_tuning_that_cannot_be_is_refused(raw, sentence):
    with pytest.raises(UserError, match=r"^config: ") as error:
        config.load(raw)
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("section", "bits"),
    [
        ({"search": {"minimise": "bytes", "tolerance": 0.5}}, (None, 8)),
        ({"layer_bits": {"fc": {"weight_bits": 2, "input_bits": 8}}}, (None, 8)),
        ({"layer_bits": {"fc": {"weight_bits": 8, "input_bits": 4}}}, (8, None)),
        ({"layer_bits": {"fc": {"weight_bits": 8, "input_bits": 8}}}, (8, 8)),
    ],
)
def test_bits_that_differ_by_layer_are_none(section, bits):
    raw = edited(lambda raw: raw["precisions"].update(x={"relax": section}))
    experiment = Experiment(model="digits", engine="relax", target="cpu", precision="x")
    assert config.load(raw).bits(experiment) == bits


@given(
    bits=st.integers(-40, 40), storage=st.sampled_from([*relay_settings.STORAGE_BITS, "int3", ""])
)
def test_bits_must_be_positive_and_fit_their_storage(bits, storage):
    section = {"relay": {"bits": bits, "storage": storage}}
    raw = edited(lambda raw: raw["precisions"].update(x=section))
    if 1 <= bits <= relay_settings.STORAGE_BITS.get(storage, 0):
        loaded = config.load(raw).precisions["x"].relay
        assert loaded.input == loaded.weight == relay_settings.Number(bits=bits, storage=storage)
    else:
        with pytest.raises(UserError, match=r"precisions\.x"):
            config.load(raw)


# What is wrong, and what the sentence must name: the key, the value, what is allowed.
MISTAKES = {
    "unknown precision": (
        lambda raw: raw["sweep"].update(precisions=["int3"]),
        ["sweep.precisions", "'int3'", "float32, int8, w4a8"],
    ),
    "unknown engine": (
        lambda raw: raw["sweep"].update(engines=["relex"]),
        [
            "sweep.engines",
            "'relex'",
            "onnxruntime, openvino, relax, relay, torch",
            "did you mean relax?",
        ],
    ),
    "unknown model": (
        lambda raw: raw["sweep"].update(models=["resnet5"]),
        [
            "sweep.models",
            "'resnet5'",
            "resnet50, resnet50_digits, digits",
            "did you mean resnet50?",
        ],
    ),
    "unknown target": (
        lambda raw: raw["sweep"].update(targets=["gpu"]),
        ["sweep.targets", "'gpu'", "cpu"],
    ),
    "nothing swept": (lambda raw: raw["sweep"].update(models=[]), ["sweep.models", "at least 1"]),
    "swept twice": (
        lambda raw: raw["sweep"].update(models=["digits", "digits"]),
        ["sweep.models", "twice"],
    ),
    "mistyped section": (
        lambda raw: raw.update(benchmrk={}),
        ["benchmrk is not a known key", "did you mean benchmark?"],
    ),
    "mistyped key": (
        lambda raw: raw["benchmark"].update(repeets=3),
        ["benchmark.repeets is not a known key", "processes, inputs, runs, warmup, budget_seconds"],
    ),
    "mistyped key of a precision": (
        lambda raw: raw["precisions"]["int8"]["relay"].update(bitz=8),
        ["precisions.int8.relay.bitz is not a known key", "did you mean bits?"],
    ),
    "mistyped key of a precision in relax": (
        lambda raw: raw["precisions"]["w4a8"]["relax"].update(skip_layer=["a"]),
        ["precisions.w4a8.relax.skip_layer is not a known key", "did you mean skip_layers?"],
    ),
    "mistyped engine of a precision": (
        lambda raw: raw["precisions"].update(x={"relex": {}}),
        [
            "precisions.x.relex is not a known key",
            "allowed: onnxruntime, openvino, relax, relay, torch",
            "did you mean relax?",
        ],
    ),
    "precision of no engine": (
        lambda raw: raw["precisions"].update(x={}),
        [
            "precisions.x",
            "give a section for an engine: onnxruntime, openvino, relax, relay, torch",
        ],
    ),
    "engine without a precision of the sweep": (
        lambda raw: raw["sweep"].update(precisions=["int4_in_int8", "int2_in_int8"]),
        ["sweep.engines = 'relax' has none of", "int4_in_int8, int2_in_int8"],
    ),
    "precision without an engine of the sweep": (
        lambda raw: raw["sweep"].update(engines=["relay"]),
        ["sweep.precisions = 'w4a8' has a section for relax only", "of the sweep are relay"],
    ),
    "floats of PyTorch's, quantized": (
        lambda raw: raw["precisions"].update(
            x={"torch": {"floats": "bfloat16", "observer": "minmax"}}
        ),
        ["precisions.x.torch", "floats are not quantized, so that observer cannot be given too"],
    ),
    "inductor without floats": (
        lambda raw: raw["precisions"].update(x={"torch": {"compiler": "inductor"}}),
        ["precisions.x.torch", "inductor compiles floats: give floats, such as float32"],
    ),
    "unknown preset": (
        lambda raw: raw["precisions"]["w4a8"]["relax"].update(preset="w5a8"),
        ["precisions.w4a8.relax.preset = 'w5a8'", "'w8a8', 'w4a8'"],
    ),
    "a search with a preset": (
        lambda raw: raw["precisions"]["w4a8"]["relax"].update(
            search={"minimise": "bytes", "tolerance": 1}
        ),
        ["precisions.w4a8.relax", "a search chooses the bits", "preset cannot be given beside it"],
    ),
    "a search for bytes without a tolerance": (
        lambda raw: raw["precisions"].update(x={"relax": {"search": {"minimise": "bytes"}}}),
        ["precisions.x.relax.search", "to minimise bytes, give the tolerance, in points of top-1"],
    ),
    "a search for error without a budget": (
        lambda raw: raw["precisions"].update(
            x={"relax": {"search": {"minimise": "error", "tolerance": 1}}}
        ),
        ["precisions.x.relax.search", "to minimise error, give bytes or latency_ms"],
    ),
    "a search for what there is not": (
        lambda raw: raw["precisions"].update(x={"relax": {"search": {"minimise": "size"}}}),
        ["precisions.x.relax.search.minimise = 'size': allowed are 'bytes', 'latency' or 'error'"],
    ),
    "the sensitivity of a search": (
        lambda raw: (
            raw["precisions"].update(
                x={"relax": {"search": {"minimise": "bytes", "tolerance": 1}}}
            ),
            raw["sensitivity"].update(precisions=["x"]),
        ),
        ["sensitivity.precisions = 'x' is unknown; allowed: "],
    ),
    "nine bits of a layer": (
        lambda raw: raw["precisions"]["w4a8"]["relax"].update(
            layer_bits={"fc": {"weight_bits": 9, "input_bits": 8}}
        ),
        ["precisions.w4a8.relax.layer_bits.fc.weight_bits = 9: allowed is 8 or less"],
    ),
    "bits of a skipped layer": (
        lambda raw: raw["precisions"]["w4a8"]["relax"].update(
            layer_bits={"fc": {"weight_bits": 2, "input_bits": 8}}, skip_layers=["fc"]
        ),
        ["precisions.w4a8.relax.layer_bits.fc = (2, 8): skip_layers has that layer, which stays"],
    ),
    "a plan that is a section": (
        lambda raw: raw["precisions"]["w4a8"]["relax"].update(plan={"layers": {}}),
        ["precisions.w4a8.relax.plan = {'layers': {}}: the path of a plan is wanted"],
    ),
    "nine bits in relax": (
        lambda raw: raw["precisions"]["w4a8"]["relax"].update(weight_bits=9),
        ["precisions.w4a8.relax.weight_bits = 9: allowed are 1 to 8"],
    ),
    "unknown rounding": (
        lambda raw: raw["precisions"]["w4a8"]["relax"].update(rounding="up"),
        ["precisions.w4a8.relax.rounding = 'up'", "'nearest', 'gptq' or 'binary'"],
    ),
    "no storage": (
        lambda raw: raw["precisions"].update(x={"relay": {"bits": 4}}),
        ["precisions.x.relay.bits = 4: give a storage that holds them: int4, uint4, int8"],
    ),
    "nine bits in relay": (
        lambda raw: raw["precisions"].update(x={"relay": {"bits": 9}}),
        ["precisions.x.relay.bits = 9: give a storage that holds them: int16, uint16, int32"],
    ),
    "too many bits in relay": (
        lambda raw: raw["precisions"].update(x={"relay": {"bits": 33}}),
        ["precisions.x.relay.bits = 33: allowed are 1 to 32, and a storage that holds them"],
    ),
    "storage without bits": (
        lambda raw: raw["precisions"].update(x={"relay": {"storage": "int8"}}),
        ["precisions.x.relay", "give bits and storage"],
    ),
    "floats and integers": (
        lambda raw: raw["precisions"]["int8"]["relay"].update(floats="float16"),
        [
            "precisions.int8.relay",
            "floats are not quantized, so that bits, storage cannot be given",
        ],
    ),
    "floats and NNCF's settings": (
        lambda raw: raw["precisions"]["int8"]["openvino"].update(floats="float16", weight_bits=8),
        [
            "precisions.int8.openvino",
            "floats are not quantized, so that weight_bits cannot be given",
        ],
    ),
    "floats and a preset": (
        lambda raw: raw["precisions"]["int8"]["relax"].update(floats="bfloat16"),
        [
            "precisions.int8.relax",
            "floats are not quantized, so that preset cannot be given",
        ],
    ),
    "floats that Relax does not multiply": (
        lambda raw: raw["precisions"].update(x={"relax": {"floats": "float16"}}),
        ["precisions.x.relax.floats = 'float16'", "'bfloat16'"],
    ),
    "floats that a search is to have": (
        lambda raw: raw["search"].update(settings={"floats": "bfloat16"}),
        ["search.settings", "floats is what a search chooses; allowed: skip_layers"],
    ),
    "layers of floats quantized one at a time": (
        lambda raw: raw["sensitivity"].update(precisions=["bfloat16"]),
        ["sensitivity.precisions = 'bfloat16' is unknown"],
    ),
    "floats that ONNX Runtime does not convert to": (
        lambda raw: raw["precisions"]["int8"]["onnxruntime"].update(floats="bfloat16"),
        ["precisions.int8.onnxruntime.floats = 'bfloat16'", "'float16'"],
    ),
    "floats of a type that TVM does not convert to": (
        lambda raw: raw["precisions"].update(x={"relay": {"floats": "float8"}}),
        ["precisions.x.relay.floats = 'float8'", "'bfloat16' or 'float16'"],
    ),
    "layers that are no list": (
        lambda raw: raw["precisions"]["w4a8"]["relax"].update(skip_layers="fc"),
        ["precisions.w4a8.relax.skip_layers = 'fc': a list of layer names is wanted"],
    ),
    "a list for a number": (
        lambda raw: raw["benchmark"].update(runs=[3]),
        ["benchmark.runs = [3]: a whole number is wanted"],
    ),
    "a text for a list": (
        lambda raw: raw["sweep"].update(models="digits"),
        ["sweep.models = 'digits': a list is wanted"],
    ),
    "a half": (
        lambda raw: raw["benchmark"].update(runs=2.5),
        ["benchmark.runs = 2.5: a whole number is wanted"],
    ),
    "a text for a number": (
        lambda raw: raw["benchmark"].update(budget_seconds="long"),
        ["benchmark.budget_seconds = 'long': a number is wanted"],
    ),
    "a number for a section": (
        lambda raw: raw["models"].update(digits=3),
        ["models.digits = 3: a section with keys of its own is wanted"],
    ),
    "no section": (
        lambda raw: raw.update(limits=None),
        ["limits = None: a section with keys of its own is wanted"],
    ),
    "a number for a text": (
        lambda raw: raw["models"]["digits"].update(factory=3),
        ["models.digits.factory = 3: a text is wanted"],
    ),
    "zero bits": (
        lambda raw: raw["precisions"]["int8"]["relay"].update(bits=0),
        ["precisions.int8.relay.bits = 0", "allowed is 1 or more"],
    ),
    "negative bits": (
        lambda raw: raw["precisions"]["int8"]["relay"].update(bits=-4),
        ["precisions.int8.relay.bits = -4"],
    ),
    "wider than storage": (
        lambda raw: raw["precisions"]["int4"]["relay"].update(bits=5),
        ["precisions.int4.relay", "5 bits do not fit into int4"],
    ),
    "unknown calibration": (
        lambda raw: raw["precisions"]["int8"]["relay"].update(calibrate_mode="best"),
        ["precisions.int8.relay.calibrate_mode = 'best'", "'percentile' or 'kl_divergence'"],
    ),
    "baseline redefined": (
        lambda raw: raw["precisions"].update(float32={"relay": {"bits": 8, "storage": "int8"}}),
        ["precisions.float32 is the unquantized baseline"],
    ),
    "name that is a path": (
        lambda raw: raw["precisions"].update({"../x": {"relax": {}}}),
        ["precisions.../x", "a name has letters, digits"],
    ),
    "name of our folders": (
        lambda raw: raw["models"].update(tables={"factory": "resnet18"}),
        ["models.tables", "are folders of the results"],
    ),
    "name of the folder of the machine": (
        lambda raw: raw["models"].update(machine={"factory": "resnet18"}),
        ["models.machine", "are folders of the results"],
    ),
    "shell in a target": (
        lambda raw: raw["targets"]["cpu"].update(cpu="x; rm -r ."),
        ["targets.cpu.cpu = 'x; rm -r .'"],
    ),
    "bad shape": (
        lambda raw: raw["models"]["digits"].update(input_shape=[1, 0, 8]),
        ["models.digits.input_shape.1 = 0"],
    ),
    "expectation of nothing": (
        lambda raw: raw["expect"].append({"precision": "int5", "outcome": "ok"}),
        ["expect.5.precision", "'int5'"],
    ),
    "expectation of no stage": (
        lambda raw: raw["expect"].append({"outcome": "failed@compiling"}),
        ["expect.5.outcome = 'failed@compiling'", "import|calibrate|costs"],
    ),
    "true for a number": (
        lambda raw: raw["benchmark"].update(runs=True),
        ["benchmark.runs = True: a number is wanted, not true or false"],
    ),
    "true for a number that need not be whole": (
        lambda raw: raw["benchmark"].update(budget_seconds=True),
        ["benchmark.budget_seconds = True: a number is wanted, not true or false"],
    ),
    "true in a shape": (
        lambda raw: raw["models"]["digits"].update(input_shape=[True, 8, 8]),
        ["models.digits.input_shape.0 = True: a number is wanted, not true or false"],
    ),
    "true for bits in relay": (
        lambda raw: raw["precisions"]["int8"]["relay"].update(bits=True),
        ["precisions.int8.relay.bits = True: a number is wanted, not true or false"],
    ),
    "true for bits in relax": (
        lambda raw: raw["precisions"]["w4a8"]["relax"].update(weight_bits=True),
        ["precisions.w4a8.relax.weight_bits = True: a number is wanted, not true or false"],
    ),
    "true for a choice in relax": (
        lambda raw: raw["precisions"]["w4a8"]["relax"].update(rounding=True),
        ["precisions.w4a8.relax.rounding = True: allowed are 'nearest', 'gptq' or 'binary'"],
    ),
    "true for cores": (
        lambda raw: raw["targets"]["cpu"].update(cores=True),
        ["config: targets.cpu.cores = True: a number is wanted, from 1 on, or native"],
    ),
    "no cores": (
        lambda raw: raw["targets"]["cpu"].update(cores=0),
        ["config: targets.cpu.cores = 0: a number is wanted, from 1 on, or native"],
    ),
    "mistyped operator": (
        lambda raw: raw["precisions"]["int8"]["relay"].update(debug_enabled_ops=["nn.conv2"]),
        [
            "precisions.int8.relay.debug_enabled_ops.0 = 'nn.conv2': allowed are ",
            "'nn.conv2d', 'nn.conv1d', 'nn.dense'",
            "; did you mean nn.conv2d?",
        ],
    ),
    "inputs that a round would never end with": (
        lambda raw: raw["benchmark"].update(inputs=10**6),
        ["benchmark.inputs = 1000000: allowed is 1000 or less"],
    ),
    "a width searched twice": (
        lambda raw: raw.update(search={"input_bits": [8, 4, 8]}),
        ["config: search.input_bits = [8, 4, 8]: one is there twice"],
    ),
    "nothing to search among": (
        lambda raw: raw.update(search={"weight_bits": []}),
        ["config: search.weight_bits = []: at least 1 is wanted"],
    ),
    "bits that a search chooses": (
        lambda raw: raw.update(search={"settings": {"preset": "w4a8"}}),
        ["search.settings", "preset is what a search chooses", "allowed: skip_layers, weight_gran"],
    ),
    "a rounding for one bit in a search": (
        lambda raw: raw.update(search={"settings": {"rounding": "binary"}}),
        ["search.settings.rounding = 'binary' is for weight_bits = 1"],
    ),
    "mistyped setting of a search": (
        lambda raw: raw.update(search={"settings": {"skip_layer": ["fc"]}}),
        ["search.settings.skip_layer is not a known key", "did you mean skip_layers?"],
    ),
    "a model's precision that is not there": (
        lambda raw: raw["models"]["digits"].update(precisions=["w4a9"]),
        ["config: models.digits.precisions = 'w4a9' is unknown; ", "did you mean w4a8?"],
    ),
    "a model without a precision of the sweep": (
        lambda raw: (
            raw["sweep"].update(precisions=["int8"]),
            raw["models"]["digits"].update(precisions=["int4", "int2"]),
        ),
        [
            "config: models.digits.precisions = ['int4', 'int2'] has none of the precisions of the "
            "sweep: int8",
        ],
    ),
    "weights that are made and named": (
        lambda raw: raw["models"]["digits"].update(weights="mine.pt"),
        [
            "config: models.digits.weights = 'mine.pt': train makes results/digits/weights.pt; ",
            "leave weights out, or set train to null",
        ],
    ),
    "nothing to learn": (
        lambda raw: raw["models"]["resnet50"].update(train={"epochs": 1}),
        [
            "config: models.resnet50.data = 'photos' has no labels to train on; ",
            "allowed are digits, or a folder with a folder of images per class",
        ],
    ),
    "a batch of one": (
        lambda raw: raw["models"]["digits"].update(train={"epochs": 1, "batch": 1}),
        ["config: models.digits.train.batch = 1: allowed is 2 or more"],
    ),
    "missing sweep": (lambda raw: raw.pop("sweep"), ["sweep is missing"]),
    "not a number": (
        lambda raw: raw["benchmark"].update(budget_seconds=float("nan")),
        ["benchmark.budget_seconds"],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_in_one_line(mistake):
    edit, said = MISTAKES[mistake]
    with pytest.raises(UserError) as caught:
        config.load(edited(edit))
    sentence = str(caught.value)
    assert "\n" not in sentence
    for part in said:
        assert part in sentence


def test_what_a_search_looks_at_is_settled_and_safe_in_json():
    search = config.load(edited(lambda raw: raw.update(search={"weight_bits": [2, 8]}))).search
    told = search.model_dump(mode="json")
    assert (told["weight_bits"], told["input_bits"], told["images"]) == ([2, 8], [8], 32)
    assert QConfig(**{**told["settings"], "skip_layers": ()}) == QConfig()
    assert json.loads(json.dumps(told)) == told


def test_numbers_may_be_texts_as_snakemakes_command_line_gives_them():
    def edit(raw):
        raw["benchmark"].update(runs="3", budget_seconds="1e1")
        raw["targets"]["cpu"].update(cores="2")

    loaded = config.load(edited(edit))
    assert (loaded.benchmark.runs, loaded.benchmark.budget_seconds) == (3, 10.0)
    assert loaded.targets["cpu"].cores == 2


def test_one_width_that_is_none_is_one_mistake():
    with pytest.raises(UserError) as caught:
        config.load(edited(lambda raw: raw.update(search={"weight_bits": [9]})))
    assert str(caught.value) == "config: search.weight_bits.0 = 9: allowed is 8 or less"


def test_every_mistake_is_told_at_once():
    def edit(raw):
        raw["benchmark"]["runs"] = 0
        raw["limits"]["seconds"] = -1

    with pytest.raises(UserError, match=r"benchmark\.runs = 0.*; limits\.seconds = -1"):
        config.load(edited(edit))


def test_the_last_matching_expectation_holds():
    def edit(raw):
        raw["expect"] = [
            {"precision": "int*", "outcome": "failed@compile"},
            {"model": "digits", "precision": "int8", "outcome": "ok"},
        ]

    loaded = config.load(edited(edit))
    expected = {(e.model, e.precision): loaded.expected(e) for e in loaded.experiments}
    assert expected["resnet50", "int8"] == expected["digits", "int4"] == "failed@compile"
    assert expected["digits", "int8"] == expected["digits", "float32"] == "ok"
