"""A long search of a thousand workers is whole in the end, by few connections. How fast: `nas bench scale`."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from nas.bench import scale
from nas.store import Ledger, State


def whole(url: str, trials: int) -> dict[str, float]:
    """A search of so many trials is; its figures, printed for `pytest -s`."""
    ledger = Ledger.open(url)
    most = [0]

    def count(*connection: object) -> None:
        pool = ledger.engine.pool
        assert isinstance(pool, sa.pool.QueuePool)
        most[0] = max(most[0], pool.checkedout() + pool.checkedin())

    sa.event.listen(ledger.engine, "checkout", count)
    figures = scale(ledger, trials)
    print(url.partition(":")[0], trials, figures, "connections", most[0])
    (study,) = ledger.studies()
    found = ledger.trials(study.name)
    assert [t.number for t in found] == list(range(trials))
    assert {t.state for t in found} <= {State.COMPLETE, State.PRUNED}
    assert len({t.architecture_id for t in found}) == trials, "no network is trained twice"
    curves = ledger.epochs(study.name)
    assert all([e.epoch for e in curves[t.number]] == list(range(1, t.epochs + 1)) for t in found)
    assert 1 <= most[0] <= 5
    ledger.close()
    return figures


@pytest.mark.slow
def test_a_search_of_a_thousand_workers(tmp_path: Path) -> None:
    whole(f"sqlite:///{tmp_path / 'nas.db'}", 1200)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_search_of_a_thousand_workers_for_long(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = f"sqlite:///{tmp_path / 'nas.db'}"
    figures = whole(request.getfixturevalue("postgres_url") if database == "postgresql" else url, 20_000)
    assert figures["resident_mb"] < 1000, "of this process alone: run it with -n 0"
