"""The configuration: every key, what is allowed, and one sentence for what is not."""

import dataclasses
import difflib
import itertools
import json
import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    WrapValidator,
    create_model,
    field_serializer,
    field_validator,
    model_validator,
)

from bitsweep.engines.declared import ENGINES, PrecisionSection
from bitsweep.engines.relax.settings import Goal, Relax
from bitsweep.errors import UserError
from bitsweep.outcome import STAGES, Experiment
from bitsweep.relax.config import QConfig
from bitsweep.settings import NUMBER, Bits, Count, Section, Seed

BASELINE = "float32"
"""The precision that is always there: the unquantized network."""

BASELINE_BITS = 32

# Names become parts of paths, which wildcards must take apart again.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_OUR_FOLDERS = ("tables", "plots", "logs", "machine")


def _is_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("a name has letters, digits, '_', '-' and '.', a letter or digit first")
    if name in _OUR_FOLDERS:
        raise ValueError(f"{', '.join(_OUR_FOLDERS)} are folders of the results")
    return name


Name = Annotated[str, AfterValidator(_is_name)]


def _is_cores(value: Any, validated: Callable[[Any], int | str]) -> int | str:
    try:
        return validated(value)
    except ValidationError:  # which has a sentence for a number, and one for native
        raise ValueError("a number is wanted, from 1 on, or native") from None


Cores = Annotated[Count | Literal["native"], WrapValidator(_is_cores)]


class _Precision(Section):
    @model_validator(mode="after")
    def _of_an_engine(self):
        if not self.engines:
            raise ValueError(f"give a section for an engine: {', '.join(ENGINES)}")
        return self

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines that the precision exists for."""
        return tuple(engine for engine in ENGINES if getattr(self, engine) is not None)


Precision = create_model(
    "Precision",
    __base__=_Precision,
    __doc__="A named quantization setting: a section for each engine that can have it.",
    **{name: (engine.precision | None, None) for name, engine in ENGINES.items()},
)


UNLABELLED = ("photos", "random")
LABELLED = "allowed are digits, or a folder with a folder of images per class"


class Train(Section):
    """How a model's weights are made: `bitsweep.training`'s recipe, `epochs` long.

    `learning_rate` is the largest of the one-cycle schedule.
    """

    epochs: Count
    seed: Seed = 0
    batch: Annotated[int, Field(ge=2), NUMBER] = 32
    learning_rate: Annotated[float, Field(gt=0), NUMBER] = 0.02


class Model(Section):
    """A classifier: where its network, its weights and its images come from.

    `factory` is a torchvision name or `module:function`; `weights` is `seeded`, a torchvision
    weights name, or the path of a state dict; `data` is `photos`, `random`, `digits`, or the path
    of an image or of a folder with a folder of images per class. With `train` the weights are made;
    with `precisions` it has those of the sweep's only, and the baseline.
    """

    factory: Annotated[str, Field(min_length=1)]
    weights: Annotated[str, Field(min_length=1)] = "seeded"
    data: Annotated[str, Field(min_length=1)] = "photos"
    input_shape: tuple[Count, Count, Count] = (3, 224, 224)
    seed: Seed = 0
    images: Count = 64
    calibration_images: Count = 16
    selection_images: Count = 64
    train: Train | None = None
    precisions: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _labelled(self):
        if self.train is not None and self.data in UNLABELLED:
            raise ValueError(f"data = {self.data!r} has no labels to train on; {LABELLED}")
        return self

    @property
    def all_images(self) -> int:
        """How many images there are to be beside those that are trained on."""
        return self.images + self.calibration_images + self.selection_images

    @property
    def weights_are_path(self) -> bool:
        return "/" in self.weights or self.weights.endswith((".pt", ".pth"))

    @property
    def weights_are_downloaded(self) -> bool:
        """Whether they are torchvision's, by name."""
        return not self.weights_are_path and self.weights != "seeded"

    @property
    def data_is_path(self) -> bool:
        return self.data not in ("digits", *UNLABELLED)


class Engine(Section):
    """An engine; `python_path` names the python folder of an own TVM instead of the pinned one."""

    python_path: str | None = None


