"""Processes that die in the middle: a worker, the driver. Nothing is lost, and nothing runs for ever."""

from __future__ import annotations

import dataclasses
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
from search_cases import Fake, World, brute_front, study, summary
from search_processes import MAIN, begin, beside, environment, put_to_sleep, workers
from test_search_contract import check_projection

from nas.store import LeaseHeld, State


@pytest.mark.slow
def test_a_worker_that_is_killed(ray_world: World) -> None:
    """Once or twice: the trial is run again. A third time: it is FAILED. The others do not notice."""
    fake = dataclasses.replace(ray_world.fake, dies_once=(2,), killed=(4,))
    driver = ray_world.search(study(trials=8, stopping="none", epochs=3), fake)
    trials = ray_world.trials()
    assert [t.state for t in trials] == [State.FAILED if n == 4 else State.COMPLETE for n in range(8)]
    assert "worker died" in trials[4].reason
    assert "\n" not in trials[4].reason
    assert "None" not in trials[4].reason
    assert Counter(number for number, _ in fake.started()) == {n: {2: 2, 4: 3}.get(n, 1) for n in range(8)}
    assert [e.epoch for e in ray_world.ledger.epochs("fake")[2]] == [1, 2, 3]
    assert {t.number for t in driver.front()} == brute_front(trials, driver.study)
    check_projection(ray_world)


@pytest.mark.slow
def test_a_worker_that_loses_its_gpu_is_replaced(ray_world: World) -> None:
    """After an error of CUDA every later call in the same process fails: the next network is not to pay for it."""
    fake = dataclasses.replace(ray_world.fake, loses_cuda=(2,))
    ray_world.search(study(trials=5, stopping="none", epochs=3), fake)
    assert {t.state for t in ray_world.trials()} == {State.COMPLETE}
    assert Counter(number for number, _ in fake.started()) == {n: 2 if n == 2 else 1 for n in range(5)}


def test_a_machine_that_is_lost_is_not_the_networks_doing(world: World) -> None:
    """A trial goes on after more lost machines than deaths of its worker, and not for ever."""
    driver = world.driver(study(trials=1, stopping="none"))
    for lost, times in ((True, 10), (False, 2), (True, 1)):
        for _ in range(times):
            job = driver.next_job()
            assert job is not None, "it is WAITING"
            driver.crashed(job.number, "its node has died", lost)
    assert driver.finished
    assert world.trials()[0].state is State.FAILED
    driver.close()


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["local", "ray"])
def test_a_driver_that_is_killed(tmp_path: Path, executor: str) -> None:
    process = begin(tmp_path, executor)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.3)

    world = World(tmp_path)
    left = {t.number: t.state for t in world.trials()}
    ended = {n: t for n, t in enumerate(summary(world.trials())) if left[n] is State.COMPLETE}
    before = Counter(number for number, _ in world.fake.started())
    assert State.RUNNING in left.values(), "nobody was there to put it back"
    driver = world.search(study(trials=14))
    trials = world.trials()
    assert len(trials) == 14
    assert all(t.state in (State.COMPLETE, State.PRUNED) for t in trials)
    assert {n: summary(trials)[n] for n in ended} == ended, "what had ended stays as it was"
    begun = Counter(number for number, _ in world.fake.started())
    assert all(begun[n] == before[n] for n in ended)
    assert all(begun[n] > before[n] for n in left if left[n] is State.RUNNING)
    assert all([e.epoch for e in curve] == list(range(1, trials[n].epochs + 1))
               for n, curve in world.ledger.epochs("fake").items())
    assert {t.number for t in driver.front()} == brute_front(trials, driver.study)
    check_projection(world)
    if executor == "local":
        straight = World(beside(tmp_path))
        straight.search(study(trials=14))
        assert summary(straight.trials()) == summary(trials), "as if it had not been killed"
        straight.ledger.close()
    world.ledger.close()


