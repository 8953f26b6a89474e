"""A training that is stopped at a rung and gone on with later is the training that was never stopped."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from nas import snapshots
from nas.evaluate import TrainingEvaluator
from nas.evaluation import Job, Progress
from nas.settings import Data
from nas.study import study_from_text

pytestmark = pytest.mark.slow

TEXT = """
name: one
network: {stem: {kind: conv3x3, width: 4}, stages: 2, depth: 1, width: {first: 4, growth: 2}, se_ratio: 1/4}
recipe: {epochs: 4, precision: float32}
objectives: {accuracy: max}
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path))


def job(rungs: tuple[int, ...] = (1, 2), text: str = TEXT) -> Job:
    study = study_from_text(text)
    judged = study.space.judge({}, (1, 8, 8), 10)
    return Job("one", 0, judged.architecture, (1, 8, 8), 10, Data(train=100), study.recipe, 0, 4, threads=1,
               rungs=rungs)


def train(one: Job, epochs: int = 99) -> list[Progress]:
    """What training gives, stopped after so many epochs, without the time it took."""
    found = []
    for progress in TrainingEvaluator("cpu")(one):
        found.append(dataclasses.replace(progress, seconds=0.0))
        if len(found) == epochs:
            break
    return found


def kept() -> list[Path]:
    return list((snapshots.cache.root() / "snapshots").glob("*"))


def test_stopped_and_gone_on_with_is_never_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(job(rungs=()))
    assert not kept(), "without rungs nothing is kept"
    assert train(job(), epochs=2) == whole[:2]
    assert len(kept()) == 1
    from nas.train import Trainer
    trained = []
    run_epoch = Trainer.run_epoch
    monkeypatch.setattr(Trainer, "run_epoch", lambda self: trained.append(self.epoch) or run_epoch(self))
    assert train(job()) == whole, "weights and all"
    assert trained == [2, 3], "the first two epochs were not trained again"
    assert not kept(), "a training that has ended needs it no more"


@pytest.mark.parametrize("stop", [1, 2, 3])
@pytest.mark.parametrize("more", ["", ", mixup: 0.2, cutmix: 1.0, flip_test: true"])
def test_a_network_that_grows_is_gone_on_with(stop: int, more: str) -> None:
    """Before, at and after the epoch from which it grows."""
    text = TEXT.replace("depth: 1", "depth: 2").replace("epochs: 4", f"epochs: 4, levels: 1{more}")
    whole = train(job((), text))
    assert train(job((1, 2, 3), text), epochs=stop) == whole[:stop]
    assert len(kept()) == 1
    assert train(job((1, 2, 3), text)) == whole


def test_what_is_kept_is_there_until_the_result_is_taken() -> None:
    """A worker that dies on the way to the driver loses no more than one that dies in its last epoch."""
    training = TrainingEvaluator("cpu")(job())
    while not next(training).done:
        pass
    assert len(kept()) == 1
    training.close()
    assert not kept()


@pytest.mark.parametrize("where", ["folder", "memory://shared"])
def test_what_all_workers_reach(where: str, tmp_path: Path) -> None:
    import fsspec

    shared = str(tmp_path / "shared") if where == "folder" else where
    whole = train(job(rungs=()))
    assert train(dataclasses.replace(job(), artifacts=shared), epochs=2) == whole[:2]
    system, folder = fsspec.url_to_fs(f"{shared}/snapshots")
    assert len(system.ls(folder)) == 1
    assert not kept(), "not on this machine"
    assert train(dataclasses.replace(job(), artifacts=shared)) == whole
    assert system.ls(folder) == []


@pytest.mark.parametrize("where", ["/proc/nowhere", "magic://bucket", "http://127.0.0.1:1/x"])
def test_what_cannot_be_reached_keeps_nothing_and_ends_nothing(where: str) -> None:
    whole = train(job(rungs=()))
    assert train(dataclasses.replace(job(), artifacts=where)) == whole


def test_a_damaged_file_is_left_out() -> None:
    whole = train(job(rungs=()))
    train(job(), epochs=2)
    kept()[0].write_bytes(b"\x00" * 100)
    assert train(job()) == whole


def test_other_trainings_do_not_meet() -> None:
    train(job(), epochs=2)
    other = dataclasses.replace(job(), seed=1)
    assert train(other, epochs=2) != train(job(), epochs=2)
    assert len(kept()) == 2


def test_the_oldest_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    train(job(), epochs=2)
    first = kept()
    monkeypatch.setattr(snapshots, "LARGEST", int(first[0].stat().st_size * 1.5))
    train(dataclasses.replace(job(), seed=1), epochs=2)
    assert len(kept()) == 1
    assert kept() != first


def test_what_a_killed_process_left_half_written_gives_way_first(monkeypatch: pytest.MonkeyPatch) -> None:
    train(job(), epochs=2)
    (whole,) = kept()
    half = whole.with_name(f".{whole.name}.1")
    half.write_bytes(whole.read_bytes())
    os.utime(half, (0, 0))
    monkeypatch.setattr(snapshots, "LARGEST", int(whole.stat().st_size * 2.5))
    train(dataclasses.replace(job(), seed=1), epochs=2)
    assert not half.exists()
    assert whole.exists()
    assert len(kept()) == 2


def test_a_disk_that_cannot_be_written_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(job(rungs=()))
    (tmp_path / "snapshots").write_text("a file where the folder should be")
    assert train(job()) == whole
