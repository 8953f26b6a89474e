"""What holds of every search, whatever executor runs it and however its trials end."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections import Counter

import pytest
from optuna.study import StudyDirection
from search_cases import World, accuracy_at, brute_front, study, summary
from sqlalchemy import event

from nas.evaluation import Job
from nas.search.driver import Driver
from nas.store import State, TrialRecord


def job_of(driver: Driver, trial: TrialRecord) -> Job:
    """The job that a trial was."""
    s = driver.study
    return Job(s.name, trial.number, trial.architecture, (1, 8, 8), 10, s.data, s.recipe, s.seed, s.recipe.epochs)


def test_search_contract(any_world: World) -> None:
    """One search, looked at from every side: trials, states, front, curves, Optuna's picture."""
    wanted = study(trials=24)
    driver = any_world.search(wanted)
    trials = any_world.trials()

    assert [t.number for t in trials] == list(range(24))
    assert all(t.state in (State.COMPLETE, State.PRUNED) and not t.reused for t in trials)
    states = Counter(t.state for t in trials)
    assert states[State.COMPLETE] >= 5
    assert states[State.PRUNED] >= 3
    assert states == +driver.tally.states
    assert driver.finished
    assert not driver.running()

    assert {t.number for t in driver.front()} == brute_front(trials, wanted)
    assert len(driver.front()) >= 3

    curves = any_world.ledger.epochs("fake")
    for trial in trials:
        job = job_of(driver, trial)
        assert [e.epoch for e in curves[trial.number]] == list(range(1, trial.epochs + 1))
        assert [e.accuracy for e in curves[trial.number]] == [
            accuracy_at(job, e) for e in range(1, trial.epochs + 1)]
        assert trial.accuracy == accuracy_at(job, trial.epochs)
        assert (trial.epochs == 9) == (trial.state is State.COMPLETE)
        assert trial.epochs in (1, 3, 9)
        assert trial.device == ("fake" if trial.state is State.COMPLETE else trial.device)
        assert (f"epoch {trial.epochs}" in trial.reason) == (trial.state is State.PRUNED)
        assert trial.macs <= 150_000
        judged = wanted.space.judge(trial.point, (1, 8, 8), 10)
        assert judged.architecture == trial.architecture
        assert judged.cost is not None
        assert (judged.cost.macs, judged.cost.params) == (trial.macs, trial.params)

    begun = Counter(number for number, _ in any_world.fake.started())
    assert set(begun) == set(range(24))
    assert all(count == 1 or trials[number].epochs > 1 for number, count in begun.items()), "only what was promoted"
    assert max(begun.values()) <= 2
    assert len({architecture for _, architecture in any_world.fake.started()}) == 24

    broken = any_world.ledger.infeasible("fake")
    assert broken == driver.tally.infeasible
    assert broken["macs"].count > 0
    assert 0 < (broken["macs"].least or 0) < (broken["macs"].most or 0)

    check_projection(any_world)


def check_projection(world: World, name: str = "fake") -> None:
    """Optuna's study says what the ledger says."""
    shown, trials = world.optuna(name), world.trials(name)
    spec = world.ledger.study(name).spec
    names = list(spec["objectives"])
    assert shown.metric_names == names
    assert shown.directions == [
        StudyDirection.MAXIMIZE if spec["objectives"][n] == "max" else StudyDirection.MINIMIZE for n in names]
    assert [t.number for t in shown.trials] == [t.number for t in trials]
    curves = world.ledger.epochs(name)
    as_shown = {State.FAILED: "FAIL", State.OUT_OF_MEMORY: "FAIL"}
    for mine, other in zip(trials, shown.trials, strict=True):
        assert other.state.name == as_shown.get(mine.state, str(mine.state))
        assert other.params == mine.point
        if mine.state is State.COMPLETE:
            assert other.values == [getattr(mine, n) for n in names]
        assert other.intermediate_values == {
            e.epoch: pytest.approx(e.accuracy, nan_ok=True) for e in curves.get(mine.number, [])}
    assert any("stage1.depth" in t.params for t in shown.trials) or not shown.trials