class Tuning(Section):
    """How operators are tuned: `trials` candidates of each are measured on the machine.

    They take turns, a few candidates at a time, for so many `seconds` at most.
    """

    by: Literal[tuple(dict.fromkeys(t for engine in ENGINES.values() for t in engine.tuners))]
    trials: Count = 64
    seconds: Annotated[float, Field(gt=0), NUMBER] = 900.0


class Target(Section):
    """What is compiled for; `native` is this machine's, found out when a job runs.

    Loops of engine `relax` are cut for so many `cores` to share. With `tuning`, what is compiled
    for it is tuned first.
    """

    triple: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")] = "native"
    cpu: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")] = "native"
    attributes: tuple[Annotated[str, Field(pattern=r"^[+-][A-Za-z0-9_.-]+$")], ...] = ()
    cores: Cores = "native"
    tuning: Tuning | None = None


class Benchmark(Section):
    """How latency is measured; `budget_seconds` bounds the measuring of one experiment.

    It is measured beside its engine's float32, and beside that of the engine `reference` where the
    sweep has it: each in a process of its own, of which one at a time runs. So many `processes` of
    each, one after the other, share the budget; their first rounds, of every one of the `inputs`,
    are measured whatever it is. A run finds in the caches what the run before left there, or, with
    `cold`, nothing.
    """

    reference: Literal[tuple(ENGINES)] | None = "onnxruntime"
    processes: Annotated[Count, Field(le=100)] = 3
    inputs: Annotated[Count, Field(le=1000)] = 10
    runs: Count = 30
    warmup: Annotated[int, Field(ge=0), NUMBER] = 3
    budget_seconds: Annotated[float, Field(gt=0), NUMBER] = 9.0
    seed: Seed = 0
    cold: bool = False


class Limits(Section):
    """What one TVM process may use; beyond it the stage is a failed outcome."""

    seconds: Count = 1800
    memory_mb: Count = 8192


class Sweep(Section):
    """Which experiments run: every combination that exists."""

    models: Annotated[tuple[Name, ...], Field(min_length=1)]
    engines: Annotated[tuple[Name, ...], Field(min_length=1)] = ("relay", "relax")
    targets: Annotated[tuple[Name, ...], Field(min_length=1)] = ("cpu",)
    precisions: Annotated[tuple[Name, ...], Field(min_length=1)]


class Sensitivity(Section):
    """Whose layers are quantized one at a time, in Relax: precisions, and how many images."""

    precisions: tuple[Name, ...] = ()
    images: Count = 32


# Of a relax section, what a search chooses; presets are but bits, and floats others.
_CHOSEN = {
    "floats",
    "preset",
    "plan",
    "search",
    "layer_bits",
    "weight_bits",
    "activation_bits",
    "first_layer_bits",
    "last_layer_bits",
}


def _without_bits(value: Any) -> Any:
    chosen = sorted(_CHOSEN & value.keys()) if isinstance(value, Mapping) else []
    if chosen:
        allowed = [field.name for field in dataclasses.fields(QConfig) if field.name not in _CHOSEN]
        raise ValueError(f"{chosen[0]} is what a search chooses; allowed: {', '.join(allowed)}")
    return value


def _to_choose_from(bits: tuple[int, ...]) -> tuple[int, ...]:
    if not bits:
        raise ValueError("at least 1 is wanted")
    if len(set(bits)) < len(bits):
        raise ValueError("one is there twice")
    return bits


Widths = Annotated[
    tuple[Bits, ...],
    AfterValidator(_to_choose_from),
    Field(json_schema_extra={"minItems": 1, "uniqueItems": True}),
]


class Search(Section):
    """What searches for bits per layer, in Relax, choose from and look at.

    Each of `weight_bits` is a candidate beside each of `input_bits`; errors are those on the first
    `images` of the selection images. `settings` are a precision's in Relax, but its bits.
    """

    weight_bits: Widths = (8, 4, 2, 1)  # 3 bits are packed into 4
    input_bits: Widths = (8,)
    images: Count = 32
    settings: Annotated[Relax, BeforeValidator(_without_bits)] = Relax()

    @field_serializer("settings")
    def _as_settings(self, settings: Relax) -> dict[str, Any]:
        return settings.settings()


class Expectation(Section):
    """What is expected of the experiments that the patterns match (`*` and `?` as in a shell)."""

    model: str = "*"
    engine: str = "*"
    target: str = "*"
    precision: str = "*"
    outcome: Annotated[str, Field(pattern=rf"^(ok|degenerate|failed@({'|'.join(STAGES[1:])}))$")]


