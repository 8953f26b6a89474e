"""A disk that fills up, and whose weights are kept on it."""

from __future__ import annotations

import dataclasses
import errno
import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from search_cases import World, study, summary
from search_processes import MAIN, environment

from nas.checkpoint import copy_of, read_checkpoint
from nas.errors import DiskFull
from nas.settings import Search
from nas.store import LeaseLost, State

SIZES = (200, 260, 330, 400, 520)       # kB; the whole search takes more than 540
MANY_SIZES = range(98, 548, 15)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, to be resized: `mount -o remount,size=...`."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "nas-test", disk], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def resize(disk: Path, kilobytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", disk], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", SIZES)
def test_a_full_disk_loses_nothing(small_disk: Path, kilobytes: int, tmp_path: Path) -> None:
    search_until_full(small_disk, kilobytes, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("kilobytes", MANY_SIZES)
def test_a_full_disk_of_any_size_loses_nothing(small_disk: Path, kilobytes: int, tmp_path: Path) -> None:
    search_until_full(small_disk, kilobytes, tmp_path)


def search_until_full(small_disk: Path, kilobytes: int, tmp_path: Path) -> None:
    """The search says so with its own exit code, the database is whole, and with more room it goes on."""
    resize(small_disk, kilobytes)
    arguments, variables = [*MAIN, str(small_disk), "local", "12", "0", "60"], environment(NAS_TEST_WEIGHTS="40000")
    done = subprocess.run(arguments, env=variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 4, done.stderr
    assert "make room, then run the same command again" in done.stderr
    before = {}
    if (small_disk / "nas.db").stat().st_size:
        connection = sqlite3.connect(small_disk / "nas.db")
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'nas_trial'").fetchone():
            before = dict(connection.execute("SELECT number, point FROM nas_trial WHERE state = 'COMPLETE'"))
        connection.close()

    resize(small_disk, 8_000)
    again = subprocess.run(arguments, env=variables, capture_output=True, text=True, timeout=120)
    assert again.returncode == 0, again.stderr
    connection = sqlite3.connect(small_disk / "nas.db")
    after = dict(connection.execute("SELECT number, point FROM nas_trial"))
    connection.close()
    assert len(after) == 12
    assert before.items() <= after.items()
    world = World(small_disk)
    assert {t.state for t in world.trials()} <= {State.COMPLETE, State.PRUNED}
    straight = World(tmp_path)
    straight.search(study(trials=12))
    assert summary(world.trials()) == summary(straight.trials()), "as if there had been room"
    for one in (world, straight):
        one.ledger.close()


def test_a_disk_without_room_for_weights(any_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, weights: bytes, copy: str) -> str:
        raise DiskFull(f"{path}: {os.strerror(errno.ENOSPC)}; make room, then run the same command again")

    monkeypatch.setattr("nas.search.weights.write_checkpoint", full)
    fake = dataclasses.replace(any_world.fake, weights=1)
    with pytest.raises(DiskFull):
        any_world.search(study(trials=4), fake)
    assert {t.state for t in any_world.trials()} <= {State.WAITING, State.PRUNED, State.COMPLETE}
    monkeypatch.undo()
    any_world.search(study(trials=4), fake)
    assert {t.state for t in any_world.trials()} <= {State.PRUNED, State.COMPLETE}


def test_a_worker_without_room_on_its_disk(any_world: World) -> None:
    """Nothing more is begun, the search says so as it says of its own disk, and no trial has failed for it."""
    wanted = study(trials=6, stopping="none", epochs=3)
    driver = any_world.search(wanted, dataclasses.replace(any_world.fake, full=(2,)))
    assert isinstance(driver.mistake, DiskFull)
    assert str(driver.mistake) == "/cache: No space left on device; make room, then run the same command again"
    assert {t.state for t in any_world.trials()} <= {State.WAITING, State.COMPLETE}
    again = any_world.search(wanted)
    assert again.mistake is None
    assert {t.state for t in any_world.trials()} == {State.COMPLETE}


@pytest.mark.parametrize("keep", ["front", "all", "none"])
def test_whose_weights_are_kept(keep: str, world: World) -> None:
    wanted = study(trials=16, stopping="none", epochs=2)
    wanted = dataclasses.replace(wanted, search=wanted.search.model_copy(update={"keep": keep}))
    driver = world.search(wanted, dataclasses.replace(world.fake, weights=1))
    files = {int(path.stem.partition("-")[0]) for path in (world.folder / "fake" / "checkpoints").glob("*.safetensors")}
    recorded = {t.number for t in world.trials() if t.checkpoint}
    assert files == recorded
    if keep == "front":
        assert {t.number for t in driver.front()} <= files < set(range(16))
    else:
        assert files == (set(range(16)) if keep == "all" else set())
    assert Search.model_fields["keep"].default == "front"


def test_a_driver_that_lost_its_lease_writes_no_weights(world: World) -> None:
    world.ledger.create_study("fake", study(trials=1).spec())
    world.ledger.take_lease("fake", 0.01)
    driver = world.driver(study(trials=1, stopping="none", epochs=1))
    job = driver.next_job()
    assert job is not None
    time.sleep(0.05)
    other = World(world.folder)
    other.ledger.take_lease("fake")
    (progress,) = dataclasses.replace(world.fake, weights=10)(job)
    with pytest.raises(LeaseLost):
        driver.report(job.number, progress)
    assert not list(world.folder.rglob("*.safetensors"))
    other.ledger.close()


@pytest.mark.parametrize("keep", ["front", "all"])
def test_a_quota_keeps_what_is_worth_most(keep: str, world: World) -> None:
    """Also over a restart: never more bytes than the quota, and the most accurate of the front among them."""
    wanted = study(trials=8, stopping="none", epochs=2)
    more = {"keep": keep, "quota": 450}
    wanted = dataclasses.replace(wanted, search=wanted.search.model_copy(update=more))
    fake = dataclasses.replace(world.fake, weights=100)
    world.search(wanted, fake)
    driver = world.search(dataclasses.replace(wanted, budget=wanted.budget.model_copy(update={"trials": 16})), fake)
    files = list((world.folder / "fake" / "checkpoints").glob("*.safetensors"))
    assert len(files) == 4
    assert {int(path.stem.partition("-")[0]) for path in files} == {t.number for t in world.trials() if t.checkpoint}
    by_accuracy = sorted(driver.front(), key=lambda t: -(t.accuracy or 0))
    assert {t.number for t in by_accuracy[:4]} <= {int(path.stem.partition("-")[0]) for path in files}
    none = dataclasses.replace(wanted, name="none", search=wanted.search.model_copy(update={"quota": 0}))
    world.search(none, fake)
    assert not list((world.folder / "none").rglob("*.safetensors"))


def test_what_ran_out_of_memory_is_remembered(world: World) -> None:
    """Nothing larger is tried again, in this run or the next."""
    driver = world.search(study(trials=10, stopping="none", epochs=2), dataclasses.replace(world.fake, memory=(3,)))
    trials = world.trials()
    assert [t.number for t in trials if t.state is State.OUT_OF_MEMORY] == [3]
    assert all(t.activations < trials[3].activations for t in trials[4:])
    assert driver.tally.infeasible["memory"].count > 0
    world.search(study(trials=16, stopping="none", epochs=2))
    assert all(t.activations < trials[3].activations for t in world.trials()[10:])
    world.ledger.retry_trials("fake")
    world.search(study(trials=16, stopping="none", epochs=2))
    assert {t.state for t in world.trials()} == {State.COMPLETE}


def test_what_a_killed_writer_left_is_swept_and_nothing_else(world: World) -> None:
    """A study of the same name in another database has its weights in the same folder: they stay."""
    wanted = study(trials=4, stopping="none", epochs=1)
    world.search(wanted, dataclasses.replace(world.fake, weights=10))
    folder = world.folder / "fake" / "checkpoints"
    (folder / "notes.txt").write_text("mine")
    before = sorted(folder.iterdir())
    (folder / ".7-01234567.safetensors.999999999").write_bytes(b"half")
    other = World(world.folder, url=f"sqlite:///{world.folder / 'other.db'}")
    other.search(dataclasses.replace(wanted, seed=5), dataclasses.replace(world.fake, weights=20))
    left = set(folder.iterdir())
    assert set(before) < left
    assert not any(".999999999" in path.name for path in left)
    assert {world.folder / t.checkpoint for w in (world, other) for t in w.trials() if t.checkpoint} <= left
    other.ledger.close()


def test_a_quota_counts_what_another_study_needs(world: World) -> None:
    wanted = study(trials=4, stopping="none", epochs=1)
    fake = dataclasses.replace(world.fake, weights=100)
    world.search(dataclasses.replace(wanted, search=wanted.search.model_copy(update={"keep": "all"})), fake)
    world.search(dataclasses.replace(wanted, name="other"), fake)
    tight = {"keep": "all", "quota": 450}
    more = study(trials=12, stopping="none", epochs=1)
    more = dataclasses.replace(more, search=more.search.model_copy(update=tight))
    world.search(more, fake)
    files = {int(path.stem.partition("-")[0]) for path in (world.folder / "fake" / "checkpoints").iterdir()}
    assert files == {0, 1, 2, 3}, "those that the other study needs"


@pytest.mark.parametrize("kind", ["folder", "url"])
def test_weights_are_copied_to_where_all_machines_reach(kind: str, world: World, tmp_path: Path) -> None:
    """So that the front is not lost with the machine of the driver; a copy goes when its network is pushed away."""
    import fsspec

    artifacts = str(tmp_path / "shared") if kind == "folder" else f"memory://{tmp_path.name}"
    wanted = study(trials=16, stopping="none", epochs=2)
    wanted = dataclasses.replace(wanted, search=wanted.search.model_copy(update={"artifacts": artifacts}))
    world.search(wanted, dataclasses.replace(world.fake, weights=10))
    system, there = fsspec.url_to_fs(f"{artifacts}/fake/checkpoints")
    kept = {t.checkpoint: t for t in world.trials() if t.checkpoint}
    assert {f"fake/checkpoints/{Path(path).name}" for path in system.ls(there, detail=False)} == set(kept)
    for name, trial in kept.items():
        (world.folder / name).unlink()
        copy = copy_of(name, artifacts)
        assert read_checkpoint(world.folder / name, trial.checkpoint_sha256, copy) == f"weights {trial.number}".encode(
            ).ljust(10)
