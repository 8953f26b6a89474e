"""What is written of the further trainings of a trial, each with a seed of its own. Every step can be repeated."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, bindparam, delete, select

from nas.store import evaluations, inserting
from nas.store.records import EpochRecord, EvaluationKey, IllegalStep, State, Tested
from nas.store.tables import EPOCH, EVALUATION, REPEAT

_this = (REPEAT.c.study_id == bindparam("of_study"), REPEAT.c.number == bindparam("of_number"),
         REPEAT.c.seed == bindparam("of_seed"))
_FOUND = select(REPEAT.c.evaluation_id, EVALUATION.c.state).join(
    EVALUATION, EVALUATION.c.id == REPEAT.c.evaluation_id).where(*_this)


def start(connection: Connection, study_id: int, number: int, seed: int, first: int, key: EvaluationKey) -> None:
    """The training with `seed` runs, or is finished where its result is there already; or nothing is done, where
    another study trains just this. first: the trial's own training, that of `key`."""
    if _found(connection, study_id, number, seed) is not None:
        return
    key = dataclasses.replace(key, seed=seed)
    held = evaluations.holder(connection, key)
    if held is None or not held.state.stored:
        if evaluations.in_flight(connection, study_id, held):
            return
        held = evaluations.add(connection, study_id, evaluations.cost_of(connection, first), key, held)
    inserting.add(connection, REPEAT, {
        "study_id": study_id, "number": number, "seed": seed, "evaluation_id": held.id})


def finish(connection: Connection, study_id: int, number: int, seed: int, key: EvaluationKey, state: State,
           reason: str, curve: Sequence[EpochRecord], device: str, tested: Tested | None = None) -> None:
    """The training with `seed` has come to its end, with all its epochs."""
    found = _found(connection, study_id, number, seed)
    if found is None:
        raise IllegalStep(f"trial {number} is not trained with seed {seed}")
    evaluation_id, was = found
    if was.finished:
        return
    for epoch in curve:
        evaluations.write_epoch(connection, evaluation_id, epoch)
    evaluations.set_values(connection, evaluation_id, state=state, reason=reason, finished=inserting.now(),
                           device=device, **evaluations.test_values(tested))
    if state.stored:
        evaluations.claim(connection, evaluation_id, dataclasses.replace(key, seed=seed))


def drop(connection: Connection, study_id: int, *states: State) -> list[int]:
    """Forget the study's own trainings with further seeds that are in any of `states`; the trials they were of."""
    mine: ColumnElement[bool] = REPEAT.c.study_id == study_id
    query = select(REPEAT.c.number, REPEAT.c.seed, REPEAT.c.evaluation_id).join(
        EVALUATION, EVALUATION.c.id == REPEAT.c.evaluation_id).where(
        mine, EVALUATION.c.state.in_(states), EVALUATION.c.study_id == study_id)
    found = connection.execute(query.order_by(REPEAT.c.number)).all()
    ids = [row.evaluation_id for row in found]
    for row in found:
        connection.execute(delete(REPEAT).where(mine, REPEAT.c.number == row.number, REPEAT.c.seed == row.seed))
    connection.execute(delete(EPOCH).where(EPOCH.c.evaluation_id.in_(ids)))
    connection.execute(delete(EVALUATION).where(EVALUATION.c.id.in_(ids)))
    return [row.number for row in found]


def _found(connection: Connection, study_id: int, number: int, seed: int) -> tuple[int, State] | None:
    row = connection.execute(_FOUND, {"of_study": study_id, "of_number": number, "of_seed": seed}).one_or_none()
    return None if row is None else (row.evaluation_id, row.state)