class Config(Section):
    """A whole configuration: what there is, and which of it is swept.

    `stand_in` is the absolute path of a script that runs in place of every rule's own, to measure
    the workflow itself. `compare` names the results of another run, for the target `compare`, which
    fails on the verdicts in `compare_fail_on`.
    """

    sweep: Sweep
    models: dict[Name, Model]
    precisions: dict[Name, Precision] = Field(default_factory=dict)
    targets: dict[Name, Target] = Field(default_factory=lambda: {"cpu": Target()})
    engines: dict[Name, Engine] = Field(default_factory=dict)
    benchmark: Benchmark = Benchmark()
    limits: Limits = Limits()
    sensitivity: Sensitivity = Sensitivity()
    search: Search = Search()
    expect: tuple[Expectation, ...] = ()
    compare: Annotated[str, Field(min_length=1)] | None = None
    compare_fail_on: tuple[Literal["slower", "broken", "less_accurate"], ...] = ()
    stand_in: Annotated[str, Field(pattern=r"^/.+\.(sh|py)$")] | None = None

    @field_validator("models")
    @classmethod
    def _with_made_weights(cls, models: dict[str, Model]) -> dict[str, Model]:
        return {
            name: model.model_copy(update={"weights": made_weights(name)})
            if model.train is not None and "weights" not in model.model_fields_set
            else model
            for name, model in models.items()
        }

    @model_validator(mode="after")
    def _consistent(self):
        if BASELINE in self.precisions:
            raise ValueError(f"precisions.{BASELINE} is the unquantized baseline, always there")
        allowed = {
            "model": tuple(self.models),
            "engine": tuple(ENGINES),
            "target": tuple(self.targets),
            "precision": (BASELINE, *self.precisions),
        }
        for name, model in self.models.items():
            if model.train is not None and model.weights != made_weights(name):
                raise ValueError(
                    f"models.{name}.weights = {model.weights!r}: train makes {made_weights(name)}; "
                    "leave weights out, or set train to null"
                )
            for precision in model.precisions or ():
                _known(f"models.{name}.precisions", precision, allowed["precision"])
        for name in self.engines:
            _known(f"engines.{name}", name, ENGINES)
        for kind, names in allowed.items():
            swept = getattr(self.sweep, f"{kind}s")
            for name in swept:
                _known(f"sweep.{kind}s", name, names)
            if len(set(swept)) < len(swept):
                raise ValueError(f"sweep.{kind}s = {list(swept)} names one twice")
        for target in self.sweep.targets:
            if not any(self.tunes(engine, target) for engine in self.sweep.engines):
                by = self.targets[target].tuning.by
                having = [name for name, engine in ENGINES.items() if by in engine.tuners]
                raise ValueError(
                    f"targets.{target}.tuning.by = {by!r} is there in {', '.join(having)} only, "
                    f"and the engines of the sweep are {', '.join(self.sweep.engines)}"
                )
        for engine in self.sweep.engines:
            if not any(self.tunes(engine, target) for target in self.sweep.targets):
                raise ValueError(
                    f"sweep.engines = {engine!r} can tune for none of the targets of the sweep: "
                    f"{', '.join(self.sweep.targets)}; add one without tuning, or leave it out"
                )
            if not any(self.exists(engine, precision) for precision in self.sweep.precisions):
                raise ValueError(
                    f"sweep.engines = {engine!r} has none of the precisions of the sweep: "
                    f"{', '.join(self.sweep.precisions)}"
                )
        for precision in self.sweep.precisions:
            if not any(self.exists(engine, precision) for engine in self.sweep.engines):
                raise ValueError(
                    f"sweep.precisions = {precision!r} has a section for "
                    f"{', '.join(self.precisions[precision].engines)} only, and the engines of "
                    f"the sweep are {', '.join(self.sweep.engines)}"
                )
        for name in self.sweep.models:
            if not any(self.has(name, precision) for precision in self.sweep.precisions):
                raise ValueError(
                    f"models.{name}.precisions = {list(self.models[name].precisions)} has none of "
                    f"the precisions of the sweep: {', '.join(self.sweep.precisions)}"
                )
        for name in self.sensitivity.precisions:
            _known(
                "sensitivity.precisions",
                name,
                [
                    name
                    for name, p in self.precisions.items()
                    if p.relax and not p.relax.search and not p.relax.floats
                ],
            )
        for index, expectation in enumerate(self.expect):
            for kind, names in allowed.items():
                pattern = getattr(expectation, kind)
                if not any(fnmatchcase(name, pattern) for name in names):
                    _known(f"expect.{index}.{kind}", pattern, names)
        return self

    def exists(self, engine: str, precision: str) -> bool:
        """Return whether an engine has a precision: the baseline, or a section of its own."""
        return precision == BASELINE or engine in self.precisions[precision].engines

    def tunes(self, engine: str, target: str) -> bool:
        """Return whether an engine has what tunes for a target, if anything is to."""
        tuning = self.targets[target].tuning
        return tuning is None or tuning.by in ENGINES[engine].tuners

    def untuned(self, target: str) -> str | None:
        """Return the target of the sweep that is the same but for tuning.

        None where there is none, or nothing is tuned for this one.
        """
        if self.targets[target].tuning is None:
            return None
        same = self.targets[target].model_copy(update={"tuning": None})
        return next((name for name in self.sweep.targets if self.targets[name] == same), None)

    def has(self, model: str, precision: str) -> bool:
        """Return whether a model is to have a precision: the baseline, or one of its own."""
        own = self.models[model].precisions
        return precision == BASELINE or own is None or precision in own

    def section(self, experiment: Experiment) -> PrecisionSection | None:
        """Return the settings that an experiment quantizes by, None for the baseline.

        A search's are those that all searches share; its plan lies over them.
        """
        if experiment.precision == BASELINE:
            return None
        section = getattr(self.precisions[experiment.precision], experiment.engine)
        return self.search.settings if self.goal(experiment) else section

    def goal(self, experiment: Experiment) -> Goal | None:
        """Return what an experiment's precision searches for, None where it is a setting."""
        if experiment.engine != "relax" or experiment.precision == BASELINE:
            return None
        section = self.precisions[experiment.precision].relax
        return section and section.search

    def bits(self, experiment: Experiment) -> tuple[int | None, int | None]:
        """Return the bits of an experiment's weights and of its activations.

        None where a search chooses them, or a plan has others for some layers.
        """
        section = self.section(experiment)
        if section is None:
            return BASELINE_BITS, BASELINE_BITS
        if self.goal(experiment):
            pairs = set(itertools.product(self.search.weight_bits, self.search.input_bits))
        else:
            pairs = {(section.weight_bits, section.activation_bits)}
            if experiment.engine == "relax":
                pairs |= set(section.planned_bits.values())
        weights, activations = (set(bits) for bits in zip(*pairs, strict=True))
        return (
            weights.pop() if len(weights) == 1 else None,
            activations.pop() if len(activations) == 1 else None,
        )

    def stages(self, experiment: Experiment) -> tuple[str, ...]:
        """Return the stages that an experiment goes through, of `outcome.STAGES`."""
        section, goal = self.section(experiment), self.goal(experiment)
        left_out = set() if section and section.is_calibrated else {"calibrate"}
        if goal is None:
            left_out |= {"costs", "time_layers", "frontier", "search"}
        elif not goal.is_timed:
            left_out.add("time_layers")
        if self.targets[experiment.target].tuning is None:
            left_out.add("tune")
        return tuple(stage for stage in STAGES if stage not in left_out)

    @property
    def experiments(self) -> tuple[Experiment, ...]:
        """Every experiment of the sweep, models outermost and precisions innermost."""
        return tuple(
            Experiment(model=model, engine=engine, target=target, precision=precision)
            for model in self.sweep.models
            for engine in self.sweep.engines
            for target in self.sweep.targets
            for precision in self.sweep.precisions
            if self.exists(engine, precision)
            and self.has(model, precision)
            and self.tunes(engine, target)
        )

    @property
    def sensitivities(self) -> tuple[Experiment, ...]:
        """The experiments whose layers are quantized one at a time."""
        return tuple(
            Experiment(model=model, engine="relax", target=target, precision=precision)
            for model in self.sweep.models
            for target in self.sweep.targets
            for precision in self.sensitivity.precisions
            if "relax" in self.sweep.engines
            and self.has(model, precision)
            and self.tunes("relax", target)
        )

    @property
    def searches(self) -> tuple[Experiment, ...]:
        """The experiments of the sweep that are searches."""
        return tuple(e for e in self.experiments if self.goal(e))

    def expected(self, experiment: Experiment) -> str:
        """What is expected of an experiment: the last entry that matches it, `ok` without one."""
        matching = [
            expectation.outcome
            for expectation in self.expect
            if all(
                fnmatchcase(getattr(experiment, kind), getattr(expectation, kind))
                for kind in ("model", "engine", "target", "precision")
            )
        ]
        return matching[-1] if matching else "ok"


