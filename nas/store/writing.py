"""What each step of a trial writes, inside a transaction that the ledger opens. Every step can be repeated.

The number of statements of a step depends on neither the size of the study nor that of the database; they are built
once, because building one costs more than running it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from nas.architecture import Network
from nas.cost import Cost
from nas.store.records import EpochRecord, EvaluationKey, IllegalStep, Point, State
from nas.store.tables import ARCHITECTURE, EPOCH, EVALUATION, INFEASIBLE, STUDY, TRIAL

_ENDS = {
    State.WAITING: {State.FAILED, State.OUT_OF_MEMORY},
    State.RUNNING: {State.COMPLETE, State.PRUNED, State.FAILED, State.OUT_OF_MEMORY},
}

_this_trial = (TRIAL.c.study_id == bindparam("of_study"), TRIAL.c.number == bindparam("of_number"))
_this_epoch = (EPOCH.c.evaluation_id == bindparam("of_evaluation"), EPOCH.c.epoch == bindparam("of_epoch"))
_this_count = (INFEASIBLE.c.study_id == bindparam("of_study"), INFEASIBLE.c.name == bindparam("of_name"))
_of_evaluation = EPOCH.c.evaluation_id == bindparam("of_evaluation")
_STUDY_NAMED = select(STUDY.c.id).where(STUDY.c.name == bindparam("of_name"))
_POINT = select(TRIAL.c.point).where(*_this_trial)
_TRAINED = (
    select(TRIAL.c.state, TRIAL.c.evaluation_id, EVALUATION.c.architecture_id, EVALUATION.c.recipe_key,
           EVALUATION.c.data_key, EVALUATION.c.seed, EVALUATION.c.epochs)
    .join(EVALUATION, EVALUATION.c.id == TRIAL.c.evaluation_id).where(*_this_trial))
_HOLDER = select(EVALUATION.c.id, EVALUATION.c.state, EVALUATION.c.reason).where(
    EVALUATION.c.key == bindparam("of_key"))
_ARCHITECTURE = select(ARCHITECTURE.c.id).where(ARCHITECTURE.c.id == bindparam("of_architecture"))
_HAS_EPOCH = select(EPOCH.c.epoch).where(*_this_epoch)
_LAST_EPOCH = select(EPOCH.c.epoch, EPOCH.c.accuracy, EPOCH.c.loss).where(_of_evaluation).order_by(
    EPOCH.c.epoch.desc()).limit(1)
_SECONDS = select(func.sum(EPOCH.c.seconds)).where(_of_evaluation)
_SET_TRIAL = update(TRIAL).where(*_this_trial)
_SET_EVALUATION = update(EVALUATION).where(EVALUATION.c.id == bindparam("of_evaluation"))
_SET_EPOCH = update(EPOCH).where(*_this_epoch)
_SET_WEIGHTS = _SET_EVALUATION.where(EVALUATION.c.study_id == bindparam("of_study"))
_DROP_EVALUATION = delete(EVALUATION).where(EVALUATION.c.id == bindparam("of_evaluation"))
_DROP_EPOCHS = delete(EPOCH).where(_of_evaluation)
_COST = select(EVALUATION.c.params, EVALUATION.c.macs, EVALUATION.c.activations).where(
    EVALUATION.c.id == bindparam("of_evaluation"))
_USERS = select(func.count()).select_from(TRIAL).where(TRIAL.c.evaluation_id == bindparam("of_evaluation"))
_ADD_COUNT = update(INFEASIBLE).where(*_this_count).values(count=INFEASIBLE.c.count + bindparam("more"))
_INSERT = {table: insert(table) for table in (STUDY, ARCHITECTURE, EVALUATION, EPOCH, TRIAL, INFEASIBLE)}


def add_study(connection: Connection, name: str, spec: Mapping[str, Any]) -> None:
    """A new study; nothing where there is one of that name."""
    if connection.execute(_STUDY_NAMED, {"of_name": name}).first() is None:
        _insert_once(connection, STUDY, {"name": name, "spec": dict(spec), "created": _now(), "seconds_spent": 0.0})


def start(connection: Connection, study_id: int, number: int, point: Point, sampler_attrs: Mapping[str, Any],
          architecture: Network, cost: Cost, key: EvaluationKey) -> None:
    """A trial that runs, or one that is finished where its result is there already."""
    if _begun(connection, study_id, number, point):
        return
    holder = _holder(connection, key)
    if holder is not None and holder.state.stored:
        _add_trial(connection, study_id, number, point, sampler_attrs, holder, reused=True)
        return
    _add_architecture(connection, key.architecture_id, architecture)
    training = _Training(_add_evaluation(connection, study_id, cost, key, holder), State.RUNNING, "")
    _add_trial(connection, study_id, number, point, sampler_attrs, training, reused=False)


def reuse(connection: Connection, study_id: int, number: int, point: Point, sampler_attrs: Mapping[str, Any],
          key: EvaluationKey) -> None:
    """A trial that is finished with the stored result of `key`."""
    if _begun(connection, study_id, number, point):
        return
    holder = _holder(connection, key)
    if holder is None or not holder.state.stored:
        raise IllegalStep(f"trial {number} cannot reuse {key}: no such result is stored")
    _add_trial(connection, study_id, number, point, sampler_attrs, holder, reused=True)


def restart(connection: Connection, study_id: int, number: int) -> None:
    """A waiting trial runs again, or takes the result that another study stored meanwhile."""
    trial = _trial(connection, study_id, number)
    if trial.state is not State.WAITING:
        return
    holder = _holder(connection, trial.key)
    if holder is not None and holder.state.stored:
        _set_trial(connection, study_id, number, evaluation_id=holder.id, state=holder.state, reason=holder.reason,
                   reused=True, finished=_now())
        connection.execute(_DROP_EVALUATION, {"of_evaluation": trial.evaluation_id})
        return
    _set_trial(connection, study_id, number, state=State.RUNNING)
    _set_evaluation(connection, trial.evaluation_id, state=State.RUNNING, started=_now())


def promote(connection: Connection, study_id: int, number: int) -> None:
    """A pruned trial is trained again, to the end this time; or takes the complete result of another study."""
    trial = _trial(connection, study_id, number)
    if trial.state is State.RUNNING:
        return
    if trial.state is not State.PRUNED:
        raise IllegalStep(f"trial {number} is {trial.state} and cannot be promoted")
    holder = _holder(connection, trial.key)
    if holder is not None and holder.state.stored:
        new, reused = holder, True
    else:
        cost = Cost(**connection.execute(_COST, {"of_evaluation": trial.evaluation_id}).one()._asdict())
        new = _Training(_add_evaluation(connection, study_id, cost, trial.key, holder), State.RUNNING, "")
        reused = False
    _set_trial(connection, study_id, number, evaluation_id=new.id, state=new.state, reason=new.reason, reused=reused,
               finished=_now() if reused else None)
    if connection.execute(_USERS, {"of_evaluation": trial.evaluation_id}).scalar_one() == 0:
        connection.execute(_DROP_EPOCHS, {"of_evaluation": trial.evaluation_id})
        connection.execute(_DROP_EVALUATION, {"of_evaluation": trial.evaluation_id})


def record_epoch(connection: Connection, study_id: int, number: int, epoch: EpochRecord) -> None:
    """One epoch of a running trial."""
    trial = _trial(connection, study_id, number)
    if trial.state is State.RUNNING:
        _write_epoch(connection, trial.evaluation_id, epoch)
    elif not trial.state.finished or not _has_epoch(connection, trial.evaluation_id, epoch.epoch):
        raise IllegalStep(f"trial {number} is {trial.state} and cannot take epoch {epoch.epoch}")


def finish(connection: Connection, study_id: int, number: int, state: State, reason: str, epoch: EpochRecord | None,
           latency_ms: float | None, device: str, checkpoint: str | None, sha256: str | None) -> None:
    """A trial comes to its end, with its last epoch if that is not written yet."""
    trial = _trial(connection, study_id, number)
    if trial.state is state and state.finished:
        return
    if state not in _ENDS.get(trial.state, ()):
        raise IllegalStep(f"trial {number} is {trial.state} and cannot become {state}")
    if epoch is not None:
        _write_epoch(connection, trial.evaluation_id, epoch)
    now = _now()
    _set_trial(connection, study_id, number, state=state, reason=reason, finished=now)
    _set_evaluation(connection, trial.evaluation_id, state=state, reason=reason, finished=now, device=device,
                    latency_ms=_number(latency_ms), checkpoint=checkpoint, checkpoint_sha256=sha256)
    if state.stored:
        _claim(connection, trial.evaluation_id, trial.key)


def set_checkpoint(connection: Connection, study_id: int, number: int, path: str | None, sha256: str | None) -> None:
    """Where the weights of a trial lie; None: they are gone. Those of another study are not touched."""
    trial = _trial(connection, study_id, number)
    connection.execute(_SET_WEIGHTS, {"of_evaluation": trial.evaluation_id, "of_study": study_id,
                                      "checkpoint": path, "checkpoint_sha256": sha256})


def put_back(connection: Connection, study_id: int, numbers: Collection[int] | None) -> list[int]:
    """Running trials, or those of `numbers`, wait again without the epochs they had. Which of them wait now."""
    mine = TRIAL.c.study_id == study_id
    if numbers is not None:
        mine &= TRIAL.c.number.in_(numbers)
    _wait_again(connection, mine & (TRIAL.c.state == State.RUNNING))
    waiting = select(TRIAL.c.number).where(mine, TRIAL.c.state == State.WAITING)
    return list(connection.execute(waiting).scalars())


def retry(connection: Connection, study_id: int) -> list[int]:
    """The trials that failed or ran out of memory wait to be trained again; their numbers."""
    failed = (TRIAL.c.study_id == study_id) & TRIAL.c.state.in_([State.FAILED, State.OUT_OF_MEMORY])
    numbers = list(connection.execute(select(TRIAL.c.number).where(failed).order_by(TRIAL.c.number)).scalars())
    _wait_again(connection, failed)
    return numbers


def _wait_again(connection: Connection, which: ColumnElement[bool]) -> None:
    """Trials wait to be trained from the start."""
    trained = select(TRIAL.c.evaluation_id).where(which)
    connection.execute(delete(EPOCH).where(EPOCH.c.evaluation_id.in_(trained)))
    connection.execute(update(EVALUATION).where(EVALUATION.c.id.in_(trained)).values(
        state=State.WAITING, reason="", epochs_done=0, accuracy=None, loss=None, seconds=0.0, finished=None))
    connection.execute(update(TRIAL).where(which).values(state=State.WAITING, reason="", finished=None))


def add_infeasible(connection: Connection, study_id: int, counts: Mapping[str, int]) -> None:
    """More points that broke a constraint, by its name."""
    for name, count in counts.items():
        row = {"study_id": study_id, "name": name, "count": count}
        more = {"of_study": study_id, "of_name": name, "more": count}
        if connection.execute(_ADD_COUNT, more).rowcount == 0 and not _insert_once(connection, INFEASIBLE, row):
            connection.execute(_ADD_COUNT, more)


@dataclass(frozen=True, slots=True)
class _Training:
    """A training, its state and why it ended."""

    id: int
    state: State
    reason: str


@dataclass(frozen=True, slots=True)
class _Trained:
    """A trial's state, its training and the key of that."""

    state: State
    evaluation_id: int
    key: EvaluationKey


