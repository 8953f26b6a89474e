"""Two studies in one database that want the same network at the same time: it is trained once."""

from __future__ import annotations

import threading

import pytest
from search_cases import World, study

from nas.evaluation import Job
from nas.search import driver as driving
from nas.search.driver import Driver
from nas.store import State
from nas.study import Study


@pytest.fixture
def looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ask looks at what another study trains."""
    monkeypatch.setattr(driving, "_LOOK_EVERY", 0.0)


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
