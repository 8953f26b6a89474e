"""From the ledger's rows to its records: the queries, and nothing that writes."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, select

from nas.network import Network, network_from_dict
from nas.store.records import (
    PREDICTED,
    EpochRecord,
    EvaluationKey,
    EvaluationRecord,
    Refusals,
    State,
    StudyRecord,
    Training,
    TrialRecord,
)
from nas.store.tables import ARCHITECTURE, EPOCH, EVALUATION, INFEASIBLE, REPEAT, STUDY, TRIAL

_CHUNK = 500    # numbers in one IN: below every database's limit

_e, _t = EVALUATION.c, TRIAL.c
_KEY = (_e.architecture_id, _e.recipe_key, _e.data_key, _e.seed, _e.epochs)
_RESULT = (_e.epochs_done, _e.accuracy, _e.loss, _e.latency_ms, _e.params, _e.macs, _e.activations, _e.seconds,
           _e.device, _e.checkpoint, _e.checkpoint_sha256, _e.test_accuracy, _e.test_loss, _e.tested,
           STUDY.c.name.label("trained_by"))
_mine = _t.study_id == bindparam("of_study")
_TRIALS = (
    select(_t.number, _t.state, _t.reason, _t.point, _t.sampler_attrs, _t.reused, _t.created, _t.finished,
           ARCHITECTURE.c.canonical, ARCHITECTURE.c.line, *_KEY, *_RESULT)
    .join(EVALUATION, _e.id == _t.evaluation_id)
    .join(ARCHITECTURE, ARCHITECTURE.c.id == _e.architecture_id)
    .join(STUDY, STUDY.c.id == _e.study_id)
    .where(_mine).order_by(_t.number))
_EPOCHS = (
    select(_t.number, EPOCH.c.epoch, EPOCH.c.train_loss, EPOCH.c.loss, EPOCH.c.accuracy, EPOCH.c.seconds)
    .join(EPOCH, EPOCH.c.evaluation_id == _t.evaluation_id)
    .where(_mine).order_by(_t.number, EPOCH.c.epoch))
_REPEATS = (
    select(REPEAT.c.number, REPEAT.c.seed, _e.state, _e.reason, _e.accuracy, _e.loss, _e.seconds, _e.test_accuracy,
           _e.test_loss, _e.tested)
    .join(EVALUATION, _e.id == REPEAT.c.evaluation_id)
    .where(REPEAT.c.study_id == bindparam("of_study")).order_by(REPEAT.c.number, REPEAT.c.seed))
_numbers: BindParameter[Any] = bindparam("of_numbers", expanding=True)
_some = _t.number.in_(_numbers)
_SOME_TRIALS, _SOME_EPOCHS = _TRIALS.where(_some), _EPOCHS.where(_some)
_SOME_REPEATS = _REPEATS.where(REPEAT.c.number.in_(_numbers))
_EVALUATION = (
    select(*_KEY, *_RESULT, _e.state, _e.reason, _e.started, _e.finished)
    .join(STUDY, STUDY.c.id == _e.study_id).where(_e.key == bindparam("of_key")))


def trials(connection: Connection, study_id: int, numbers: Collection[int] | None = None) -> list[TrialRecord]:
    """The study's trials in the order of their numbers, or those of `numbers`."""
    rows = list(_rows(connection, _TRIALS, _SOME_TRIALS, study_id, numbers))
    complete = [row.number for row in rows if row.state is State.COMPLETE]
    repeats: dict[int, list[Training]] = {}
    if complete:
        wanted = None if numbers is None else complete
        for number, *training in _rows(connection, _REPEATS, _SOME_REPEATS, study_id, wanted):
            repeats.setdefault(number, []).append(Training(*training))
    return [_trial(row, repeats.get(row.number, ())) for row in rows]


def epochs(connection: Connection, study_id: int, numbers: Collection[int] | None = None,
           ) -> dict[int, list[EpochRecord]]:
    """Learning curves by trial number; a reused trial's is that of the training it reuses."""
    curves: dict[int, list[EpochRecord]] = {}
    rows = _rows(connection, _EPOCHS, _SOME_EPOCHS, study_id, numbers)
    for number, epoch, train_loss, loss, accuracy, seconds in rows:
        record = EpochRecord(epoch, _number(train_loss), _number(loss), _number(accuracy), seconds)
        curves.setdefault(number, []).append(record)
    return curves


