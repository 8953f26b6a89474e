"""A study with other settings that begins with what an earlier one knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas.search.driver import evaluation_key
from nas.search.predicted import Predict, predicted
from nas.search.proposals import DataFacts
from nas.space import Point, SearchSpace
from nas.store import Ledger, State
from nas.study import Study


def forked(ledger: Ledger, study: Study, facts: DataFacts, predict: Predict | None = None) -> Study:
    """`study` under a free name, NAME-2 and so on; the same one again where it was forked so before.

    It begins with the earlier study's complete results, as far as its own settings would give the same: trials whose
    points are in its space and whose recipe, data and seed are the same.
    """
    number = 2
    while (there := ledger.study(f"{study.name}-{number}")) is not None and study.changes(there.spec):
        number += 1
    found = study.renamed(f"{study.name}-{number}")
    if there is None:
        ledger.patiently(lambda: _begin(ledger, study.name, found, facts, predict))
    return found


def _begin(ledger: Ledger, parent: str, study: Study, facts: DataFacts, predict: Predict | None) -> None:
    """Make the study with all that it inherits, in one commit: one that is killed here leaves no half of it."""
    with ledger.batch():
        ledger.create_study(study.name, study.spec())
        _inherit(ledger, parent, study, facts, predict)


def _inherit(ledger: Ledger, parent: str, study: Study, facts: DataFacts, predict: Predict | None) -> None:
    number = 0
    for trial in ledger.trials(parent):
        point = _fitting(study.space, trial.point) if trial.state is State.COMPLETE else None
        if point is None:
            continue
        judged = study.space.judge(point, facts.shape, facts.classes)
        key = evaluation_key(study, facts, judged)
        if not judged.broken and ledger.stored_evaluation(key) is not None:
            ledger.reuse_trial(study.name, number, point, predicted(predict, judged.architecture), key)
            number += 1


def _fitting(space: SearchSpace, point: Mapping[str, Any]) -> Point | None:
    """`point` where it is one of `space`."""
    found: Point = {}
    for axis in space.axes:
        if space.active(axis, found):
            if axis.name not in point or not axis.domain.holds(point[axis.name]):
                return None
            found[axis.name] = point[axis.name]
    return found if found.keys() == point.keys() else None
