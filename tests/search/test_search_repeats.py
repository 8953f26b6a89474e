"""Networks trained with several seeds: means and spreads, nothing trained twice, nothing lost on the way."""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter
from pathlib import Path

import pytest
from search_cases import Fake, World, brute_front, luck, study

from nas.evaluation import Job
from nas.search.driver import Driver
from nas.store import State, TrialRecord
from nas.study import Study


def repeated(repeats: int = 3, **settings: object) -> Study:
    """A study whose networks are all trained to the end, with so many seeds."""
    made = study(**{"trials": 6, "stopping": "none", "epochs": 2, **settings})     # type: ignore[arg-type]
    return dataclasses.replace(made, search=made.search.model_copy(update={"repeats": repeats}))


@pytest.fixture
def noisy(world: World) -> Fake:
    return dataclasses.replace(world.fake, noise=0.05)


def seeds(trial: TrialRecord) -> list[int]:
    return [one.seed for one in trial.trainings]


def test_the_front_is_of_means(any_world: World) -> None:
    fake = dataclasses.replace(any_world.fake, noise=0.2)
    driver = any_world.search(repeated(), fake)
    trials = any_world.trials()
    assert len(trials) == 6
    assert Counter(number for number, _ in fake.started()) == dict.fromkeys(range(6), 3)
    for trial in trials:
        assert seeds(trial) == [0, 1, 2]
        accuracies = [one.accuracy for one in trial.trainings]
        assert len(set(accuracies)) == 3
        assert trial.accuracy == pytest.approx(statistics.fmean(accuracies), abs=1e-12)
        assert trial.spread == pytest.approx(statistics.stdev(accuracies))
        assert trial.seeds == 3
        assert trial.seconds == pytest.approx(3 * 2 * 0.01)
    assert {t.number for t in driver.front()} == brute_front(trials, driver.study)
    shown = any_world.optuna().trials
    assert [t.values[0] for t in shown] == [t.accuracy for t in trials]
    assert [t.user_attrs["spread"] for t in shown] == [t.spread for t in trials]
    assert driver.finished


def test_what_is_stopped_early_is_trained_once(world: World, noisy: Fake) -> None:
    wanted = repeated(2, trials=30, epochs=9, stopping="{kind: halving, first: 1, eta: 3}")
    world.search(wanted, noisy)
    for trial in world.trials():
        assert len(trial.trainings) == (2 if trial.state is State.COMPLETE else 1)
    assert {State.COMPLETE, State.PRUNED} == {t.state for t in world.trials()}


def test_more_seeds_later_and_in_another_study(world: World, noisy: Fake) -> None:
    world.search(repeated(1), noisy)
    once = {t.number: t.accuracy for t in world.trials()}
    world.search(repeated(2), noisy)
    assert Counter(number for number, _ in noisy.started()) == dict.fromkeys(range(6), 2)
    assert all(t.trainings[0].accuracy == once[t.number] for t in world.trials())

    world.search(repeated(3, name="other"), noisy)
    begun = Counter(number for number, _ in noisy.started())
    assert begun == dict.fromkeys(range(6), 3), "two of three are there already"
    assert [t.accuracy for t in world.trials("other")] != [t.accuracy for t in world.trials()]
    world.search(repeated(3), noisy)
    assert Counter(number for number, _ in noisy.started()) == begun
    assert [t.accuracy for t in world.trials("other")] == [t.accuracy for t in world.trials()]


def step(driver: Driver, fake: Fake, job: Job, epochs: int) -> None:
    """Train so many epochs of a job."""
    for progress, _ in zip(fake(job), range(epochs), strict=False):
        driver.report(job.number, progress)


def test_a_driver_that_ends_between_seeds_goes_on(world: World, noisy: Fake) -> None:
    driver = world.driver(repeated(trials=2))
    for _ in range(3):
        job = driver.next_job()
        assert job is not None
        step(driver, noisy, job, 2 if job.seed < 2 else 1)
    assert [t.number for t, _ in driver.running()] == [job.number]
    driver.close()
    assert {one.state for t in world.trials() for one in t.trainings} == {State.COMPLETE}
    assert not driver.finished

    world.search(repeated(trials=2), noisy)
    assert [seeds(t) for t in world.trials()] == [[0, 1, 2]] * 2
    assert len(noisy.started()) == 6 + 1, "the training at hand, and nothing else, began again"


def test_a_seed_that_diverges_is_told_and_can_be_tried_again(world: World, noisy: Fake) -> None:
    driver = world.search(repeated(trials=2), dataclasses.replace(noisy, bad_seeds=(1,)))
    assert driver.finished
    for trial in world.trials():
        assert trial.state is State.COMPLETE
        assert [one.state for one in trial.trainings] == [State.COMPLETE, State.FAILED, State.COMPLETE]
        assert "diverged" in trial.trainings[1].reason
        assert trial.seeds == 2
        assert trial.accuracy == statistics.fmean(trial.trainings[place].accuracy or 0 for place in (0, 2))
    world.search(repeated(trials=2), noisy)
    assert all(t.seeds == 2 for t in world.trials()), "not by itself"
    assert world.ledger.retry_trials("fake") == [0, 1]
    world.search(repeated(trials=2), noisy)
    assert all(t.seeds == 3 for t in world.trials())


def test_a_seed_whose_worker_dies_is_tried_three_times(world: World, noisy: Fake) -> None:
    driver = world.driver(repeated(2, trials=1))
    job = driver.next_job()
    assert job is not None
    step(driver, noisy, job, 2)
    for _ in range(3):
        job = driver.next_job()
        assert job is not None
        assert job.seed == 1
        driver.crashed(job.number, "gone")
    assert driver.next_job() is None
    assert driver.finished
    (trial,) = world.trials()
    assert trial.trainings[1].state is State.FAILED
    assert trial.trainings[1].reason == "the worker died: gone"
    driver.close()


def test_a_budget_of_time_holds_for_seeds_too(world: World, noisy: Fake) -> None:
    """What the time left does not hold is not begun; the trial counts with the seeds it has."""
    wanted = repeated(3, trials=1)
    now = [0.0]
    world.ledger.create_study(wanted.name, wanted.spec())
    timed = dataclasses.replace(wanted, budget=wanted.budget.model_copy(update={"time": 0.05}))
    driver = Driver(timed, world.ledger, world.driver(wanted).facts, Path(world.folder / "fake"), clock=lambda: now[0])
    while (job := driver.next_job()) is not None:
        step(driver, noisy, job, 2)
        now[0] += 0.02
    assert driver.finished
    driver.close()
    (trial,) = world.trials()
    assert seeds(trial) == [0, 1]


@pytest.mark.slow
def test_hundreds_of_stored_seeds_are_taken_in_at_once(world: World, noisy: Fake) -> None:
    wanted = repeated(40, trials=10, epochs=1)
    world.search(wanted, noisy)
    begun = len(noisy.started())
    driver = world.search(dataclasses.replace(wanted, name="other"), noisy)
    assert len(noisy.started()) == begun
    assert all(trial.seeds == 40 for trial in world.trials("other"))
    assert {t.number for t in driver.front()} == brute_front(world.trials("other"), wanted)


def test_luck_differs(world: World) -> None:
    """The fake's noise is noise: else the tests above show nothing."""
    job = world.driver(repeated()).next_job()
    assert job is not None
    assert len({luck(dataclasses.replace(job, seed=seed)) for seed in range(5)}) > 3