def made_weights(model: str) -> str:
    """Where the rule `train` leaves a model's weights."""
    return f"results/{model}/weights.pt"


def _known(key: str, name: str, allowed: Iterable[str]) -> None:
    allowed = tuple(allowed)
    if name not in allowed:
        raise ValueError(
            f"{key} = {name!r} is unknown; allowed: {', '.join(allowed)}{_hint(name, allowed)}"
        )


def load(raw: Mapping[str, Any]) -> Config:
    """Check a configuration as YAML gives it; raise `UserError` naming every mistake's key."""
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        # What `bits` and `storage` spread to input and weight is one mistake, not three.
        sentences = {
            tuple(part for part in detail["loc"] if part not in ("input", "weight")): detail
            for detail in reversed(error.errors())
        }
        raise UserError(
            "config: " + "; ".join(_sentence(detail) for detail in reversed(sentences.values()))
        ) from None


# What is allowed, in the config's terms, where pydantic speaks of Python's types.
_WANTED = {
    **dict.fromkeys(("tuple_type", "list_type"), "a list is wanted"),
    **dict.fromkeys(
        ("model_type", "dict_type", "dataclass_type", "model_attributes_type"),
        "a section with keys of its own is wanted",
    ),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number is wanted"),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), "a number is wanted"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false is wanted"),
    "string_type": "a text is wanted",
    "greater_than": "allowed is more than {gt}",
    "greater_than_equal": "allowed is {ge} or more",
    "less_than": "allowed is less than {lt}",
    "less_than_equal": "allowed is {le} or less",
    "literal_error": "allowed are {expected}",
    "too_short": "at least {min_length} is wanted",
}


