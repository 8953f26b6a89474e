"""The records room: every study, network, training and epoch in one database, and its picture for Optuna's dashboard.

`Ledger` is the truth; `Projection` is made from it. What to try, how to train and when to stop is decided elsewhere:
nothing here imports the search, the trainer, torch or Ray, and Optuna only with `Projection`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nas.store.engine import StoreError
from nas.store.lease import LeaseHeld, LeaseLost
from nas.store.ledger import Ledger
from nas.store.records import (
    EpochRecord,
    EvaluationKey,
    EvaluationRecord,
    IllegalStep,
    Refusals,
    State,
    StudyRecord,
    Tested,
    Training,
    TrialRecord,
)

if TYPE_CHECKING:
    from nas.store.projection import Projection

__all__ = [
    "EpochRecord", "EvaluationKey", "EvaluationRecord", "IllegalStep", "LeaseHeld",
    "LeaseLost", "Ledger", "Projection", "Refusals", "State", "StoreError",
    "StudyRecord", "Tested", "Training", "TrialRecord",
]


def __getattr__(name: str) -> Any:
    if name == "Projection":        # brings Optuna along: 0.3 s
        from nas.store.projection import Projection

        return Projection
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
