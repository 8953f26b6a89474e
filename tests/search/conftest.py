"""One Ray of two cores for all tests of this folder, started when it is first wanted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from search_cases import World


@pytest.fixture(scope="session")
def ray_started() -> Iterator[None]:
    """Ray as `nas run` starts it: on loopback, with token authentication, quiet."""
    from nas.search.ray_env import prepare_ray

    prepare_ray(None)
    here = str(Path(__file__).parent)       # workers import the evaluators of these tests by name
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    from nas.search.ray_tune import _ray

    with _ray(2, None):
        yield


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An empty database, and the local executor."""
    with_local = World(tmp_path)
    yield with_local
    with_local.ledger.close()


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.slow)])
def any_world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """An empty database, once for each executor."""
    if request.param == "ray":
        request.getfixturevalue("ray_started")
    found = World(tmp_path, request.param)
    yield found
    found.ledger.close()


@pytest.fixture
def ray_world(tmp_path: Path, ray_started: None) -> Iterator[World]:
    """An empty database, and Ray."""
    found = World(tmp_path, "ray")
    yield found
    found.ledger.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def any_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """The local executor on an empty database, once for each kind of database."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    found = World(tmp_path, url=url)
    yield found
    found.ledger.close()
