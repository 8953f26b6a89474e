"""Every field of a study, edited between two runs: it is refused with its name and both values, or it may change.

A field that is new stands in neither of the two lists, and fails here until somebody has decided.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from nas.architecture import KNOBS
from nas.errors import NasError
from nas.evaluation import Job, Progress
from nas.knobs import Knob
from nas.search.run import run
from nas.study import SECTIONS, Study, study_from_spec, study_from_text

MAY_CHANGE = {
    "about",
    "search.sampler", "search.early_stopping.kind", "search.early_stopping.first", "search.early_stopping.last",
    "search.early_stopping.eta", "search.keep", "search.quota", "search.repeats", "search.artifacts", "search.start",
    "search.executor", "search.workers", "search.gpus_per_trial", "search.address", "budget.trials", "budget.time",
}
MUST_NOT = {
    "data.source", "data.resolution", "data.channels", "data.train", "data.validation", "data.seed",
    "recipe.epochs", "recipe.batch_size", "recipe.schedule", "recipe.levels", "recipe.learning_rate",
    "recipe.warmup_epochs", "recipe.momentum", "recipe.weight_decay", "recipe.decay_norms", "recipe.averaging",
    "recipe.label_smoothing", "recipe.clip", "recipe.crop", "recipe.flip", "recipe.cutout", "recipe.precision",
    "recipe.mixup", "recipe.cutmix", "recipe.flip_test", "recipe.start",
    "objectives.macs", "seed", "search.latency",
}
OTHER: dict[str, Any] = {       # where the schema alone gives no other legal value
    "about": "other words", "seed": 7, "search.artifacts": "shared", "search.gpus_per_trial": 0.0,
    "search.address": "auto", "search.early_stopping.last": 9, "budget.time": 3600.0, "data.train": 200,
    "data.resolution": 16, "data.validation": 0.3, "recipe.start": "0a" * 32, "search.start": "export/trial-1",
}
TEXT = """
name: s
network: {stem: {kind: conv3x3, width: 4}, stages: 2, depth: [1, 2], width: {first: [4, 8, 16], growth: 2}}
recipe: {epochs: 2}
search: {sampler: random, executor: local, early_stopping: none}
budget: {trials: 2}
"""


def fields(model: type[BaseModel], *path: str) -> Iterator[tuple[str, ...]]:
    """The places of all values in a section."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields(field.annotation, *path, name)
        else:
            yield (*path, name)


PLACES = {".".join(place): place for key, model in SECTIONS.items() for place in fields(model, key)} | {
    "about": ("about",), "seed": ("seed",), "objectives.macs": ("objectives", "macs")}


def changed(spec: Mapping[str, Any], place: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A copy of `spec` with another value at a place; without the place where that is None."""
    copy: dict[str, Any] = json.loads(json.dumps(spec))
    inner = copy
    for step in place[:-1]:
        inner = inner.setdefault(step, {})
    if value is None:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return copy


def at(spec: Mapping[str, Any], place: tuple[str, ...]) -> Any:
    """The value at a place; None where there is none."""
    value: Any = spec
    for step in place:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def other(name: str, was: Any) -> Any:
    """Another legal value of a field of a section, by its schema."""
    if name in OTHER or name == "objectives.macs":
        return OTHER.get(name)
    key, *rest = name.split(".")
    schema = SECTIONS[key].model_json_schema()
    found = schema
    for step in rest:
        found = found["properties"][step]
        found = schema["$defs"][found["$ref"].rpartition("/")[2]] if "$ref" in found else found
    kinds = [kind for kind in found.get("anyOf", [found]) if kind.get("type") != "null"]
    kind = kinds[0]
    if "enum" in kind:
        return next(value for value in kind["enum"] if value != was)
    if kind["type"] == "boolean":
        return not was
    if kind["type"] == "integer":
        return was + 1 if was is not None else kind["minimum"]
    return was / 2 if was else kind.get("maximum", kind.get("exclusiveMaximum", 1.0)) / 2


def test_every_field_is_decided() -> None:
    assert set(PLACES) == MAY_CHANGE | MUST_NOT
    assert not MAY_CHANGE & MUST_NOT
    spec = study_from_text(TEXT).spec()
    assert set(spec) == {name.split(".")[0] for name in PLACES} | {"name", "network"}, "name is what it is found by"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two networks that has run, beside a folder of images."""
    folder = tmp_path_factory.mktemp("home")
    run(study_from_text(TEXT), home=folder, evaluate=train)
    return folder


def train(job: Job) -> Iterator[Progress]:
    """At once."""
    for epoch in range(1, job.epochs + 1):
        yield Progress(epoch, 1.0, 1.0, 0.5, 0.01, done=epoch == job.epochs)


def edited(name: str, home: Path) -> tuple[Study, Any, Any]:
    """The study with another value in that field; what it was, and what it is."""
    spec, place = study_from_text(TEXT).spec(), PLACES[name]
    was = at(spec, place)
    now = str(images(home / "images")) if name == "data.source" else other(name, was)
    assert was != now
    return study_from_spec(changed(spec, place, now)), was, now


def images(folder: Path) -> Path:
    """Ten of each of two classes."""
    from PIL import Image

    for number in range(20):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number * 10).save(path)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MUST_NOT))
