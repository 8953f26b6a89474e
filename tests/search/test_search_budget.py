"""When a search ends and how it goes on: budgets, waiting trials, changed settings, and `run` from end to end."""

from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from search_cases import FACTS, Fake, World, study, summary

import nas
from nas.errors import NasError
from nas.evaluation import Progress
from nas.search import proposals
from nas.search.driver import Driver
from nas.search.fork import forked
from nas.search.pace import Pace
from nas.search.run import Outcome, Silent, run
from nas.search.tenure import tenure
from nas.settings import Budget
from nas.store import Ledger, State
from nas.study import Study


def timed(seconds: float, trials: int | None = None, **changes: object) -> Study:
    """A study with a time budget, never stopped early."""
    return dataclasses.replace(study(stopping="none", **changes), budget=Budget(trials=trials, time=seconds))


def test_the_time_budget_ends_a_search(world: World) -> None:
    fake = dataclasses.replace(world.fake, sleep=0.02)
    first = world.search(timed(1.0, epochs=3), fake)
    assert first.allowance.seconds_left <= 0.5
    assert world.ledger.study("fake").seconds_spent >= 0.5
    begun = len(fake.started())
    assert begun >= 1
    states = {t.state for t in world.trials()}
    assert states <= {State.COMPLETE, State.WAITING}

    world.ledger.add_seconds("fake", 1.0)
    again = world.search(timed(1.0, epochs=3), fake)
    assert again.new_trials == 0
    assert len(fake.started()) == begun


def test_a_trial_that_time_cut_off_waits_and_is_taken_up(world: World) -> None:
    fake = dataclasses.replace(world.fake, sleep=0.2)
    first = world.search(timed(0.5, epochs=5), fake)
    assert [t.state for t in first.trials.values()] == [State.WAITING]
    assert world.optuna().trials[0].state.name == "WAITING"
    again = world.search(timed(1000, trials=2, epochs=5), world.fake)
    assert [t.state for t in world.trials()] == [State.COMPLETE] * 2
    assert again.trials[0].point == first.trials[0].point
    assert [number for number, _ in fake.started()] == [0, 0, 1]
    assert [e.epoch for e in world.ledger.epochs("fake")[0]] == [1, 2, 3, 4, 5]


def test_a_waiting_trial_takes_a_result_that_came_in_meanwhile(world: World) -> None:
    driver = world.driver(study(trials=1, stopping="none"))
    assert driver.next_job() is not None
    driver.close()
    assert world.trials()[0].state is State.WAITING
    world.search(study("other", trials=1, stopping="none"))
    again = world.search(study(trials=1, stopping="none"))
    assert again.trials[0].state is State.COMPLETE
    assert again.trials[0].reused
    assert len(world.fake.started()) == 1


def test_what_comes_after_the_end_is_not_taken(world: World) -> None:
    """A stopped driver takes no more epochs, but the end of a training that is there is not thrown away."""
    driver = world.driver(study(trials=2, stopping="none", epochs=2))
    first, second = driver.next_job(), driver.next_job()
    assert first is not None
    assert second is not None
    driver.stop()
    assert not driver.report(first.number, Progress(1, 1.0, 1.0, 0.5, 0.1))
    driver.report(second.number, Progress(2, 1.0, 1.0, 0.6, 0.1, done=True))
    driver.crashed(first.number, "killed")
    driver.close()
    assert {t.state for t in world.trials()[1:]} == {State.COMPLETE}
    assert world.trials()[0].state is State.WAITING, "what ended the run may have ended the worker"


def home_run(home: Path, wanted: Study, **changes: object) -> tuple[Outcome, Fake]:
    """A run from end to end, data and report included."""
    fake = Fake(home / "started.log", **changes)
    return run(wanted, home=home, evaluate=fake), fake


@pytest.mark.slow
def test_run_from_end_to_end(tmp_path: Path) -> None:
    outcome, fake = home_run(tmp_path, study(trials=10, epochs=3), weights=1)
    assert (outcome.new_trials, outcome.interrupted, outcome.exhausted, outcome.waiting) == (10, False, False, 0)
    assert {path.name for path in (tmp_path / "fake").iterdir()} >= {
        "report.html", "front.csv", "study.yaml", "checkpoints"}
    stored = nas.open_study("fake", home=tmp_path)
    assert len(stored.trials()) == 10
    assert set(stored.front()["number"]) <= set(stored.trials()["number"])
    assert "stage1.depth" in stored.trials().columns

    begun = fake.started()
    again, _ = home_run(tmp_path, study(trials=10, epochs=3))
    assert again.new_trials == 0
    assert fake.started() == begun
    written = nas.load_space(tmp_path / "fake" / "study.yaml")
    assert written.spec() == study(trials=10, epochs=3).spec()
    assert run(written, home=tmp_path, evaluate=fake).new_trials == 0


