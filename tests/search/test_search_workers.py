"""Workers that are killed at random moments, under real trainings: each goes on from its last snapshot."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from itertools import pairwise
from pathlib import Path

import pytest
from search_cases import World, study, summary
from search_processes import beside, children, search, workers
from search_training import Trained

from nas.search.driver import _CRASHES
from nas.store import State

EPOCHS = 9


def workers_killed(
    folder: Path, kills: int, trials: int, apart: int, monkeypatch: pytest.MonkeyPatch,
) -> dict[str, float]:
    """A search on Ray whose workers are killed, compared with one that nothing disturbed; its figures.

    apart: the epochs between two kills, at most.
    """
    log, rng = folder / "trained.log", random.Random(kills)
    process = search(folder, "ray", trials, 0.05, NAS_TEST_TRAINING=str(log), NAS_CACHE=str(folder / "cache"))
    left, wanted = kills, 5
    while process.poll() is None:
        time.sleep(rng.uniform(0.01, 0.1))
        begun = sum(len(epochs) for epochs in Trained(log).told("began").values())
        running = sorted(workers(process.pid))
        if left and running and begun > wanted:     # six that fail in a row would be the end of the search
            wanted = begun + rng.randint(2, apart)
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(running), signal.SIGKILL)
                left -= 1
    ended = time.monotonic()
    assert process.returncode == 0
    while (orphans := children(process.pid)) and time.monotonic() < ended + 10:
        time.sleep(0.1)
    assert not orphans
    gone = round(time.monotonic() - ended, 1)
    assert not left, "it was done before its workers were killed often enough"

    world, straight = World(folder), World(beside(folder))
    monkeypatch.setenv("NAS_CACHE", str(folder / "other" / "cache"))
    straight.search(study(trials=trials, stopping="none"), Trained(folder / "other" / "trained.log"))
    done = [trial for trial in world.trials() if trial.state is State.COMPLETE]
    lost = [trial for trial in world.trials() if trial.state is not State.COMPLETE]
    assert len(done) + len(lost) == trials
    assert all("the worker died" in trial.reason for trial in lost)
    assert len(lost) * (_CRASHES + 1) <= kills
    assert summary(done) == [one for trial, one in zip(world.trials(), summary(straight.trials()), strict=True)
                             if trial in done]
    curves, undisturbed = ([[(e.epoch, e.train_loss, e.loss, e.accuracy) for e in one.ledger.epochs("fake")[t.number]]
                            for t in done] for one in (world, straight))
    assert curves == undisturbed
    again = repeated(Trained(log).told("trained"))
    assert again <= kills, "one killed between the end of an epoch and its snapshot trains that epoch again"
    more = sum(len(epochs) for epochs in Trained(log).told("began").values()) - EPOCHS * len(done)
    for one in (world, straight):
        one.ledger.close()
    return {"kills": kills, "trials": trials, "complete": len(done), "killed thrice": len(lost),
            "epochs trained twice": again, "epochs begun beyond those needed": more,
            "seconds to no process": gone}


def repeated(trained: dict[int, list[int]]) -> int:
    """How many epochs were trained twice; none was left out, and none was gone back further than by one."""
    steps = [after - before for epochs in trained.values() for before, after in pairwise(epochs)]
    assert set(steps) <= {0, 1}
    return steps.count(0)


@pytest.mark.slow
def test_workers_that_are_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers_killed(tmp_path, 3, 5, EPOCHS, monkeypatch)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_workers_that_are_killed_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    print(workers_killed(tmp_path, 100, 220, 2 * EPOCHS, monkeypatch))
