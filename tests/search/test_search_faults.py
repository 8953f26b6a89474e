"""Trials that go wrong in every way there is, in one search: each ends as what it is, and its neighbours do not notice.

One that is refused memory is the last: nothing larger is tried after it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from search_cases import World, brute_front, study, summary
from search_processes import beside
from search_training import Trained
from test_search_contract import check_projection

from nas.evaluation import Progress
from nas.store import State

REASONS = {
    "failing": (1, "diverged: loss nan at epoch 2"),
    "raising": (2, "ValueError: no such thing as trial 2; traceback in the log"),
    "infinite": (4, "accuracy at epoch 2 is inf"),
    "ending": (5, "the training ended after epoch 1 of 3, without a result"),
    "nan": (7, "accuracy at epoch 2 is nan"),
    "killed": (9, "the worker died: "),
    "memory": (11, "out of memory, also at half the batch"),
}


def test_neighbours_of_what_goes_wrong_do_not_notice(any_world: World) -> None:
    """Every kind of failure; this process itself cannot be killed for it, a worker can."""
    kinds = {kind: found for kind, found in REASONS.items() if kind != "killed" or any_world.executor == "ray"}
    fake = dataclasses.replace(any_world.fake, **{kind: (number,) for kind, (number, _) in kinds.items()})
    wanted = study(stopping="none", epochs=3)
    driver = any_world.search(wanted, fake)
    trials, curves = any_world.trials(), any_world.ledger.epochs("fake")
    for kind, (number, reason) in kinds.items():
        assert trials[number].state is (State.OUT_OF_MEMORY if kind == "memory" else State.FAILED)
        assert trials[number].reason.startswith(reason)
        assert "\n" not in trials[number].reason
        assert trials[number].checkpoint is None

    clean = World(beside(any_world.folder))
    clean.search(wanted)
    wrong = {number for number, _ in kinds.values()}
    fine = [number for number in range(12) if number not in wrong]
    assert all(trials[number].state is State.COMPLETE for number in fine)
    assert [summary(trials)[number] for number in fine] == [summary(clean.trials())[number] for number in fine]
    assert [t.point for t in trials] == [t.point for t in clean.trials()]
    assert [curves[number] for number in fine] == [clean.ledger.epochs("fake")[number] for number in fine]
    assert {t.number for t in driver.front()} == brute_front(trials, wanted)
    check_projection(any_world)
    clean.ledger.close()


@pytest.mark.slow
def test_neighbours_of_trainings_that_go_wrong_do_not_notice(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With real training: out of memory is tried once more, from the start, with half the batch at a time."""
    wanted = study(stopping="none", epochs=2, trials=6)
    found = Trained(tmp_path / "trained.log", diverging=(1,), memory_once=(3,), memory=(5,))
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    world.search(wanted, found)
    trials = world.trials()
    states = [State.COMPLETE] * 6
    states[1], states[5] = State.FAILED, State.OUT_OF_MEMORY
    assert [t.state for t in trials] == states
    assert trials[1].reason.startswith("training loss is nan in epoch 2")
    assert trials[5].reason == "out of memory, also at half the batch: CUDA out of memory. Tried to allocate 2.00 GiB"
    assert found.told("began")[3] == found.told("began")[5] == [1, 2, 1, 2]
    assert found.told("trained") == {number: {1: [1], 3: [1, 1, 2], 5: [1, 1]}.get(number, [1, 2])
                                     for number in range(6)}

    clean = World(beside(tmp_path))
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "other" / "cache"))
    clean.search(wanted, Trained(tmp_path / "other" / "trained.log"))
    fine = (0, 2, 4)
    assert [summary(trials)[number] for number in fine] == [summary(clean.trials())[number] for number in fine]
    losses, undisturbed = ([[(e.train_loss, e.loss) for e in one.ledger.epochs("fake")[number]] for number in fine]
                           for one in (world, clean))
    assert losses == undisturbed
    kept, as_kept = ([one.trials()[number].checkpoint_sha256 for number in fine] for one in (world, clean))
    assert all(mine == other for mine, other in zip(kept, as_kept, strict=True) if mine and other)
    clean.ledger.close()


@pytest.mark.parametrize(("name", "value", "reason"), [
    ("loss", float("nan"), "loss at epoch 1 is nan"), ("loss", float("inf"), "loss at epoch 1 is inf"),
    ("accuracy", float("-inf"), "accuracy at epoch 1 is -inf"),
])
def test_what_is_no_number_is_a_failure(world: World, name: str, value: float, reason: str) -> None:
    driver = world.driver(study(trials=1))
    job = driver.next_job()
    assert job is not None
    good = {"loss": 1.0, "accuracy": 0.5}
    assert not driver.report(job.number, Progress(1, **{**good, name: value}))
    (trial,) = world.trials()
    assert (trial.state, trial.reason) == (State.FAILED, reason)
    driver.close()
