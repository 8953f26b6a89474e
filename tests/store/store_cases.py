"""Networks, keys and epochs for the tests of the records room."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from nas.architecture import Architecture, Stage
from nas.nodes import Cost
from nas.store import EpochRecord, EvaluationKey, Ledger, State, TrialRecord

SPEC = {"name": "s", "z": [1, 2.5, "é"], "a": {"macs": "min"}}
COST = Cost(params=1_000, macs=5_000_000_000, activations=300)


def network(number: int) -> Architecture:
    """A network that no other number has."""
    return Architecture((Stage(depth=1 + number % 5, width=8 + number),))


def key(number: int, **changes: Any) -> EvaluationKey:
    """The key of that network's training."""
    return replace(EvaluationKey(network(number).id, "recipe", "data", 0, 3), **changes)


def point(number: int) -> dict[str, Any]:
    """A point with an axis of each kind."""
    return {"stage1.depth": 1 + number % 5, "alpha": 0.25, "gate": "none"}


def epoch(number: int, accuracy: float = 0.5) -> EpochRecord:
    """An epoch of two seconds."""
    return EpochRecord(number, 2.0 / number, 1.5 / number, accuracy, 2.0)


def start(ledger: Ledger, number: int, study: str = "s", of: int | None = None) -> TrialRecord:
    """Starts trial `number` on its own network, or on that of number `of`."""
    of = number if of is None else of
    return ledger.start_trial(study, number, point(number), {"a": 1}, network(of), COST, key(of))


def run(ledger: Ledger, number: int, state: State = State.COMPLETE, study: str = "s", of: int | None = None,
        ) -> TrialRecord:
    """Starts trial `number`, trains two epochs and ends it with a third."""
    start(ledger, number, study, of)
    for done in (1, 2):
        ledger.record_epoch(study, number, epoch(done, 0.1 * done))
    reason = "" if state is State.COMPLETE else f"because {state}"
    return ledger.finish_trial(study, number, state, reason, epoch(3, 0.3 + number / 1_000))


def everything(ledger: Ledger) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all our tables."""
    with ledger.engine.connect() as connection:
        names = [name for name in sa.inspect(connection).get_table_names() if name.startswith("nas_")]
        return {name: sorted(map(tuple, connection.execute(sa.text(f"SELECT * FROM {name}"))), key=repr)
                for name in names}
