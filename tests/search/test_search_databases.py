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

import pytest
import sqlalchemy as sa
from search_cases import World, brute_front, study, summary

from nas.store import State

pytestmark = pytest.mark.slow


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


@pytest.fixture
def straight(tmp_path: Path) -> Iterator[World]:
    """An undisturbed search of 60 trials."""
    folder = tmp_path / "straight"
    folder.mkdir()
    world = World(folder)
    world.search(study(trials=60))
    yield world
    world.ledger.close()


def test_readers_and_a_long_lock_on_sqlite(tmp_path: Path, straight: World) -> None:
    """16 readers as a dashboard has them, and somebody who keeps the file to himself for seconds."""
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
        time.sleep(2)
        connection.execute("COMMIT")
        connection.close()

    with meanwhile(lock, *[read] * 16) as raised:
        driver = world.search(study(trials=60), dataclasses.replace(world.fake, sleep=0.01))
    assert not raised
    is_whole(world, 60, straight)
    assert {t.number for t in driver.front()} == brute_front(world.trials(), driver.study)
    world.ledger.close()


@contextmanager
def closed_behind() -> Iterator[None]:
    """SQLAlchemy forgets a connection that is cut while it is opened: it is collected here, without a complaint."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_postgresql_whose_connections_are_cut(tmp_path: Path, postgres_url: str, straight: World) -> None:
    """All backends are ended every 0.2 s: every transaction is done again until it goes through."""
    with closed_behind():
        search_while_cut(tmp_path, postgres_url, straight)


def search_while_cut(tmp_path: Path, postgres_url: str, straight: World) -> None:
    world = World(tmp_path, url=postgres_url)
    admin = sa.create_engine(sa.make_url(postgres_url).set(drivername="postgresql+psycopg", database="postgres"),
                             isolation_level="AUTOCOMMIT")
    cut = []

    def end() -> None:
        time.sleep(0.2)
        with admin.connect() as connection:
            cut.append(connection.execute(sa.text(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = :name"),
                {"name": sa.make_url(postgres_url).database}).scalar_one())

    with meanwhile(end) as raised:
        driver = world.search(study(trials=60), dataclasses.replace(world.fake, sleep=0.02))
    assert not raised
    assert sum(cut) >= 10
    is_whole(world, 60, straight)
    assert {t.number for t in driver.front()} == brute_front(world.trials(), driver.study)
    world.ledger.close()
    admin.dispose()
