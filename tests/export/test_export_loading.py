"""A folder that is not whole, or not what it says, is refused in one line, and nothing in it is ever run."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load as tensors_of
from safetensors.torch import save

from nas.errors import NasError
from nas.export import choose, export, load
from nas.exported.manifest import ARCHITECTURE, CODE, EXAMPLE, FACTS, WEIGHTS
from nas.studies import StoredStudy

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def exported(trained: StoredStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(trained, choose(trained, "best")[0], tmp_path_factory.mktemp("exported") / "network", formats=())


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "copied"))


def refused(folder: Path, match: str) -> None:
    with pytest.raises(NasError, match=match) as error:
        load(folder)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def edit(folder: Path, change: Callable[[dict], object]) -> None:
    facts = json.loads((folder / FACTS).read_text())
    change(facts)
    (folder / FACTS).write_text(json.dumps(facts))


def put(folder: Path, weights: bytes) -> None:
    """Weights with a checksum to match: what someone hostile would write."""
    (folder / WEIGHTS).write_bytes(weights)
    edit(folder, lambda facts: facts.update(weights_sha256=hashlib.sha256(weights).hexdigest()))


def test_no_folder(tmp_path: Path):
    refused(tmp_path / "nowhere", "no such folder; give one that nas export wrote")
    refused(tmp_path, "export.json: cannot be read: No such file")


@pytest.mark.parametrize("name", [FACTS, ARCHITECTURE, WEIGHTS])
def test_a_missing_file(copied: Path, name: str):
    (copied / name).unlink()
    refused(copied, f"{name}: cannot be read: No such file")


def test_damaged_weights(copied: Path):
    weights = (copied / WEIGHTS).read_bytes()
    (copied / WEIGHTS).write_bytes(weights[:100])
    refused(copied, "model.safetensors: damaged, its checksum")
    (copied / WEIGHTS).write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    refused(copied, "model.safetensors: damaged, its checksum")


def test_weights_that_are_a_pickle_are_not_opened(copied: Path, tmp_path: Path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "boom",))

    put(copied, pickle.dumps(Bomb()))
    refused(copied, "not a safetensors file")
    put(copied, b"")
    refused(copied, "not a safetensors file")
    assert not (tmp_path / "boom").exists()


def test_code_in_the_folder_is_not_run(copied: Path, tmp_path: Path):
    for name in (CODE, EXAMPLE):
        (copied / name).write_text(f"open({str(tmp_path / 'boom')!r}, 'w')")
    load(copied)
    assert not (tmp_path / "boom").exists()


def test_weights_of_other_names_shapes_and_types(copied: Path):
    tensors = tensors_of((copied / WEIGHTS).read_bytes())
    bias = tensors.pop("head.linear.bias")
    put(copied, save(tensors))
    refused(copied, r"not the weights of this network: it holds [0-9,]+ parameters")
    put(copied, save({**tensors, "head.linear.bios": bias}))
    refused(copied, r"holds nothing where head.linear.bias is torch.float32 \(10,\)")
    put(copied, save({**tensors, "head.linear.bias": bias[None].clone()}))
    refused(copied, r"holds torch.float32 \(1, 10\) where head.linear.bias is")
    put(copied, save({**tensors, "head.linear.bias": bias.double()}))
    refused(copied, "holds torch.float64")
    put(copied, save({**tensors, "head.linear.bias": bias, "more\nlines": torch.zeros(0)}))
    refused(copied, "which has no more")


@pytest.mark.parametrize(("text", "match"), [
    ("", "export.json: Invalid JSON"),
    ("[" * 100_000, "export.json: Invalid JSON"),
    ("[]", "export.json"),
    ("{}", "export.json: network: Field required; export it again"),
    ('{"a": "\\u0000', "export.json"),
])
def test_facts_that_are_not_facts(copied: Path, text: str, match: str):
    (copied / FACTS).write_text(text)
    refused(copied, match)


@pytest.mark.parametrize(("change", "match"), [
    (lambda f: f.update(format=2), "format"),
    (lambda f: f.update(classes=[]), "classes"),
    (lambda f: f.update(classes=["a", "b"]), "parameters"),
    (lambda f: f["input"].update(channels=3), "normalisation must have 3 mean and std"),
    (lambda f: f["input"].update(resolution=10**9), "input.resolution"),
    (lambda f: f["normalisation"].update(std=[0.0]), "must be above 0"),
    (lambda f: f["normalisation"].update(mean=["x"]), r"normalisation.mean.0"),
    (lambda f: f["network"].update(id="0\n"), r"describes network \w+, and export.json 0\\n"),
    (lambda f: f["costs"].update(params=1), "parameters, and export.json one of 1"),
])
def test_facts_that_do_not_fit(copied: Path, change: Callable[[dict], object], match: str):
    edit(copied, change)
    refused(copied, match)


def test_facts_of_a_later_version_may_hold_more(copied: Path):
    edit(copied, lambda facts: facts.update(licence="MIT"))
    load(copied)


def test_an_architecture_that_is_not_one(copied: Path):
    (copied / ARCHITECTURE).write_text("network: {depth: [1, 2]}")
    refused(copied, r"holds a choice \(depth\) where one network is wanted")
    (copied / ARCHITECTURE).write_text("network: {depth: 1000, width: 16384, stages: 8}")
    refused(copied, "describes network")
    (copied / ARCHITECTURE).write_text("network: &a [*a]\nhuh: 1\n")
    refused(copied, "architecture.yaml")
    (copied / ARCHITECTURE).write_text("network: {dept: 1}\nhuh: 1\n")
    refused(copied, "architecture.yaml")


def test_a_network_of_absurd_size_costs_no_memory(copied: Path):
    (copied / ARCHITECTURE).write_text("network: {depth: 1000, width: 16384, stages: 8}")
    from nas.cost import cost
    from nas.plan import plan
    from nas.study import load_study

    architecture = load_study(copied / ARCHITECTURE).space.decode({})
    params = cost(plan(architecture, (1, 8, 8), 10)).params
    edit(copied, lambda f: (f["network"].update(id=architecture.id), f["costs"].update(params=params)))
    refused(copied, "not the weights of this network")