@pytest.mark.slow
def test_a_fork_begins_with_what_holds_for_both(tmp_path: Path) -> None:
    """A narrower space and another objective keep the results, another recipe none; the same fork is gone on with."""
    first, _ = home_run(tmp_path, study(trials=10, epochs=3, stopping="none"))
    old = first.stored.records
    changed = study(trials=14, epochs=3, stopping="none", objectives="{accuracy: max, params: min}")
    fake = Fake(tmp_path / "second.log")
    outcome = run(changed, home=tmp_path, evaluate=fake, fork=True)
    assert outcome.stored.name == "fake-2"
    new = outcome.stored.records
    assert len(new) == 14
    assert [new[n].architecture_id for n in range(10)] == [old[n].architecture_id for n in range(10)]
    assert all(new[n].reused and new[n].accuracy == old[n].accuracy for n in range(10))
    assert {number for number, _ in fake.started()} == {10, 11, 12, 13}
    again = run(changed, home=tmp_path, evaluate=fake, fork=True)
    assert (again.stored.name, again.new_trials) == ("fake-2", 0)

    longer = study(trials=3, epochs=4, stopping="none")
    third = run(longer, home=tmp_path, evaluate=Fake(tmp_path / "third.log"), fork=True)
    assert third.stored.name == "fake-3"
    assert not any(trial.reused for trial in third.stored.records.values())
    same = run(study(trials=10, epochs=3, stopping="none"), home=tmp_path, evaluate=fake, fork=True)
    assert (same.stored.name, same.new_trials) == ("fake", 0)


def test_a_fork_that_is_cut_off_leaves_no_half_of_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.search(study(trials=6, epochs=3, stopping="none"))
    changed = study(trials=6, epochs=3, stopping="none", objectives="{accuracy: max, params: min}")
    reuse, calls = Ledger.reuse_trial, []

    def dying(self: Ledger, study: str, number: int, *rest: Any) -> Any:
        calls.append(number)
        if number == 3:
            raise KeyboardInterrupt
        return reuse(self, study, number, *rest)

    monkeypatch.setattr(Ledger, "reuse_trial", dying)
    with pytest.raises(KeyboardInterrupt):
        forked(world.ledger, changed, FACTS)
    assert calls == [0, 1, 2, 3]
    assert world.ledger.study("fake-2") is None
    monkeypatch.undo()
    assert forked(world.ledger, changed, FACTS).name == "fake-2"
    assert [t.number for t in world.trials("fake-2")] == list(range(6))


def test_a_stop_that_is_asked_for_before_there_is_a_driver(world: World) -> None:
    """As while the speed of the machine is measured: it is heard as soon as somebody is there to hear it."""
    world.ledger.create_study("fake", {})
    with tenure(world.ledger, "fake", 0.8) as held:
        world.ledger.ask_to_stop("fake")
        deadline = time.monotonic() + 10
        while not held.asked and time.monotonic() < deadline:
            time.sleep(0.02)
        heard = threading.Event()
        held.end = heard.set
        assert heard.wait(10)


@pytest.mark.slow
def test_a_changed_recipe_is_refused_with_a_diff(tmp_path: Path) -> None:
    home_run(tmp_path, study(trials=2, epochs=3))
    changed = study(trials=2, epochs=4, objectives="{accuracy: max, params: min}", seed=7)
    with pytest.raises(NasError) as caught:
        home_run(tmp_path, changed)
    text = str(caught.value)
    assert "recipe.epochs: 3 -> 4" in text
    assert "objectives.params: None -> min" in text
    assert "seed: 0 -> 7" in text
    assert "--name fake-2" in text
    with Ledger.open(f"sqlite:///{tmp_path / 'nas.db'}") as ledger:
        assert ledger.study("fake").spec["recipe"]["epochs"] == 3
    other, _ = home_run(tmp_path, dataclasses.replace(changed, name="fake-2"))
    assert other.new_trials == 2


@pytest.mark.slow
def test_settings_of_the_machine_may_change(tmp_path: Path) -> None:
    home_run(tmp_path, study(trials=3, epochs=3))
    changed = study(trials=5, epochs=3, sampler="tpe", stopping="none")
    changed = dataclasses.replace(changed, search=changed.search.model_copy(update={"workers": 7}))
    outcome, _ = home_run(tmp_path, changed)
    assert outcome.new_trials == 2


