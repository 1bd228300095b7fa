"""What runs again after each kind of change, and nothing else."""

import pytest
from PIL import Image

from bitsweep.outcome import STAGES
from tests.workflow.checkout import DIGITS

MODELS = ("digits", "wide")
PRECISIONS = {
    "relay": ("float32", "int8", "int4", "int2", "int1"),
    "relax": ("float32", "int8", "int4"),
}
STAGES_OF_AN_EXPERIMENT = ("quantize", *STAGES[STAGES.index("compile") :], "profile")
PROFILE_AT_THE_END = {"profile_table tables", "profile_table plots"}
AT_THE_END = {"aggregate tables", "plots plots"} | PROFILE_AT_THE_END
SENSITIVITY_AT_THE_END = {"sensitivity_table tables", "sensitivity_table plots"}
INT8 = "results/digits/relay/cpu/int8"


def experiments(
    models=MODELS,
    precisions=None,
    stages=STAGES_OF_AN_EXPERIMENT,
    target="cpu",
    engines=("relay", "relax"),
):
    return {
        f"{stage} {model}/{engine}/{target}/{precision}"
        for model in models
        for engine in engines
        for precision in precisions or PRECISIONS[engine]
        for stage in stages
    }


def sensitivities(models=MODELS, target="cpu"):
    return {f"sensitivity {m}/relax/{target}/int4" for m in models} | SENSITIVITY_AT_THE_END


def whole(model):
    imports = {
        f"{stage} {model}/{engine}" for stage in ("import", "calibrate") for engine in PRECISIONS
    }
    own = {f"trace {model}"} | imports | experiments([model])
    return own | sensitivities([model]) | AT_THE_END


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, set()),
        ({"limits": {"seconds": 999}}, set()),
        (
            {"precisions": {"int8": {"relay": {"bits": 7}}}},
            experiments(precisions=["int8"], engines=["relay"]) | AT_THE_END,
        ),
        (
            {"precisions": {"int4": {"relax": {"skip_layers": []}}}},
            set(),
        ),
        (
            {"precisions": {"int4": {"relax": {"percentile": 99.9}}}},
            experiments(precisions=["int4"], engines=["relax"]) | sensitivities() | AT_THE_END,
        ),
        ({"precisions": {"int4_in_int8": {"relay": {"bits": 3}}}}, set()),
        ({"sensitivity": {"images": 4}}, sensitivities()),
        ({"sensitivity": {"precisions": []}}, set()),
        ({"benchmark": {"runs": 9}}, experiments(stages=["benchmark"]) | AT_THE_END),
        ({"models": {"wide": {"seed": 1}}}, whole("wide")),
        ({"models": {"digits": {"seed": 1}}}, whole("digits")),
        ({"models": {"digits": {"train": {"seed": 1}}}}, {"train digits"} | whole("digits")),
        ({"models": {"digits": {"precisions": ["int8"]}}}, AT_THE_END | SENSITIVITY_AT_THE_END),
        ({"models": {"digits": {"images": 100}}}, whole("digits")),
        ({"models": {"digits": {"data": "random", "train": None}}}, whole("digits")),
        ({"models": {"digits": {"calibration_images": 9}}}, whole("digits")),
        (
            {"models": {"digits": {"selection_images": 9}}},  # on which each epoch is judged
            {"train digits"} | whole("digits"),
        ),
        ({"targets": {"cpu": {"cpu": "x86-64"}}}, experiments() | AT_THE_END),
        (DIGITS, AT_THE_END | SENSITIVITY_AT_THE_END),
        ({"sweep": {"precisions": ["float32", "int4", "int2", "int1"]}}, AT_THE_END),
        ({"sweep": {"engines": ["relay"]}}, AT_THE_END),
        (
            {"sweep": {"precisions": [*PRECISIONS["relay"], "int4_in_int8"]}},
            experiments(precisions=["int4_in_int8"], engines=["relay"]) | AT_THE_END,
        ),
        (
            {"targets": {"old": {"cpu": "x86-64"}}, "sweep": {"targets": ["cpu", "old"]}},
            experiments(target="old") | sensitivities(target="old") | AT_THE_END,
        ),
    ],
    ids=[
        "nothing",
        "limits",
        "bits of a precision in one engine",
        "a setting spelled out",
        "a setting in the other engine",
        "bits of a precision not swept",
        "images of the sensitivity",
        "no sensitivity",
        "benchmark",
        "seed of an untrained model",
        "seed of the digits",
        "seed of a training",
        "precisions of a model",
        "images",
        "data",
        "calibration images",
        "selection images",
        "target",
        "a model less",
        "a precision less",
        "an engine less",
        "a precision more",
        "a target more",
    ],
)
def test_a_changed_config_makes_stale_what_depends_on_it(finished, config, expected):
    assert finished.stale(config=config) == expected


