"""Study files: defaults, overrides, a named space, the round trip through what is stored, and what may not change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from space_cases import SPACES, mistake, mistakes, names, study

from nas.errors import InvalidInput, NasError
from nas.studies import yaml_text
from nas.study import DEFAULT_TRIALS, Study, load_study, study_from_spec, study_from_text


def stored(found: Study) -> dict[str, Any]:
    """The spec as it comes back from a database."""
    values: dict[str, Any] = json.loads(json.dumps(found.spec()))
    return values


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


# --- defaults and overrides -----------------------------------------------------------------------------------------

def test_space_alone_gets_defaults() -> None:
    found = study("{depth: [1, 2]}")
    assert (found.name, found.about, found.seed) == ("s.yaml", "", 0)
    assert [(o.name, o.direction) for o in found.objectives] == [("accuracy", "max"), ("macs", "min")]
    assert (found.budget.trials, found.budget.time) == (DEFAULT_TRIALS, None)
    assert (found.data.source, found.search.sampler) == ("digits", "tpe")


def test_name_is_the_file_s_without_one(tmp_path: Path) -> None:
    assert load_study(written(tmp_path, "my-space.yaml", "network: {depth: 1}")).name == "my-space"
    with pytest.raises(InvalidInput, match="my space: must be letters"):
        load_study(written(tmp_path, "my space.yaml", "network: {depth: 1}"))


def test_sections_are_read() -> None:
    found = study("{depth: 1}", "budget: {time: 1h30m}\nrecipe: {epochs: 3}\n"
                                "search: {early_stopping: none, workers: 2}\n"
                                "data: {source: cifar10, resolution: 16}\nseed: 7\nabout: ' words '\nname: a.b-c_1")
    assert (found.budget.time, found.budget.trials) == (5400, None)
    assert (found.recipe.epochs, found.search.early_stopping.kind, found.search.workers) == (3, "none", 2)
    assert (found.data.source, found.data.resolution, found.seed) == ("cifar10", 16, 7)
    assert (found.about, found.name) == ("words", "a.b-c_1")


def test_overrides_reach_any_field(tmp_path: Path) -> None:
    path = written(tmp_path, "s.yaml", "network: {depth: {per_stage: {1: 1, 2: 2, 3: 3}}}\nbudget: {trials: 5}\n")
    found = load_study(path, ["network.depth.per_stage.2=[4, 5]", "network.width={first: 8, growth: [1, 2]}",
                              "budget.trials=9", "data.source=cifar10", "search.early_stopping=none", "name=other",
                              "objectives={accuracy: max}", "limits.macs.to=5M", "recipe.precision=float32"])
    assert names(found.space) == ["stage2.depth", "width.growth"]
    assert (found.budget.trials, found.data.source, found.name) == (9, "cifar10", "other")
    assert found.space.limits[0].high == 5_000_000
    assert [o.name for o in found.objectives] == ["accuracy"]


def test_mistake_in_an_override_names_the_option(tmp_path: Path) -> None:
    path = written(tmp_path, "s.yaml", "network: {depth: 1}\nwrong: 1\n")
    with pytest.raises(InvalidInput) as caught:
        load_study(path, ["data.resolution=big", "network.depth=[]", "foo.bar=1"])
    assert [line.split(": ")[0] for line in str(caught.value).splitlines()] == [
        f"{path}:2:1", "--set foo.bar=1", "--set network.depth=[]", "--set data.resolution=big"]


@pytest.mark.parametrize(("objectives", "words"), [
    ("[accuracy]", "objectives: ['accuracy']: must be a mapping"),
    ("{}", "objectives: {}: must be a mapping"),
    ("null", "objectives: must be a mapping"),
    ("{acuracy: max}", "objectives.acuracy: is not an objective; did you mean accuracy?"),
    ("{accuracy: min}", "objectives.accuracy: min: must be max"),
    ("{accuracy: max, macs: max}", "objectives.macs: max: must be min"),
    ("{accuracy: [max]}", "objectives.accuracy: ['max']: must be max"),
    ("{macs: min, params: min}", "hold nothing that has to be trained"),
])
def test_mistakes_of_objectives(objectives: str, words: str) -> None:
    line = mistake(f"network: {{depth: 1}}\nobjectives: {objectives}")
    assert line.startswith("s.yaml:2:")
    assert words in line


@pytest.mark.parametrize("objectives", [
    "{accuracy: max}", "{params: min, accuracy: max}", "{accuracy: max, latency_ms: min, activations: min}"])
def test_objectives_in_the_order_written(objectives: str) -> None:
    found = study("{depth: 1}", f"objectives: {objectives}")
    assert ", ".join(f"{o.name}: {o.direction}" for o in found.objectives) == objectives[1:-1]


@pytest.mark.parametrize(("more", "words"), [
    ("data: 5", "data: 5: must be a mapping"),
    ("data: {sorce: x}", "data.sorce: is not known; did you mean source?"),
    ("data: {1: x}", "data.1: "),
    ("data: {resolution: 16.0}", "data.resolution: 16.0: must be a whole number"),
    ("data: {resolution: 3}", "data.resolution: 3: must be greater than or equal to 4"),
    ("data: {channels: 2}", "data.channels: 2: must be one of 1 or 3"),
    ("data: {validation: 1}", "data.validation: 1: must be less than 1"),
    ("data: {source: 5}", "data.source: 5: must be text"),
    ("data: {source: ''}", "data.source: : "),
    ("recipe: {learning_rate: .inf}", "recipe.learning_rate: inf: must be a finite number"),
    ("recipe: {learning_rate: .nan}", "recipe.learning_rate: nan: must be a finite number"),
    ("recipe: {flip: 1}", "recipe.flip: 1: must be true or false"),
    ("recipe: {epochs: 999999999999999999999999999}", "recipe.epochs: "),
    ("recipe: {epochs: [1, 2]}", "recipe.epochs: [1, 2]: must be a whole number"),
    ("recipe: {schedule: cosine}", "recipe.schedule: cosine: must be one of 'constant' or 'one_cycle'"),
    ("search: {early_stopping: {kind: asha}}", "search.early_stopping.kind: asha: must be one of"),
    ("search: {early_stopping: asha}", "search.early_stopping.kind: asha: must be one of"),
    ("search: {early_stopping: {eat: 3}}", "search.early_stopping.eat: is not known; did you mean eta?"),
    ("search: {workers: 0}", "search.workers: 0: must be greater than or equal to 1"),
    ("search: {executor: local; rm}", "search.executor: local; rm: must be one of"),
    ("budget: {time: soon}", "budget.time: soon: must be a duration such as 90s"),
    ("budget: {time: .inf}", "budget.time: inf: must be longer than nothing"),
    ("budget: {time: -5}", "budget.time: -5: must be longer than nothing"),
    ("budget: {trials: 1e6}", "budget.trials: 1000000.0: must be a whole number"),
    ("seed: -1", "seed: -1: must be a whole number from 0"),
    ("seed: true", "seed: True: must be a whole number from 0"),
    ("seed: 4294967296", "must be a whole number from 0 to 4294967295"),
    ("about: [words]", "about: ['words']: must be text"),
    ("name: 5", "name: 5: must be letters"),
    ("netwrok: {}", "netwrok: is not known; did you mean network?"),
    ("space: 5", "space: 5: must be the path of a space file"),
    ("space: null", "space: must be the path of a space file"),
])
def test_mistakes_of_sections(more: str, words: str) -> None:
    line = mistake(f"network: {{depth: 1}}\n{more}")
    assert line.startswith("s.yaml:2:"), line
    assert words in line


@pytest.mark.parametrize("name", ["../up", "/etc/x", "a/b", "..", ".", ".hidden", "-x", "", "a b", "a\\\\b", "é",
                                  "a\\n", "x" * 65, "CON:", "~", "$HOME", "*"])
def test_names_that_are_no_folder_of_ours(name: str) -> None:
    line = mistake(f'network: {{depth: 1}}\nname: "{name}"')
    assert "must be letters, digits, dots, dashes and underscores" in line
    with pytest.raises(InvalidInput):
        study("{depth: 1}").renamed(name)


# --- a study that names a space -------------------------------------------------------------------------------------

def test_study_names_a_space(tmp_path: Path) -> None:
    written(tmp_path, "space.yaml", "name: inner\nabout: of it\nnetwork: {depth: [1, 2]}\nlimits: {macs: {to: 9M}}\n")
    path = written(tmp_path, "study.yaml", "space: space.yaml\nname: outer\nbudget: {trials: 3}\n")
    found = load_study(path)
    assert (found.name, found.about, found.budget.trials) == ("outer", "of it", 3)
    assert names(found.space) == ["depth"]
    assert found.spec()["limits"] == {"macs": {"to": "9M"}}
    assert "space" not in found.spec()


def test_mistakes_of_both_files_have_their_own_places(tmp_path: Path) -> None:
    space = written(tmp_path, "space.yaml", "network:\n  depth: x\n")
    path = written(tmp_path, "study.yaml", "budget: {trials: 0}\nspace: space.yaml\n")
    with pytest.raises(InvalidInput) as caught:
        load_study(path)
    assert [line.split(": ")[0] for line in str(caught.value).splitlines()] == [f"{space}:2:3", f"{path}:1:10"]


@pytest.mark.parametrize(("space", "words"), [
    ("nowhere.yaml", "no such file"), (".", "is a folder"), ('""', "is a folder"), ('"a\\0b"', "U+0000"),
    ("study.yaml", "must be the path of a space file that names no other"), ("chain.yaml", "that names no other")])
def test_spaces_that_cannot_be_named(tmp_path: Path, space: str, words: str) -> None:
    written(tmp_path, "chain.yaml", "space: study.yaml\n")
    path = written(tmp_path, "study.yaml", f"name: a\nspace: {space}\n")
    with pytest.raises(InvalidInput) as caught:
        load_study(path)
    lines = str(caught.value).splitlines()
    assert words in lines[0]
    assert lines[0].startswith(str(tmp_path))
    assert ".yaml:" in lines[0]


def test_study_cannot_name_a_space_and_hold_one(tmp_path: Path) -> None:
    written(tmp_path, "space.yaml", "network: {depth: 1}\n")
    path = written(tmp_path, "study.yaml", "space: space.yaml\nlimits: {macs: {to: 1M}}\n")
    with pytest.raises(InvalidInput, match=r"study\.yaml:2:1: limits: stands beside space"):
        load_study(path)


def test_space_cannot_be_set_from_the_command_line(tmp_path: Path) -> None:
    path = written(tmp_path, "s.yaml", "network: {depth: 1}\n")
    with pytest.raises(InvalidInput, match="must be the path of a space file"):
        load_study(path, ["space=other.yaml"])


# --- what is stored -------------------------------------------------------------------------------------------------

WRITTEN = {
    "per stage": "{depth: {per_stage: {1: [1, 2], 2: 3, 3: {from: 1, to: 3}}}}",
    "tied": "{width: {first: [8, 16], growth: {from: 1, to: 2, step: 0.5}}, se_ratio: [0, 1/16]}",
    "continuous": "{residual_scaling: {from: 0.1, to: 1, log: true}, gate: [none, full]}",
}


@pytest.mark.parametrize("name", WRITTEN)
def test_round_trip_through_the_database(name: str) -> None:
    one = study(WRITTEN[name], "rules: [{when: {depth: 1}, set: {kernel: 5}}]\nbudget: {time: 30m}\nname: one")
    two = study_from_spec(stored(one))
    assert stored(two) == stored(one)
    assert [(a.name, a.domain) for a in two.space.axes] == [(a.name, a.domain) for a in one.space.axes]
    assert one.changes(stored(one)) == []
    assert two.changes(one.spec()) == []


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_round_trip_through_the_written_file(path: Path) -> None:
    """The study.yaml beside the results is a study that can be sent to someone."""
    changed = "network.depth={per_stage: {1: 1, 2: [1, 2], 3: 1}}"
    one = load_study(path, [changed if path.stem != "regnet" else "network.regnet.depth=[8, 9]"])
    two = study_from_text(yaml_text(one.spec()), "study")
    assert two.spec() == one.spec()
    assert two.changes(stored(one)) == []


@pytest.mark.parametrize(("override", "line"), [
    ("network.depth=3", "network.depth: 1 -> 3"),
    ("network.width=8", "network.width: None -> 8"),
    ("limits.macs.to=5M", "limits.macs.to: 9M -> 5M"),
    ("objectives={accuracy: max}", "objectives.macs: min -> None"),
    ("data.resolution=16", "data.resolution: None -> 16"),
    ("recipe.epochs=3", "recipe.epochs: 20 -> 3"),
    ("seed=4", "seed: 0 -> 4"),
])
def test_what_may_not_change(tmp_path: Path, override: str, line: str) -> None:
    path = written(tmp_path, "s.yaml", "network: {depth: 1}\nlimits: {macs: {to: 9M}}\n")
    assert load_study(path, [override]).changes(stored(load_study(path))) == [line]


@pytest.mark.parametrize("override", [
    "budget.trials=99", "budget.time=1h", "search.workers=3", "search.sampler=random", "about=words", "name=other"])
def test_what_may_change(tmp_path: Path, override: str) -> None:
    path = written(tmp_path, "s.yaml", "network: {depth: 1}\n")
    assert load_study(path, [override]).changes(stored(load_study(path))) == []


def test_mistakes_in_a_stored_study_are_ours_to_say() -> None:
    with pytest.raises(NasError, match="the stored study: network: is missing"):
        study_from_spec({"name": "x"})


def test_many_mistakes_of_a_study() -> None:
    assert len(mistakes("network: {depth: 1}\ndata: {a: 1, b: 2, resolution: x}\nsearch: {c: 1}")) == 4


def test_an_exported_folder_stands_for_its_architecture(tmp_path: Path) -> None:
    (tmp_path / "architecture.yaml").write_text("name: own-2\nnetwork: {depth: 3}\n")
    study = load_study(tmp_path, ["seed=3"])
    assert (study.name, study.seed, study.space.decode({}).stages[0].depth) == ("own-2", 3, 3)