FAULTS = {"failing": 2, "raising": 3, "ending": 4, "nan": 5, "memory": 6}


def test_failures_are_states_with_reasons(any_world: World, caplog: pytest.LogCaptureFixture) -> None:
    fake = dataclasses.replace(any_world.fake, **{kind: (number,) for kind, number in FAULTS.items()})
    driver = any_world.search(study(stopping="none", epochs=3), fake)
    trials = any_world.trials()
    reasons = {kind: trials[number].reason for kind, number in FAULTS.items()}

    assert [t.state for t in trials if t.number not in FAULTS.values()] == [State.COMPLETE] * 7
    assert trials[6].state is State.OUT_OF_MEMORY
    assert all(trials[FAULTS[kind]].state is State.FAILED for kind in FAULTS if kind != "memory")
    assert reasons["failing"] == "diverged: loss nan at epoch 2"
    assert reasons["raising"] == "ValueError: no such thing as trial 3; traceback in the log"
    assert "ended after epoch 1 of 3" in reasons["ending"]
    assert "is nan" in reasons["nan"]
    assert "out of memory" in reasons["memory"]
    assert all("\n" not in reason for reason in reasons.values())
    assert "Traceback" in caplog.text
    assert "no such thing as trial 3" in caplog.text

    assert {t.number for t in driver.front()} == brute_front(trials, driver.study)
    assert not {t.number for t in driver.front()} & set(FAULTS.values())
    assert Counter(number for number, _ in any_world.fake.started()) == Counter(range(12))
    check_projection(any_world)


def test_run_again_trains_nothing(any_world: World) -> None:
    first = any_world.search(study())
    before, begun = summary(any_world.trials()), any_world.fake.started()
    second = any_world.driver(study())
    assert second.finished
    assert second.next_job() is None
    any_world.execute(second, any_world.fake)
    second.close()
    assert first.new_trials == 12
    assert second.new_trials == 0
    assert summary(any_world.trials()) == before
    assert any_world.fake.started() == begun


def test_more_trials_go_on_where_it_was(any_world: World) -> None:
    any_world.search(study(trials=5))
    before = any_world.trials()
    driver = any_world.search(study(trials=11))
    trials = any_world.trials()
    assert [t.point for t in trials[:5]] == [t.point for t in before]
    complete = [t.number for t in before if t.state is State.COMPLETE]
    assert complete
    assert [trials[number] for number in complete] == [before[number] for number in complete]
    assert len(trials) == 11
    assert driver.new_trials == 6
    assert {n for n, _ in any_world.fake.started()} == set(range(11))
    assert {t.number for t in driver.front()} == brute_front(trials, driver.study)
    check_projection(any_world)


def test_results_are_reused_across_studies(any_world: World) -> None:
    """The same key is never trained twice; another seed, recipe or length is another key."""
    any_world.search(study("first", stopping="none"))
    other = any_world.search(study("second", stopping="none"))
    assert other.tally.reused == 12
    assert len(any_world.fake.started()) == 12
    first, second = any_world.trials("first"), any_world.trials("second")
    assert summary(first) == summary(second)
    assert all(t.reused and t.trained_by == "first" for t in second)
    assert any_world.ledger.epochs("first") == any_world.ledger.epochs("second")
    assert {t.number for t in other.front()} == brute_front(first, other.study)
    check_projection(any_world, "second")

    third = any_world.search(study("third", stopping="none", epochs=2))
    assert third.tally.reused == 0
    assert len(any_world.fake.started()) == 24


def test_what_one_study_stopped_another_trains_to_the_end(world: World) -> None:
    first = world.search(study("first"))
    assert first.tally.states[State.PRUNED]
    second = world.search(study("second", stopping="none"))
    assert second.tally.states == {State.COMPLETE: 12}
    assert second.tally.reused == first.tally.states[State.COMPLETE]
    check_projection(world, "second")