def evaluation(connection: Connection, key: str) -> EvaluationRecord | None:
    """The training that holds `key`, in whatever state."""
    row = connection.execute(_EVALUATION, {"of_key": key}).one_or_none()
    if row is None:
        return None
    return EvaluationRecord(
        key=_key(row), state=row.state, reason=row.reason, epochs_done=row.epochs_done, accuracy=row.accuracy,
        loss=row.loss, latency_ms=row.latency_ms, params=row.params, macs=row.macs, activations=row.activations,
        seconds=row.seconds, device=row.device, checkpoint=row.checkpoint, checkpoint_sha256=row.checkpoint_sha256,
        started=row.started, finished=row.finished, study=row.trained_by)


def shared(connection: Connection, study_id: int, number: int) -> bool:
    """Whether a trial of another study points at the training of this one."""
    mine = select(_t.evaluation_id).where(_t.study_id == study_id, _t.number == number).scalar_subquery()
    others = select(_t.number).where(_t.evaluation_id == mine, _t.study_id != study_id).limit(1)
    return connection.execute(others).first() is not None


def studies(connection: Connection, name: str | None = None) -> list[StudyRecord]:
    """All studies by age, or the one called `name`."""
    query = select(STUDY.c.name, STUDY.c.spec, STUDY.c.created, STUDY.c.seconds_spent).order_by(STUDY.c.id)
    if name is not None:
        query = query.where(STUDY.c.name == name)
    return [StudyRecord(*row) for row in connection.execute(query)]


def infeasible(connection: Connection, study_id: int) -> dict[str, Refusals]:
    """Points that broke a constraint, by its name."""
    table = INFEASIBLE.c
    query = select(table.name, table.count, table.least, table.most).where(table.study_id == study_id)
    return {name: Refusals(*found) for name, *found in connection.execute(query.order_by(table.name))}


def _rows(connection: Connection, every: Any, some: Any, study_id: int, numbers: Collection[int] | None,
          ) -> Iterator[Any]:
    if numbers is None:
        yield from connection.execute(every, {"of_study": study_id})
        return
    wanted = sorted(set(numbers))
    for start in range(0, len(wanted), _CHUNK):
        chunk = wanted[start:start + _CHUNK]
        yield from connection.execute(some, {"of_study": study_id, "of_numbers": chunk})


def _trial(row: Any, repeats: Sequence[Training]) -> TrialRecord:
    key = _key(row)
    first = Training(key.seed, row.state, row.reason, row.accuracy, row.loss, row.seconds, row.test_accuracy,
                     row.test_loss, row.tested)
    whole = [first, *(one for one in repeats if one.state is State.COMPLETE)]
    return TrialRecord(
        number=row.number, state=row.state, reason=row.reason, point=row.point, sampler_attrs=row.sampler_attrs,
        network=_network(json.dumps(row.canonical)), architecture_id=key.architecture_id, line=row.line,
        params=row.params, macs=row.macs, activations=row.activations, accuracy=_mean(one.accuracy for one in whole),
        loss=_mean(one.loss for one in whole), latency_ms=row.sampler_attrs.get(PREDICTED, row.latency_ms),
        epochs=row.epochs_done, seconds=row.seconds + sum(one.seconds for one in repeats), reused=row.reused,
        created=row.created, finished=row.finished, checkpoint=row.checkpoint,
        checkpoint_sha256=row.checkpoint_sha256, evaluation_key=key, device=row.device, trained_by=row.trained_by,
        trainings=(first, *repeats))


def _mean(values: Iterable[float | None]) -> float | None:
    """None where one of them is."""
    known: list[float] = []
    for value in values:
        if value is None:
            return None
        known.append(value)
    return statistics.fmean(known)


def _key(row: Any) -> EvaluationKey:
    return EvaluationKey(row.architecture_id, row.recipe_key, row.data_key, row.seed, row.epochs)


@lru_cache(maxsize=16_384)
def _network(canonical: str) -> Network:
    return network_from_dict(json.loads(canonical))


def _number(value: float | None) -> float:
    return math.nan if value is None else value
