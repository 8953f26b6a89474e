"""Two studies in one database that want the same network at the same time: it is trained once."""

from __future__ import annotations

import dataclasses
import threading

import pytest
from search_cases import World, study

from nas.evaluation import Job
from nas.nodes import Cost
from nas.search import repeats
from nas.search.driver import Driver
from nas.store import EpochRecord, State
from nas.study import Study


@pytest.fixture
def looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ask looks at what another study trains."""
    monkeypatch.setattr(repeats, "LOOK_EVERY", 0.0)


def named(name: str, trials: int = 3) -> Study:
    return study(name=name, trials=trials, stopping="none", epochs=2)


@pytest.fixture
def first(any_database: World) -> tuple[Driver, Job]:
    """A driver that has begun its first training, and that."""
    world = any_database
    world.ledger.create_study("first", named("first").spec())
    world.ledger.take_lease("first")
    driver = world.driver(named("first"))
    job = driver.next_job()
    assert job is not None
    return driver, job


def asked(driver: Driver) -> Job:
    job = driver.next_job()
    assert job is not None
    return job


def finish(world: World, driver: Driver, job: Job) -> None:
    for progress in world.fake(job):
        driver.report(job.number, progress)


@pytest.mark.usefixtures("looking")
def test_what_another_study_trains_is_waited_for(any_database: World, first: tuple[Driver, Job]) -> None:
    world = any_database
    second = world.driver(named("second"))
    job = asked(second)
    assert job.number == 1, "trial 0 waits, and the next one is begun"
    (waiting, running) = world.trials("second")
    assert (waiting.state, waiting.reason) == (State.WAITING, "study first trains the same network")
    assert waiting.architecture_id == first[1].architecture.id
    assert running.state is State.RUNNING
    assert not second.finished

    finish(world, *first)
    finish(world, second, job)
    job = asked(second)
    assert job.number == 2
    taken = world.trials("second")[0]
    assert (taken.state, taken.reused, taken.trained_by) == (State.COMPLETE, True, "first")
    finish(world, second, job)
    assert second.next_job() is None
    assert second.finished
    assert [number for number, _ in world.fake.started()] == [0, 1, 2]
    second.close()


@pytest.mark.usefixtures("looking")
@pytest.mark.parametrize("end", ["stopped early", "driver gone"])
def test_what_another_study_does_not_finish_is_trained(end: str, any_database: World,
                                                       first: tuple[Driver, Job]) -> None:
    world = any_database
    second = world.driver(named("second", trials=1))
    assert second.next_job() is None
    assert second.awaiting
    assert not second.finished
    if end == "stopped early":
        world.ledger.finish_trial("first", 0, State.PRUNED, "others are worth more")
    else:
        world.ledger.give_back_lease("first")
    job = asked(second)
    assert job.number == 0
    finish(world, second, job)
    assert second.finished
    (trial,) = world.trials("second")
    assert (trial.state, trial.reused) == (State.COMPLETE, False)
    second.close()


@pytest.mark.slow
def test_a_search_that_has_nothing_to_do_but_wait(any_world: World) -> None:
    world = any_world
    world.ledger.create_study("first", named("first").spec())
    world.ledger.take_lease("first")
    driver = world.driver(named("first"))
    job = asked(driver)

    def go_on() -> None:
        finish(world, driver, job)
        driver.stop()
        driver.close()

    later = threading.Timer(4, go_on)
    later.start()
    world.search(named("second", trials=1))
    later.join()
    (trial,) = world.trials("second")
    assert (trial.state, trial.trained_by) == (State.COMPLETE, "first")
    assert len(world.fake.started()) == 1
    assert world.trials("first")[0].accuracy == trial.accuracy


@pytest.mark.usefixtures("looking")
def test_one_that_comes_back_waits_for_who_took_over(any_database: World, first: tuple[Driver, Job]) -> None:
    """Its driver dies, another study begins the same network, the first is started again."""
    world = any_database
    world.ledger.give_back_lease("first")
    world.ledger.create_study("second", named("second").spec())
    world.ledger.take_lease("second")
    second = world.driver(named("second", trials=1))
    job = asked(second)
    world.ledger.take_lease("first")
    again = world.driver(named("first", trials=1))
    assert again.next_job() is None
    assert again.awaiting
    finish(world, second, job)
    assert again.next_job() is None
    assert again.finished
    (taken,) = world.trials("first")
    assert (taken.reused, taken.trained_by) == (True, "second")
    assert len(world.fake.started()) == 1
    second.close()
    again.close()


@pytest.mark.usefixtures("looking")
def test_two_that_wait_do_not_both_begin(any_database: World, first: tuple[Driver, Job]) -> None:
    world = any_database
    drivers = []
    for name in ("second", "third"):
        world.ledger.create_study(name, named(name).spec())
        world.ledger.take_lease(name)
        drivers.append(world.driver(named(name, trials=1)))
        assert drivers[-1].next_job() is None
    world.ledger.give_back_lease("first")
    job = asked(drivers[0])
    assert drivers[1].next_job() is None
    assert drivers[1].awaiting
    finish(world, drivers[0], job)
    assert drivers[1].next_job() is None
    assert world.trials("third")[0].reused
    for driver in drivers:
        driver.close()


@pytest.mark.usefixtures("looking")
def test_what_another_study_trains_is_not_promoted_beside_it(any_database: World, first: tuple[Driver, Job]) -> None:
    world = any_database
    world.ledger.finish_trial("first", 0, State.PRUNED, "others are worth more")
    world.ledger.create_study("second", named("second").spec())
    world.ledger.take_lease("second")
    second = world.driver(named("second", trials=1))
    job = asked(second)
    assert world.ledger.promote_trial("first", 0).state is State.WAITING
    finish(world, second, job)
    assert world.ledger.restart_trial("first", 0).reused
    second.close()


@pytest.mark.usefixtures("looking")
def test_a_seed_that_another_study_trains_is_waited_for(any_database: World) -> None:
    world = any_database
    several = named("several", trials=1)
    several = dataclasses.replace(several, search=several.search.model_copy(update={"repeats": 2}))
    driver = world.driver(several)
    finish(world, driver, asked(driver))
    trial = driver.trials[0]
    world.ledger.create_study("one", {})
    world.ledger.take_lease("one")
    cost, key = Cost(trial.params, trial.macs, trial.activations), dataclasses.replace(trial.evaluation_key, seed=1)
    world.ledger.start_trial("one", 0, trial.point, {}, trial.network, cost, key)
    assert driver.next_job() is None
    assert driver.awaiting
    assert not driver.finished
    world.ledger.finish_trial("one", 0, State.COMPLETE, epoch=EpochRecord(2, 1.0, 1.0, 0.9, 1.0))
    assert driver.next_job() is None
    assert driver.finished
    assert [one.accuracy for one in driver.trials[0].trainings] == [trial.accuracy, 0.9]
    driver.close()
