"""A trial of a real study as a folder: what is in it, that it is the network in the database, what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load as tensors_of
from safetensors.torch import save, save_file

import nas
from nas.data import load as load_data
from nas.errors import NasError
from nas.export import checks, choose, load, writing
from nas.export import export as export_in
from nas.exported.manifest import FILES, ONNX, PT2
from nas.store import State
from nas.studies import StoredStudy, open_study
from nas.study import load_study
from nas.train import accuracy_and_loss

pytestmark = pytest.mark.slow
export = partial(export_in, formats=())     # the files of other runtimes take seconds: test_export_formats.py

ALONE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"nas", "optuna", "ray", "sqlalchemy", "pydantic", "ruamel", "pandas"}:
            raise AssertionError(f"the exported folder imports {name}")

sys.meta_path.insert(0, Refuse())
sys.path.insert(0, sys.argv[1])
import json
from safetensors.torch import load_file
from example import load, predict


part = load_file(sys.argv[2])
images, labels = part["images"], part["labels"]
network = load()
assert not network.training
names = [name for batch in images.split(512) for name in predict(network, batch)]
classes = json.load(open(sys.argv[1] + "/export.json"))["classes"]
right = sum(name == classes[label] for name, label in zip(names, labels.tolist(), strict=True))
print(right / len(names))
"""


@pytest.fixture(scope="module")
def number(trained: StoredStudy) -> int:
    return choose(trained, "best")[0]


@pytest.fixture(scope="module")
def exported(trained: StoredStudy, number: int) -> Path:
    return export(trained, number)


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    """An export that may be spoilt."""
    return Path(shutil.copytree(exported, tmp_path / "copied"))


@pytest.fixture
def fresh(trained: StoredStudy) -> StoredStudy:
    """The same study read anew, whose records may be changed."""
    return StoredStudy(trained.name, trained.storage, trained.home)


def changed(stored: StoredStudy, number: int, **values: object) -> StoredStudy:
    record = stored.records[number]
    first = {name: value for name, value in values.items() if name in ("accuracy", "loss")}
    trainings = (replace(record.trainings[0], **first), *record.trainings[1:])      # type: ignore[arg-type]
    stored.records[number] = replace(record, trainings=trainings, **values)     # type: ignore[arg-type]
    return stored


def in_state(stored: StoredStudy, state: State) -> int:
    return next(number for number, record in stored.records.items() if record.state is state)


# --- the folder


def test_the_default_place_and_the_files(trained: StoredStudy, number: int, exported: Path):
    assert exported == trained.folder / "export" / f"trial-{number}"
    assert {path.name for path in exported.iterdir()} == set(FILES) - {PT2, ONNX}
    assert [path.name for path in exported.parent.iterdir()] == [exported.name]


def test_the_facts_are_those_of_the_database(trained: StoredStudy, number: int, exported: Path):
    record, facts = trained.records[number], json.loads((exported / "export.json").read_text())
    assert facts["validation"]["accuracy"] == record.accuracy
    assert facts["validation"]["images"] == len(load_data(trained.study.data).validation.labels)
    assert {name: facts["costs"][name] for name in ("params", "macs", "activations")} == {
        "params": record.params, "macs": record.macs, "activations": record.activations}
    assert facts["data"]["checksum"] == record.evaluation_key.data_key
    assert facts["network"] == {"id": record.architecture_id, "line": record.line}
    assert facts["weights_sha256"] == record.checkpoint_sha256
    assert facts["training"]["recipe"] == trained.study.recipe.model_dump()


def test_the_checks_say_exact(exported: Path):
    found = json.loads((exported / "checks.json").read_text())
    assert found["accuracy"]["exact"]
    assert found["accuracy"]["exported"] == found["accuracy"]["database"]
    assert found["loss"]["exported"] == found["loss"]["database"]


def test_architecture_yaml_is_a_study_of_one_network(trained: StoredStudy, number: int, exported: Path):
    study = load_study(exported / "architecture.yaml", ["recipe.schedule=one_cycle", "name=train-again"])
    assert study.space.axes == ()
    assert study.space.decode({}).id == trained.records[number].architecture_id
    assert study.data == trained.study.data


def test_a_long_study_name_still_gives_a_name(trained: StoredStudy, number: int):
    stored = StoredStudy("x" * 64, trained.storage, trained.home)
    stored.__dict__["study"] = trained.study
    study = nas.study.study_from_text(writing._architecture(stored, trained.records[number]))
    assert study.renamed(f"train-{study.name}")


def test_exporting_twice_gives_the_same_files(trained: StoredStudy, number: int, exported: Path):
    before = {path.name: path.read_bytes() for path in exported.iterdir()}
    assert export(trained, number) == exported
    assert {path.name: path.read_bytes() for path in exported.iterdir()} == before