def _begun(connection: Connection, study_id: int, number: int, point: Point) -> bool:
    """Whether the trial is there already; raises IllegalStep where it is another one."""
    found = connection.execute(_POINT, {"of_study": study_id, "of_number": number}).scalar_one_or_none()
    if found is not None and found != dict(point):
        raise IllegalStep(f"trial {number} is there already with another point: {found}")
    return found is not None


def _trial(connection: Connection, study_id: int, number: int) -> _Trained:
    row = connection.execute(_TRAINED, {"of_study": study_id, "of_number": number}).one_or_none()
    if row is None:
        raise IllegalStep(f"there is no trial {number}")
    key = EvaluationKey(row.architecture_id, row.recipe_key, row.data_key, row.seed, row.epochs)
    return _Trained(row.state, row.evaluation_id, key)


def _holder(connection: Connection, key: EvaluationKey) -> _Training | None:
    row = connection.execute(_HOLDER, {"of_key": key.key}).one_or_none()
    return None if row is None else _Training(row.id, row.state, row.reason)


def _add_architecture(connection: Connection, identity: str, architecture: Network) -> None:
    if connection.execute(_ARCHITECTURE, {"of_architecture": identity}).first() is None:
        _insert_once(connection, ARCHITECTURE, {
            "id": identity, "canonical": architecture.canonical().to_dict(), "line": architecture.line()})