class Interrupting(Silent):
    """Ctrl-C when the third trial ends."""

    def trial(self, driver: object, trial: object) -> None:
        if len(driver.trials) == 3:  # type: ignore[attr-defined]
            raise KeyboardInterrupt


@pytest.mark.slow
def test_ctrl_c_in_the_local_executor(tmp_path: Path) -> None:
    fake = Fake(tmp_path / "started.log")
    outcome = run(study(trials=8, epochs=3), home=tmp_path, evaluate=fake, view=Interrupting())
    assert outcome.interrupted
    rest = run(study(trials=8, epochs=3), home=tmp_path, evaluate=fake)
    assert rest.new_trials == 5
    straight = run(study(trials=8, epochs=3), home=tmp_path / "other", evaluate=fake)
    with Ledger.open(outcome.stored.storage) as one, Ledger.open(straight.stored.storage) as two:
        assert summary(one.trials("fake")) == summary(two.trials("fake"))


TINY = """
name: tiny
network:
  stem: {kind: conv3x3, width: 4}
  stages: 2
  depth: {per_stage: [1, 2]}
  width: {first: [4, 6, 8], growth: 2}
  residual_scaling: {from: 0.1, to: 1.0}
data: {source: digits, train: 300}
recipe: {epochs: 2, precision: float32}
search: {sampler: tpe, executor: local, early_stopping: {kind: halving, first: 1, eta: 2}}
budget: {trials: 4}
seed: 5
"""


@pytest.mark.slow
def test_two_runs_with_one_seed_are_the_same(tmp_path: Path) -> None:
    """With real training: accuracies and losses to the last bit, and the weights."""
    from nas.study import study_from_text

    runs = [run(study_from_text(TINY), home=tmp_path / name) for name in ("one", "two")]
    with Ledger.open(runs[0].stored.storage) as one, Ledger.open(runs[1].stored.storage) as two:
        first, second = one.trials("tiny"), two.trials("tiny")
        assert len(first) == 4
        assert summary(first) == summary(second)
        assert [t.checkpoint_sha256 for t in first] == [t.checkpoint_sha256 for t in second]
        curves = [ledger.epochs("tiny").values() for ledger in (one, two)]
        strip = [[[(e.epoch, e.train_loss, e.loss, e.accuracy) for e in curve] for curve in both] for both in curves]
        assert strip[0] == strip[1]
    assert any(t.checkpoint_sha256 for t in first)


@pytest.mark.slow
def test_a_search_that_only_fails_is_given_up(tmp_path: Path) -> None:
    outcome, fake = home_run(tmp_path, study(trials=30, epochs=2, stopping="none"), raising=tuple(range(30)))
    assert outcome.broken_off == (
        "6 trials in a row failed, the last one: ValueError: no such thing as trial 5; traceback in the log")
    assert len(fake.started()) == 6
    later, _ = home_run(tmp_path, study(trials=30, epochs=2, stopping="none"))
    assert later.broken_off == ""
    assert later.new_trials == 24, "mended, it goes on"


@pytest.mark.slow
def test_failures_between_successes_are_part_of_a_search(tmp_path: Path) -> None:
    failing = tuple(n for n in range(20) if n % 6 != 5)
    outcome, _ = home_run(tmp_path, study(trials=20, epochs=2, stopping="none"), failing=failing)
    assert outcome.broken_off == ""
    assert outcome.new_trials == 20


def test_time_that_holds_no_network_is_not_an_exhausted_space(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "_DRAWS", 100)
    driver = world.driver(timed(300.0, epochs=3))
    driver.allowance.pace = Pace(1.0)     # a second a MAC
    assert driver.next_job() is None
    assert driver.nothing_fits
    assert not driver.exhausted
    assert driver.finished
    driver.close()
    assert world.ledger.infeasible("fake")["time"].count > 0


def test_time_counts_before_a_trial_ends(world: World) -> None:
    """A driver that is killed in a long training has spent its time all the same."""
    now = [0.0]
    world.ledger.create_study("fake", {})
    driver = Driver(study(trials=1, stopping="none"), world.ledger, world.driver(study()).facts, world.folder / "fake",
                    clock=lambda: now[0])
    job = driver.next_job()
    assert job is not None
    now[0] = 3600.0
    driver.report(job.number, Progress(1, 1.0, 1.0, 0.5, 3600.0))
    driver.recorder.update(force=True)
    record = world.ledger.study("fake")
    assert record is not None
    assert record.seconds_spent == 3600.0