def test_every_network_of_the_front(trained: StoredStudy, tmp_path: Path):
    for number in choose(trained, "front"):
        folder = export(trained, number, tmp_path / str(number))
        assert json.loads((folder / "checks.json").read_text())["accuracy"]["exact"]


# --- the network in it


def test_without_nas_it_has_the_accuracy_of_the_database(
    trained: StoredStudy, number: int, exported: Path, tmp_path: Path
):
    part = load_data(trained.study.data).validation
    validation = tmp_path / "validation.safetensors"
    save_file({"images": torch.tensor(part.images), "labels": torch.tensor(part.labels)}, validation)
    done = subprocess.run([sys.executable, "-I", "-B", "-W", "error", "-c", ALONE, str(exported), str(validation)],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == trained.records[number].accuracy


def test_the_example_runs_as_written(exported: Path, tmp_path: Path):
    done = subprocess.run([sys.executable, "-B", "-W", "error", str(exported / "example.py")], cwd=tmp_path,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split(",")) == 4


def test_load_has_the_accuracy_of_the_database(trained: StoredStudy, number: int, exported: Path):
    network, part = nas.load(exported), load_data(trained.study.data).validation
    found = accuracy_and_loss(network, part, network.preprocess.mean, network.preprocess.std)
    record = trained.records[number]
    assert found == (record.accuracy, record.loss)
    with torch.inference_mode():
        logits = network(network.preprocess(torch.tensor(part.images)))
    assert int((logits.argmax(1) == torch.tensor(part.labels)).sum()) == round(found[0] * len(part.labels))


def test_load_gives_a_network_ready_to_use(exported: Path):
    network = load(str(exported))
    assert network.classes == tuple("0123456789")
    assert not any(module.training for module in network.modules())
    assert all(parameter.requires_grad and parameter.device.type == "cpu" for parameter in network.parameters())
    weights = tensors_of((exported / "model.safetensors").read_bytes())
    assert {name: tensor.tolist() for name, tensor in network.state_dict().items()} == {
        name: tensor.tolist() for name, tensor in weights.items()}
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in network.parameters() if p.ndim == 4)


def test_the_seed_of_torch_is_left_alone(exported: Path):
    torch.manual_seed(1)
    first = torch.rand(1)
    torch.manual_seed(1)
    load(exported)
    assert torch.equal(torch.rand(1), first)


# --- what is refused at export


def test_trials_without_weights(fresh: StoredStudy, number: int):
    with pytest.raises(NasError, match=r"no trial 99; weights are kept of trials \d"):
        export(fresh, 99)
    with pytest.raises(NasError, match=r"was stopped early, after 1 epoch, so that it has no weights; weights"):
        export(fresh, in_state(fresh, State.PRUNED))
    with pytest.raises(NasError, match="failed: loss is nan; weights"):
        export(changed(fresh, number, state=State.FAILED, reason="loss is nan", checkpoint=None), number)
    with pytest.raises(NasError, match="ran out of memory"):
        export(changed(fresh, number, state=State.OUT_OF_MEMORY, reason=""), number)
    with pytest.raises(NasError, match="is not trained yet"):
        export(changed(fresh, number, state=State.RUNNING), number)
    with pytest.raises(NasError, match="too far from the front for its weights to be kept"):
        export(changed(fresh, number, state=State.COMPLETE, checkpoint=None), number)
    assert not any(path.name.startswith(".") for path in (fresh.folder / "export").iterdir())


def test_a_checkpoint_that_is_gone_or_damaged(fresh: StoredStudy, number: int):
    path = fresh.home / str(fresh.records[number].checkpoint)
    weights = path.read_bytes()
    path.unlink()
    try:
        with pytest.raises(NasError, match="cannot be read: No such file"):
            export(fresh, number)
        path.write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
        with pytest.raises(NasError, match="damaged, its checksum is not the one in the database"):
            export(fresh, number)
    finally:
        path.write_bytes(weights)


