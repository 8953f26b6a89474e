"""The lane of a machine: who is in it together, who waits for whom, and what happens where there is none."""

from __future__ import annotations

import errno
import fcntl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from nas.lane import measuring, training


class Visit(NamedTuple):
    kind: str
    asked: float
    began: float
    ended: float


class Processes:
    """Started together or one by one; `visits` are those that have ended."""

    def __init__(self, folder: Path):
        self.log, self.running = folder / "log", list[subprocess.Popen[bytes]]()

    def start(self, kind: str, seconds: float, times: int = 1) -> subprocess.Popen[bytes]:
        main = Path(__file__).with_name("lane_main.py")
        started = subprocess.Popen([sys.executable, str(main), str(self.log), kind, str(seconds), str(times)])
        self.running.append(started)
        return started

    def lines(self) -> list[list[str]]:
        return [line.split() for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def wait_for(self, kind: str, count: int) -> None:
        """Until so many have come in."""
        until = time.monotonic() + 60
        while sum(line == [kind, "began"] for line in self.lines()) < count:
            assert time.monotonic() < until
            time.sleep(0.01)

    def end(self) -> list[Visit]:
        assert [one.wait(60) for one in self.running] == [0] * len(self.running)
        return self.visits()

    def visits(self) -> list[Visit]:
        return [Visit(line[0], *map(float, line[1:])) for line in self.lines() if len(line) == 4]


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    found = Processes(tmp_path)
    yield found
    for one in found.running:
        one.kill()
        one.wait()


def overlap(one: Visit, other: Visit) -> bool:
    return one.began < other.ended and other.began < one.ended


@pytest.mark.slow
def test_a_measurement_is_alone_and_waits_for_no_new_training(processes: Processes) -> None:
    """Three processes train without a pause; two measurements come: each is let in once the epochs under way end."""
    for _ in range(3):
        processes.start("training", 0.15, 40)
    processes.wait_for("training", 12)
    for _ in range(2):
        processes.start("measuring", 0.4)
    processes.wait_for("measuring", 2)
    visits = processes.end()
    trainings = [one for one in visits if one.kind == "training"]
    measurements = sorted((one for one in visits if one.kind == "measuring"), key=lambda one: one.began)
    assert len(measurements) == 2
    assert any(overlap(one, other) for one, other in pairwise(trainings)), "trainings share the lane"
    for one in measurements:
        assert not any(overlap(one, other) for other in visits if other is not one)
        between = [other for other in trainings if one.asked + 0.02 < other.began < one.began]
        assert between == [], "who waits to measure goes before trainings"
    assert max(one.began for one in trainings) > measurements[1].ended, "and they go on afterwards"


@pytest.mark.slow
@pytest.mark.parametrize(("dead", "other"), [("measuring", "training"), ("training", "measuring")])
def test_a_killed_process_leaves_the_lane(processes: Processes, dead: str, other: str) -> None:
    killed = processes.start(dead, 1000)
    processes.wait_for(dead, 1)
    processes.start(other, 0.0)
    time.sleep(1.0)
    assert processes.visits() == []
    killed.kill()
    processes.wait_for(other, 1)


def test_one_that_waits_holds_new_trainings_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In threads, each with files of its own, which is what the locks go by."""
    monkeypatch.setenv("NAS_CACHE", str(tmp_path))
    order: list[str] = []

    def visit(kind: str) -> None:
        with measuring() if kind == "measures" else training():
            order.append(kind)

    def begun(kind: str) -> threading.Thread:
        one = threading.Thread(target=visit, args=(kind,))
        one.start()
        time.sleep(0.1)
        return one

    with training():
        begun("shares").join()
        waiting = [begun("measures"), begun("waits")]
        assert order == ["shares"]
    for one in waiting:
        one.join(10)
    assert order == ["shares", "measures", "waits"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_there_is_no_lane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def unsupported(handle: int, kind: int) -> None:
        raise OSError(number, "no locks here")

    monkeypatch.setenv("NAS_CACHE", str(tmp_path))
    monkeypatch.setattr(fcntl, "flock", unsupported)
    with training(), measuring() as laned:
        assert not laned


def test_a_cache_that_cannot_be_written_has_no_lane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "file"))
    with training(), measuring() as laned:
        assert not laned
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "fine"))
    with measuring() as laned:
        assert laned