def test_what_matters_is_refused_with_its_name_and_both_values(name: str, home: Path) -> None:
    study, was, now = edited(name, home)
    with pytest.raises(NasError) as caught:
        run(study, home=home, evaluate=train)
    assert str(caught.value).splitlines()[1:-1] == [f"  {name}: {was} -> {now}"]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MAY_CHANGE))
def test_what_may_change_goes_on(name: str, home: Path) -> None:
    study, _, now = edited(name, home)
    outcome = run(study, home=home, evaluate=train)
    assert outcome.new_trials == (name == "budget.trials")
    assert at(outcome.stored.study.spec(), PLACES[name]) == now, "what is stored is what was asked for"


def another(knob: Knob) -> Any:
    """A legal value of a knob that is not its default."""
    if knob.choices:
        return next(choice for choice in knob.choices if choice != knob.default)
    if knob.kind is int:
        return next(n for n in (knob.default + 2, knob.least) if n != knob.default and n <= knob.most)
    return knob.most if knob.default != knob.most else knob.least


@pytest.mark.parametrize("name", KNOBS)
def test_every_knob_is_a_matter_of_the_study(name: str) -> None:
    """Set, changed, made an axis, widened, and left out again."""
    knob, place = KNOBS[name], ("network", *name.split("."))
    one, two = knob.default, another(knob)
    written: list[Any] = [None, one, two]
    if name != "stages":        # of which there is one number
        written += [[one, two], [two, one]]
        if not knob.choices:
            low, high = min(one, two), max(one, two)
            third = (low + high) / 2 if knob.kind is float else high + 2
            written += [{"from": low, "to": high, "step": high - low}, [low, high, third]]
    plain = {"name": "s", "network": {"kernel": 3} if name != "kernel" else {"depth": 2}}
    specs = [plain if value is None else changed(plain, place, value) for value in written]
    for was, before in zip(specs, written, strict=True):
        for now, after in zip(specs, written, strict=True):
            lines = study_from_spec(now).changes(json.loads(json.dumps(study_from_spec(was).spec())))
            assert (lines == []) == (before == after), (before, after)
            assert all(line.startswith("network.stem" if "." in name else f"network.{name}") for line in lines)


BASE = """
name: s
network: {stages: 2, block: bottleneck, depth: [1, 2], kernel: [3, 5], gate: [none, full], cardinality: [1, 2]}
rules: [{when: {gate: full}, set: {cardinality: 1}}]
limits: {macs: {from: 1k, to: 900M}, params: {to: 90M}}
"""


@pytest.mark.parametrize(("was", "now"), [
    ("when: {gate: full}", "when: {gate: none}"), ("when: {gate: full}", "when: {kernel: 5}"),
    ("set: {cardinality: 1}", "set: {cardinality: 2}"), ("set: {cardinality: 1}", "set: {kernel: 3}"),
    ("rules: [{when: {gate: full}, set: {cardinality: 1}}]\n", ""),
    ("set: {cardinality: 1}}]", "set: {cardinality: 1}}, {when: {kernel: 5}, set: {depth: 1}}]"),
    ("from: 1k", "from: 2k"), ("from: 1k, ", ""), ("to: 900M", "to: 901M"), (", params: {to: 90M}", ""),
    ("params: {to: 90M}", "params: {to: 90M}, activations: {to: 9M}"),
    ("limits: {macs: {from: 1k, to: 900M}, params: {to: 90M}}\n", ""),
    ("depth: [1, 2]", "depth: [1, 2, 3]"), ("depth: [1, 2]", "depth: {per_stage: [1, 2]}"), ("stages: 2, ", ""),
])
def test_rules_limits_and_axes_are_a_matter_of_the_study(was: str, now: str) -> None:
    assert was in BASE
    one, two = study_from_text(BASE), study_from_text(BASE.replace(was, now))
    section = BASE[:BASE.index(was)].rpartition("\n")[2].partition(":")[0] or was.partition(":")[0]
    for before, after in ((one, two), (two, one)):
        lines = after.changes(json.loads(json.dumps(before.spec())))
        assert lines
        assert all(line.partition(":")[0].partition(".")[0] == section for line in lines)