def test_weights_that_are_not_numbers(fresh: StoredStudy, number: int, tmp_path: Path):
    tensors = tensors_of((fresh.home / str(fresh.records[number].checkpoint)).read_bytes())
    tensors["head.linear.bias"][0] = torch.nan
    (tmp_path / "nan.safetensors").write_bytes(save(tensors))
    stored = changed(fresh, number, checkpoint=str(tmp_path / "nan.safetensors"), checkpoint_sha256=None)
    with pytest.raises(NasError, match=r"weights are not finite numbers \(head.linear.bias, 1 tensors in all\)"):
        export(stored, number, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weights_of_another_network(fresh: StoredStudy, number: int, tmp_path: Path):
    other = next(r for r in fresh.records.values() if r.checkpoint and r.number != number)
    stored = changed(fresh, number, checkpoint=other.checkpoint, checkpoint_sha256=other.checkpoint_sha256)
    with pytest.raises(NasError, match="not the weights of this network"):
        export(stored, number, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_another_accuracy_than_the_database_says(fresh: StoredStudy, number: int, tmp_path: Path):
    record = fresh.records[number]
    said = record.accuracy or 0
    with pytest.raises(NasError, match=rf"accuracy {said:.6f} .* database says {said - 0.1:.6f}") as error:
        export(changed(fresh, number, accuracy=said - 0.1), number, tmp_path / "out")
    assert "\n" not in str(error.value)
    with pytest.raises(NasError, match="the database says"):
        export(changed(fresh, number, accuracy=said, loss=(record.loss or 0) * 1.01), number, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_one_image_apart_is_allowed_and_told(fresh: StoredStudy, number: int, tmp_path: Path):
    images = len(load_data(fresh.study.data).validation.labels)
    near = (fresh.records[number].accuracy or 0) - 1 / images
    folder = export(changed(fresh, number, accuracy=near), number, tmp_path / "out")
    assert json.loads((folder / "checks.json").read_text())["accuracy"]["exact"] is False


def test_other_costs_than_the_database_says(fresh: StoredStudy, number: int, tmp_path: Path):
    with pytest.raises(NasError, match="its costs come out as"):
        export(changed(fresh, number, macs=1), number, tmp_path / "out")


def test_other_data_than_it_was_trained_on(fresh: StoredStudy, number: int):
    key = replace(fresh.records[number].evaluation_key, data_key="0" * 64)
    with pytest.raises(NasError, match="are not those that trial"):
        export(changed(fresh, number, evaluation_key=key), number)


def test_a_model_py_that_computes_something_else(
    fresh: StoredStudy, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    right, mean, most = writing.source, "self.linear(x.mean((2, 3)))", "self.linear(x.amax((2, 3)))"
    monkeypatch.setattr(writing, "source", lambda plan, about: right(plan, about).replace(mean, most))
    with pytest.raises(NasError, match=r"model\.py: its logits are up to"):
        export(fresh, number, tmp_path / "out")


def test_a_stop_in_the_middle_leaves_the_earlier_export(
    trained: StoredStudy, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = export(trained, number, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(checks, "accuracy_and_loss", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        export(trained, number, folder)
    with pytest.raises(KeyboardInterrupt):
        export(trained, number, tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_export_of_another_trial_is_not_replaced(trained: StoredStudy, number: int, tmp_path: Path):
    other = next(r.number for r in trained.records.values() if r.checkpoint and r.number != number)
    folder = export(trained, number, tmp_path / "out")
    with pytest.raises(NasError, match=f"holds trial {number} of tiny"):
        export(trained, other, folder)


# --- a study that reuses a result


def test_a_reused_trial_is_exported_from_the_study_that_trained_it(trained: StoredStudy, number: int, tmp_path: Path):
    from nas.search.run import run

    home = Path(shutil.copytree(trained.home, tmp_path / "home"))
    again = run(trained.study.renamed("again"), home=home).stored
    reused = next(r for r in again.records.values() if r.reused and r.checkpoint)
    facts = json.loads((export(again, reused.number) / "export.json").read_text())
    assert facts["training"]["study"] == "again"
    assert facts["training"]["trained_by"] == "tiny"


# --- choosing


def test_choose(trained: StoredStudy, fresh: StoredStudy, number: int, tmp_path: Path):
    accuracies = {n: r.accuracy or 0 for n, r in trained.records.items() if r.state is State.COMPLETE}
    assert accuracies[number] == max(accuracies.values())
    assert choose(trained, number) == [number]
    assert number in choose(trained, "front")
    with pytest.raises(NasError, match="was stopped early"):
        choose(trained, in_state(trained, State.PRUNED))
    for record in list(fresh.records.values()):
        changed(fresh, record.number, checkpoint=None)
    with pytest.raises(NasError, match="no network of the front has its weights"):
        choose(fresh, "front")


def test_choose_the_knee(trained: StoredStudy):
    if len(trained.front()) < 3:
        with pytest.raises(NasError, match="has no knee"):
            choose(trained, "knee")
    else:
        assert choose(trained, "knee")[0] in choose(trained, "front")


def test_choose_where_nothing_is_complete(fresh: StoredStudy):
    for record in list(fresh.records.values()):
        changed(fresh, record.number, state=State.FAILED)
    with pytest.raises(NasError, match="nothing to export: All 6 trials failed"):
        choose(fresh, "best")


def test_open_study_gives_the_same(trained: StoredStudy, number: int):
    assert choose(open_study("tiny", trained.storage, trained.home), "best") == [number]


def test_the_weights_file_is_the_checkpoint(trained: StoredStudy, number: int, exported: Path):
    checkpoint = trained.home / str(trained.records[number].checkpoint)
    assert (exported / "model.safetensors").read_bytes() == checkpoint.read_bytes()