def _add_evaluation(connection: Connection, study_id: int, cost: Cost, key: EvaluationKey,
                    holder: _Training | None) -> int:
    """A training that runs. It holds its key, unless another that runs or waits does."""
    if holder is not None and holder.state.finished:
        _set_evaluation(connection, holder.id, key=None)
    row: dict[str, Any] = {
        "key": key.key, "architecture_id": key.architecture_id, "recipe_key": key.recipe_key,
        "data_key": key.data_key, "seed": key.seed, "epochs": key.epochs, "study_id": study_id,
        "state": State.RUNNING, "reason": "", "epochs_done": 0, "seconds": 0.0, "device": "", "started": _now(),
        "params": cost.params, "macs": cost.macs, "activations": cost.activations}
    if holder is None or holder.state.finished:
        inserted = _insert_once(connection, EVALUATION, row)
        if inserted:
            return int(inserted[0])
    return int(_insert(connection, EVALUATION, {**row, "key": None})[0])


def _add_trial(connection: Connection, study_id: int, number: int, point: Point, sampler_attrs: Mapping[str, Any],
               training: _Training, reused: bool) -> None:
    now = _now()
    connection.execute(_INSERT[TRIAL], {
        "study_id": study_id, "number": number, "point": dict(point), "sampler_attrs": dict(sampler_attrs),
        "evaluation_id": training.id, "state": training.state, "reason": training.reason, "reused": reused,
        "created": now, "finished": now if training.state.finished else None})