def test_weights_are_kept_for_two_layers_of_the_front(any_world: World) -> None:
    fake = dataclasses.replace(any_world.fake, weights=1)
    wanted = study(trials=20, stopping="none", epochs=2)
    any_world.search(wanted, fake)
    trials = any_world.trials()
    first = brute_front(trials, wanted)
    second = brute_front([t for t in trials if t.number not in first], wanted)
    assert {t.number for t in trials if t.checkpoint} == first | second
    assert len(first | second) < 20
    folder = any_world.folder / "fake" / "checkpoints"
    assert {path.name.partition("-")[0] for path in folder.iterdir()} == {f"{n}" for n in first | second}
    for trial in trials:
        if trial.checkpoint:
            path = any_world.folder / trial.checkpoint
            assert path.read_bytes() == f"weights {trial.number}".encode()
            assert hashlib.sha256(path.read_bytes()).hexdigest() == trial.checkpoint_sha256


OBJECTIVES = [
    "{accuracy: max}", "{accuracy: max, params: min}", "{accuracy: max, activations: min, macs: min}",
    "{accuracy: max, latency_ms: min}", "{latency_ms: min, accuracy: max, params: min}",
]


@pytest.mark.slow
@pytest.mark.parametrize("objectives", OBJECTIVES)
@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_other_objectives(world: World, objectives: str, sampler: str) -> None:
    wanted = study(objectives=objectives, sampler=sampler, trials=14)
    driver = world.search(wanted)
    trials = world.trials()
    assert all(t.state in (State.COMPLETE, State.PRUNED) for t in trials)
    assert {t.number for t in driver.front()} == brute_front(trials, wanted)
    if "latency" in objectives:
        assert all(t.latency_ms is not None and t.latency_ms > 0 for t in trials if t.state is State.COMPLETE)
    if objectives == "{accuracy: max}":
        assert len(driver.front()) == 1
        assert driver.front()[0].accuracy == max(t.accuracy for t in trials if t.state is State.COMPLETE)
    assert all(t.macs <= 150_000 for t in trials)
    check_projection(world)


def test_a_value_that_is_not_a_number_reaches_nobody(world: World) -> None:
    fake = dataclasses.replace(world.fake, nan=tuple(range(4)))
    driver = world.search(study(sampler="tpe", trials=8, epochs=3, stopping="{kind: halving, first: 2, eta: 3}"), fake)
    assert [t.state for t in world.trials()[:4]] == [State.FAILED] * 4
    assert not any(math.isnan(seen.accuracy) for rung in driver.halving._at.values() for seen in rung.seen.values())


def test_what_the_user_has_to_mend_ends_a_search_and_fails_no_trial(any_world: World) -> None:
    """As when the data goes away: every other training would end the same."""
    driver = any_world.search(study(trials=12, stopping="none"), dataclasses.replace(any_world.fake, mistaken=(3,)))
    assert str(driver.mistake) == "f.yaml:1:2: data.source: pictures: is gone; bring it back"
    states = Counter(t.state for t in any_world.trials())
    assert states[State.FAILED] == 0
    assert states[State.WAITING] >= 1
    assert driver.new_trials < 12
    again = any_world.search(study(trials=12, stopping="none"))
    assert again.mistake is None
    assert {t.state for t in any_world.trials()} == {State.COMPLETE}


def test_learning_curves_are_written_in_batches(world: World) -> None:
    """An epoch is no transaction of its own: a second's worth of them is one, and a trial's last ones go with its
    end."""
    commits = []
    event.listen(world.ledger.engine, "commit", commits.append)
    world.search(study(trials=4, epochs=50, stopping="none"))
    assert [len(curve) for curve in world.ledger.epochs("fake").values()] == [50] * 4
    assert len(commits) < 60, "200 epochs"
