"""Spaces that list their networks: each of them is trained, and what is no one network is refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas import InvalidInput, run
from nas.reference import reference
from nas.study import load_study, study_from_spec, study_from_text

LIST = """
name: compare
networks:
  small: {stem: {kind: conv3x3, width: 4}, stages: 1, depth: 1, width: 4}
  deep: {stem: {kind: conv3x3, width: 4}, stages: 1, depth: 2, width: 4}
  r8: resnet8
data: {source: digits, train: 100}
recipe: {epochs: 1, precision: float32}
search: {executor: local, early_stopping: none}
"""


@pytest.mark.slow
def test_each_of_them_is_trained(tmp_path: Path) -> None:
    stored = run(study_from_text(LIST), home=tmp_path).stored
    trials = stored.records.values()
    assert {trial.point["network"]: trial.architecture_id for trial in trials} == {
        name: one.id for name, one in stored.study.space.networks.items()}
    assert {str(trial.state) for trial in trials} == {"COMPLETE"}
    assert len(trials) == 3


def test_it_comes_back() -> None:
    study = study_from_text(LIST)
    assert study.space.networks["r8"].id == reference("resnet8").architecture.id
    assert study.budget.trials == 3
    assert study.search.sampler == "grid"
    again = study_from_spec(study.spec())
    assert again.spec() == study.spec()
    assert again.changes(study.spec()) == []
    assert study_from_text(LIST.replace("depth: 2", "depth: 3")).changes(study.spec()) != []


@pytest.mark.parametrize(("was", "now", "said"), [
    ("depth: 2", "depth: [2, 3]", "networks.deep: holds a choice (depth) where one network is wanted"),
    ("depth: 2", "depht: 2", "networks.deep.depht: is not a knob; did you mean depth?"),
    ("depth: 2", "depth: 1", "networks.deep: is the same network as small"),
    ("resnet8", "resnet9", "depth must be 6n+2"),
    ("resnet8", "nosuch", "is not the name of a reference network"),
    ("depth: 2", "depth: 2, cardinality: 3, block: bottleneck", "networks.deep: stage1"),
    ("\nnetworks:", "\nlimits: {macs: {to: 1M}}\nnetworks:", "limits: stands beside networks"),
])
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, was: str, now: str, said: str) -> None:
    path = tmp_path / "list.yaml"
    path.write_text(LIST.replace(was, now, 1))
    with pytest.raises(InvalidInput) as error:
        load_study(path)
    assert said in str(error.value)
    assert "list.yaml:" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("networks", ["[]", "{}", "7", "null"])
def test_an_empty_list_is_refused(networks: str) -> None:
    with pytest.raises(InvalidInput, match=r"networks.*must be a mapping of names to networks"):
        study_from_text(f"name: x\nnetworks: {networks}\n")