def slept_beyond_its_lease(folder: Path, executor: str, url: str | None = None) -> None:
    """Another one takes over; the first, awake again, writes nothing more and ends."""
    process = begin(folder, executor, 14, "0.6", *([url] if url else []))
    put_to_sleep(process, None if url else folder / "nas.db")
    world = World(folder, url=url, lease=5)
    if url is None:         # a server waits for one that sleeps in a transaction, and then the lease has lapsed
        with pytest.raises(LeaseHeld, match=f"process {process.pid} on"):
            world.search(study(trials=14))
    time.sleep(0.7)
    driver = world.search(study(trials=14))
    before = trials, curves = world.trials(), world.ledger.epochs("fake")
    assert len(trials) == 14
    assert all(t.state in (State.COMPLETE, State.PRUNED) for t in trials)
    process.send_signal(signal.SIGCONT)
    assert process.wait(timeout=60) == 3
    assert (world.trials(), world.ledger.epochs("fake")) == before
    assert all([e.epoch for e in curve] == list(range(1, trials[n].epochs + 1)) for n, curve in curves.items())
    assert {t.number for t in driver.front()} == brute_front(trials, driver.study)
    check_projection(world)
    if executor == "local":
        straight = World(beside(folder))
        straight.search(study(trials=14))
        assert summary(straight.trials()) == summary(trials), "as if it had not slept"
        straight.ledger.close()
    world.ledger.close()


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["local", "ray"])
def test_a_driver_that_sleeps_beyond_its_lease(tmp_path: Path, executor: str) -> None:
    slept_beyond_its_lease(tmp_path, executor)


@pytest.mark.soak
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
@pytest.mark.parametrize("round_", range(25))
def test_a_driver_that_sleeps_beyond_its_lease_for_long(database: str, round_: int, tmp_path: Path,
                                                        request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("postgres_url") if database == "postgresql" else None
    slept_beyond_its_lease(tmp_path, "local", url)


def killed_until_done(folder: Path, kills: int, url: str | None = None) -> None:
    """A search whose driver is killed at random moments, and started again each time, ends as if it had not been."""
    trials, rng = 40, random.Random(kills)
    arguments = [*MAIN, str(folder), "local", str(trials), "0.03", "60", *([url] if url else [])]
    fake, left = Fake(folder / "started.log"), kills
    while True:
        process = subprocess.Popen(arguments, env=environment())
        before, wanted = len(fake.started()), rng.randint(0, 3)
        while left and process.poll() is None and len(fake.started()) <= before + wanted:
            time.sleep(0.005)
        time.sleep(rng.random() * 0.05)
        if left and process.poll() is None:
            process.send_signal(signal.SIGKILL)
            left -= 1
        if process.wait(timeout=120) == 0:
            break
    world = World(folder, url=url)
    straight = World(beside(folder))
    straight.search(study(trials=trials))
    assert left == 0 or kills > 20, "it was done before it was killed often enough"
    assert summary(world.trials()) == summary(straight.trials())
    work, least = len(fake.started()), len(straight.fake.started())
    assert work <= least + kills, "each kill costs at most the training at hand"
    print(f"{kills} kills: {fake.work()} epochs trained, {straight.fake.work()} undisturbed")
    check_projection(world)
    world.ledger.close()
    straight.ledger.close()


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_driver_that_is_killed_again_and_again(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    killed_until_done(tmp_path, 3, request.getfixturevalue("postgres_url") if database == "postgresql" else None)


@pytest.mark.soak
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
@pytest.mark.parametrize("round_", range(10))
def test_a_driver_that_is_killed_for_long(database: str, round_: int, tmp_path: Path,
                                          request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("postgres_url") if database == "postgresql" else None
    killed_until_done(tmp_path, 10 + round_, url)


@pytest.mark.slow
def test_a_search_that_is_asked_to_stop(tmp_path: Path) -> None:
    process = begin(tmp_path, "local", 2000)
    world = World(tmp_path)
    world.ledger.ask_to_stop("fake")
    assert process.wait(timeout=30) == 0
    assert world.ledger.holder("fake") is None
    assert {t.state for t in world.trials()} <= {State.COMPLETE, State.PRUNED, State.WAITING}
    world.search(study(trials=len(world.trials())))
    assert {t.state for t in world.trials()} <= {State.COMPLETE, State.PRUNED}
    world.ledger.close()


@pytest.mark.slow
def test_ray_dies_with_its_driver(tmp_path: Path) -> None:
    """No worker goes on after its driver was killed."""
    process = begin(tmp_path, "ray", trials=2000)
    process.send_signal(signal.SIGKILL)
    process.wait()
    fake = Fake(tmp_path / "started.log")
    for _ in range(100):
        before = len(fake.started())
        time.sleep(0.3)
        if not workers(process.pid):
            break
    assert not workers(process.pid)
    assert len(fake.started()) == before