def test_nothing_to_do_is_said(finished):
    assert "Nothing to be done" in finished.done("-n").output


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # The commands that the README gives.
        (
            ["--forcerun", f"{INT8}/quantize.json"],
            experiments(["digits"], ["int8"], engines=["relay"]) | AT_THE_END,
        ),
        (
            ["--forcerun", "evaluate"],
            experiments(stages=["evaluate"]) | AT_THE_END,
        ),
        (["--", "results/plots/latency.png"], set()),
    ],
    ids=["one precision", "one rule", "one plot"],
)
def test_a_part_runs_again_on_demand(finished, options, expected):
    assert finished.stale(*options) == expected


@pytest.mark.parametrize(
    ("deleted", "again"),
    [
        ("quantize.json", STAGES_OF_AN_EXPERIMENT),
        ("export.json", ("export", "benchmark", "evaluate", "inspect", "profile")),
        ("latency.json", ("benchmark",)),
    ],
)
def test_what_was_deleted_is_made_again_with_what_follows(finished, deleted, again):
    path = finished.path(f"{INT8}/{deleted}")
    aside = path.rename(path.with_suffix(".aside"))
    try:
        stale = finished.stale()
    finally:
        aside.rename(path)
    assert stale == experiments(["digits"], ["int8"], again, engines=["relay"]) | AT_THE_END


def test_an_edited_script_runs_again_with_what_follows(digits):
    with digits.path("workflow_scripts/evaluate.py").open("a") as script:
        script.write("print('edited')\n")
    evaluated = experiments(["digits"], stages=["evaluate"])
    expected = evaluated | AT_THE_END | SENSITIVITY_AT_THE_END
    assert digits.stale(config=DIGITS) == expected


def of_engine(engine):
    """What the code of an engine's stages makes, for all models."""
    imports = {f"{s} {model}/{engine}" for s in ("import", "calibrate") for model in MODELS}
    return imports | experiments(engines=[engine]) | AT_THE_END


@pytest.mark.parametrize(
    ("module", "code", "expected"),
    [
        ("relax/kernels/conv2d_integer", "# A comment.", set()),
        ("progress", "edited = 1", set()),
        ("relax/kernels/conv2d_integer", "edited = 1", of_engine("relax") | sensitivities()),
        ("engines/relay/ir", "edited = 1", of_engine("relay")),
        (
            "metrics",
            "edited = 1",
            experiments(stages=["evaluate"]) | AT_THE_END | sensitivities(),
        ),
        ("plots/size", "edited = 1", {"plots plots"} | PROFILE_AT_THE_END | SENSITIVITY_AT_THE_END),
        (
            "digits",
            "edited = 1",
            {"train digits"} | whole("digits") | whole("wide"),  # `data` imports it
        ),
    ],
    ids=["comment", "terminal", "kernel", "an engine's module", "metrics", "plot", "training"],
)
def test_an_edit_of_the_library_makes_stale_what_its_code_makes(finished, module, code, expected):
    path = finished.path(f"bitsweep/{module}.py")
    before = path.read_text()
    path.write_text(f"{before}\n{code}\n")
    try:
        stale = finished.stale()
    finally:
        path.write_text(before)
    assert stale == expected


def test_a_tvm_that_was_built_anew_makes_stale_its_engine(finished, tmp_path):
    library = tmp_path / "libtvm.so"
    library.write_text("as TVM_LIBRARY_PATH names it for the user's own TVM")
    stale = finished.stale(TVM_LIBRARY_PATH=str(tmp_path))
    assert stale == {"engine .engines/relay"} | of_engine("relay")


def test_a_raised_limit_runs_again_what_ran_into_it(digits):
    def stale(**limits):
        return digits.stale("--", *last, config={**DIGITS, "limits": limits})

    last = [f"{INT8}/{stage}.json" for stage in ("benchmark", "evaluate", "inspect")]
    short = {**DIGITS, "limits": {"seconds": 1}}
    digits.done("--forcerun", f"{INT8}/quantize.json", "--", *last, config=short)
    assert digits.outcome("digits/relay/cpu/int8/quantize").error.limit == 1
    assert stale(seconds=1) == set()
    assert stale(seconds=1, memory_mb=9999) == set()
    stages = ("quantize", *STAGES[STAGES.index("compile") :])  # what is asked for
    again = experiments(["digits"], ["int8"], stages, engines=["relay"])
    assert stale(seconds=2) == again
    digits.done(*last, config=DIGITS)
    assert digits.outcome("digits/relay/cpu/int8/quantize").state == "ok"
    assert stale() == stale(seconds=1) == stale(seconds=9999) == set()


def test_one_plot_is_a_target(digits):
    plot = digits.path("results/plots/latency.png")
    plot.unlink()
    before = digits.path("results/plots/size.png").stat().st_mtime_ns
    digits.done("results/plots/latency.png", config=DIGITS)
    with Image.open(plot) as image:
        image.load()
    assert digits.path("results/plots/size.png").stat().st_mtime_ns == before