def _sentence(detail: Mapping[str, Any]) -> str:
    """Say one of pydantic's errors as key, value and what is allowed."""
    key = ".".join(str(part) for part in detail["loc"] if part != "[key]")
    said = detail["msg"].removeprefix("Value error, ")
    if detail["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        allowed = _keys_at(detail["loc"][:-1])
        hint = _hint(detail["loc"][-1], allowed)
        return f"{key} is not a known key; allowed: {', '.join(allowed)}{hint}"
    if detail["type"] == "missing":
        return f"{key} is missing"
    if not key:
        return said
    if re.match(r"[\w.]+ = ", said):  # it names the field of this section itself
        return f"{key}.{said}"
    wanted = _WANTED.get(detail["type"], f"{said[0].lower()}{said[1:]}")
    if detail["type"] == "tuple_type" and key.endswith("_layers"):
        wanted = "a list of layer names is wanted"
    hint = ""
    if detail["type"] == "literal_error":
        hint = _hint(detail["input"], re.findall(r"'([^']*)'", detail["ctx"]["expected"]))
    return f"{key} = {detail['input']!r}: {wanted.format(**detail.get('ctx', {}))}{hint}"


def _hint(name: Any, allowed: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), tuple(allowed), 1)
    return f"; did you mean {near[0]}?" if near else ""


def _keys_at(location: Iterable[str | int]) -> list[str]:
    """The keys that the section at `location` of a config may have."""
    section: Any = Config
    for part in location:
        fields = _fields(section)
        section = _of_many(fields[part].annotation if part in fields else section)
    return list(_fields(section))


def _of_many(annotation: Any) -> Any:
    """The section that is optional, or the values of a mapping, or the items of a tuple."""
    while not _fields(annotation):
        annotation = next(a for a in reversed(get_args(annotation)) if a not in (type(None), ...))
    return annotation


def _fields(section: Any) -> dict[str, Any]:
    return getattr(section, "__pydantic_fields__", {})


def schema() -> str:
    """The JSON schema of the configuration, for editors: the text of `config/schema.json`."""
    return json.dumps(Config.model_json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    print(schema(), end="")