def _write_epoch(connection: Connection, evaluation_id: int, epoch: EpochRecord) -> None:
    values = {"train_loss": _number(epoch.train_loss), "loss": _number(epoch.loss),
              "accuracy": _number(epoch.accuracy), "seconds": float(epoch.seconds)}
    row = {"of_evaluation": evaluation_id, "of_epoch": epoch.epoch}
    if connection.execute(_SET_EPOCH, {**row, **values}).rowcount == 0:
        connection.execute(_INSERT[EPOCH], {"evaluation_id": evaluation_id, "epoch": epoch.epoch, **values})
    whose = {"of_evaluation": evaluation_id}
    done, accuracy, loss = connection.execute(_LAST_EPOCH, whose).one()
    seconds = connection.execute(_SECONDS, whose).scalar_one()
    _set_evaluation(connection, evaluation_id, epochs_done=done, accuracy=accuracy, loss=loss, seconds=seconds)


def _has_epoch(connection: Connection, evaluation_id: int, epoch: int) -> bool:
    return connection.execute(_HAS_EPOCH, {"of_evaluation": evaluation_id, "of_epoch": epoch}).first() is not None


def _claim(connection: Connection, evaluation_id: int, key: EvaluationKey) -> None:
    """A result that stands holds its key, unless another one got there first."""
    holder = _holder(connection, key)
    if holder is not None and (holder.id == evaluation_id or holder.state.stored):
        return
    if holder is not None:
        _set_evaluation(connection, holder.id, key=None)
    # Another study may do the same in this moment: one of the two then holds it.
    with contextlib.suppress(IntegrityError), _raced(connection):
        _set_evaluation(connection, evaluation_id, key=key.key)


def _set_trial(connection: Connection, study_id: int, number: int, **values: Any) -> None:
    connection.execute(_SET_TRIAL, {"of_study": study_id, "of_number": number, **values})


def _set_evaluation(connection: Connection, evaluation_id: int, **values: Any) -> None:
    connection.execute(_SET_EVALUATION, {"of_evaluation": evaluation_id, **values})


def _insert(connection: Connection, table: Table, row: Mapping[str, Any]) -> tuple[Any, ...]:
    """The primary key of the new row."""
    inserted = connection.execute(_INSERT[table], row).inserted_primary_key
    assert inserted is not None
    return tuple(inserted)


def _insert_once(connection: Connection, table: Table, row: Mapping[str, Any]) -> tuple[Any, ...]:
    """The primary key of the new row; empty where another process has just inserted its like."""
    with contextlib.suppress(IntegrityError), _raced(connection):
        return _insert(connection, table, row)
    return ()


def _raced(connection: Connection) -> AbstractContextManager[Any]:
    """A savepoint where other processes write at the same time; on SQLite a writer is alone."""
    return contextlib.nullcontext() if connection.dialect.name == "sqlite" else connection.begin_nested()


def _number(value: float | None) -> float | None:
    """None for what is not a number: databases differ in what they make of it."""
    return None if value is None or math.isnan(value) else float(value)


def _now() -> datetime:
    return datetime.now(UTC)
