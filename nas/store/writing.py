"""What each step of a trial writes, inside a transaction that the ledger opens. Every step can be repeated.

The number of statements of a step depends on neither the size of the study nor that of the database; they are built
once, because building one costs more than running it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, case, delete, select, update

from nas.network import Network
from nas.nodes import Cost
from nas.store import evaluations, inserting, repeats
from nas.store.evaluations import Held
from nas.store.records import EpochRecord, EvaluationKey, IllegalStep, Point, Refusals, State, Tested
from nas.store.tables import EPOCH, EVALUATION, INFEASIBLE, STUDY, TRIAL

_ENDS = {
    State.WAITING: {State.FAILED, State.OUT_OF_MEMORY},
    State.RUNNING: {State.COMPLETE, State.PRUNED, State.FAILED, State.OUT_OF_MEMORY},
}

_this_trial = (TRIAL.c.study_id == bindparam("of_study"), TRIAL.c.number == bindparam("of_number"))
_this_count = (INFEASIBLE.c.study_id == bindparam("of_study"), INFEASIBLE.c.name == bindparam("of_name"))
_STUDY_NAMED = select(STUDY.c.id).where(STUDY.c.name == bindparam("of_name"))
_POINT = select(TRIAL.c.point).where(*_this_trial)
_TRAINED = (
    select(TRIAL.c.state, TRIAL.c.evaluation_id, EVALUATION.c.architecture_id, EVALUATION.c.recipe_key,
           EVALUATION.c.data_key, EVALUATION.c.seed, EVALUATION.c.epochs)
    .join(EVALUATION, EVALUATION.c.id == TRIAL.c.evaluation_id).where(*_this_trial))
_SET_TRIAL = update(TRIAL).where(*_this_trial)
_SET_WEIGHTS = update(EVALUATION).where(
    EVALUATION.c.id == bindparam("of_evaluation"), EVALUATION.c.study_id == bindparam("of_study"))
_least, _most = INFEASIBLE.c.least, INFEASIBLE.c.most
_ADD_COUNT = update(INFEASIBLE).where(*_this_count).values(
    count=INFEASIBLE.c.count + bindparam("more"),
    least=case((_least < bindparam("new_least"), _least), else_=bindparam("new_least")),
    most=case((_most > bindparam("new_most"), _most), else_=bindparam("new_most")))


def add_study(connection: Connection, name: str, spec: Mapping[str, Any]) -> None:
    """A new study; nothing where there is one of that name."""
    if connection.execute(_STUDY_NAMED, {"of_name": name}).first() is None:
        inserting.add_once(connection, STUDY, {
            "name": name, "spec": dict(spec), "created": inserting.now(), "seconds_spent": 0.0})


def start(connection: Connection, study_id: int, number: int, point: Point, sampler_attrs: Mapping[str, Any],
          architecture: Network, cost: Cost, key: EvaluationKey) -> None:
    """A trial that runs; finished where its result is there already, waiting where another study trains the same."""
    if _begun(connection, study_id, number, point):
        return
    holder = evaluations.holder(connection, key)
    if holder is not None and holder.state.stored:
        _add_trial(connection, study_id, number, point, sampler_attrs, holder, reused=True)
        return
    evaluations.add_architecture(connection, key.architecture_id, architecture)
    training = evaluations.add(connection, study_id, cost, key, holder)
    _add_trial(connection, study_id, number, point, sampler_attrs, training, reused=False)
    if training.keyed:
        return
    if elsewhere := evaluations.in_flight(connection, study_id, evaluations.holder(connection, key)):
        _await(connection, study_id, number, training.id, elsewhere)


def reuse(connection: Connection, study_id: int, number: int, point: Point, sampler_attrs: Mapping[str, Any],
          key: EvaluationKey) -> None:
    """A trial that is finished with the stored result of `key`."""
    if _begun(connection, study_id, number, point):
        return
    holder = evaluations.holder(connection, key)
    if holder is None or not holder.state.stored:
        raise IllegalStep(f"trial {number} cannot reuse {key}: no such result is stored")
    _add_trial(connection, study_id, number, point, sampler_attrs, holder, reused=True)


def restart(connection: Connection, study_id: int, number: int) -> None:
    """A waiting trial runs again, or takes the result that another study stored meanwhile, or waits on for it."""
    trial = _trial(connection, study_id, number)
    if trial.state is not State.WAITING:
        return
    holder = evaluations.holder(connection, trial.key)
    if holder is not None and holder.state.stored:
        _set_trial(connection, study_id, number, evaluation_id=holder.id, state=holder.state, reason=holder.reason,
                   reused=True, finished=inserting.now())
        evaluations.drop(connection, trial.evaluation_id)
        return
    if elsewhere := evaluations.in_flight(connection, study_id, holder):
        _await(connection, study_id, number, trial.evaluation_id, elsewhere)
        return
    evaluations.take_key(connection, trial.evaluation_id, trial.key, holder)
    _set_trial(connection, study_id, number, state=State.RUNNING, reason="")
    evaluations.set_values(connection, trial.evaluation_id, state=State.RUNNING, started=inserting.now())


def _await(connection: Connection, study_id: int, number: int, evaluation_id: int, elsewhere: str) -> None:
    _set_trial(connection, study_id, number, state=State.WAITING, reason=f"study {elsewhere} trains the same network")
    evaluations.set_values(connection, evaluation_id, state=State.WAITING)


def promote(connection: Connection, study_id: int, number: int) -> None:
    """A pruned trial is gone on with; or takes another study's complete result, or waits for it. Its epochs stay."""
    trial = _trial(connection, study_id, number)
    if trial.state in (State.RUNNING, State.WAITING, State.COMPLETE):
        return      # it is done already
    if trial.state is not State.PRUNED:
        raise IllegalStep(f"trial {number} is {trial.state} and cannot be promoted")
    _set_trial(connection, study_id, number, state=State.WAITING, reason="", finished=None)
    evaluations.set_values(connection, trial.evaluation_id, state=State.WAITING, reason="", finished=None)
    restart(connection, study_id, number)


def record_epoch(connection: Connection, study_id: int, number: int, epoch: EpochRecord) -> None:
    """One epoch of a running trial."""
    trial = _trial(connection, study_id, number)
    if trial.state is State.RUNNING:
        evaluations.write_epoch(connection, trial.evaluation_id, epoch)
    elif not trial.state.finished or not evaluations.has_epoch(connection, trial.evaluation_id, epoch.epoch):
        raise IllegalStep(f"trial {number} is {trial.state} and cannot take epoch {epoch.epoch}")


def finish(connection: Connection, study_id: int, number: int, state: State, reason: str, epoch: EpochRecord | None,
           latency_ms: float | None, device: str, checkpoint: str | None, sha256: str | None,
           tested: Tested | None = None) -> None:
    """A trial comes to its end, with its last epoch if that is not written yet."""
    trial = _trial(connection, study_id, number)
    if trial.state is state and state.finished:
        return
    if state not in _ENDS.get(trial.state, ()):
        raise IllegalStep(f"trial {number} is {trial.state} and cannot become {state}")
    if epoch is not None:
        evaluations.write_epoch(connection, trial.evaluation_id, epoch)
    now = inserting.now()
    _set_trial(connection, study_id, number, state=state, reason=reason, finished=now)
    evaluations.set_values(connection, trial.evaluation_id, state=state, reason=reason, finished=now, device=device,
                    latency_ms=inserting.number(latency_ms), checkpoint=checkpoint, checkpoint_sha256=sha256,
                    **evaluations.test_values(tested))
    if state.stored:
        evaluations.claim(connection, trial.evaluation_id, trial.key)


def set_checkpoint(connection: Connection, study_id: int, number: int, path: str | None, sha256: str | None) -> None:
    """Where the weights of a trial lie; None: they are gone. Those of another study are not touched."""
    trial = _trial(connection, study_id, number)
    connection.execute(_SET_WEIGHTS, {"of_evaluation": trial.evaluation_id, "of_study": study_id,
                                      "checkpoint": path, "checkpoint_sha256": sha256})


def put_back(connection: Connection, study_id: int, numbers: Collection[int] | None) -> list[int]:
    """Running trials, or those of `numbers`, wait again; which of them wait now. Their epochs stay, and are written
    anew as they are trained again: how far a trial had come counts for others."""
    mine = TRIAL.c.study_id == study_id
    if numbers is not None:
        mine &= TRIAL.c.number.in_(numbers)
    else:
        repeats.drop(connection, study_id, State.RUNNING)
    running = mine & (TRIAL.c.state == State.RUNNING)
    trained = select(TRIAL.c.evaluation_id).where(running)
    connection.execute(update(EVALUATION).where(EVALUATION.c.id.in_(trained)).values(state=State.WAITING))
    connection.execute(update(TRIAL).where(running).values(state=State.WAITING))
    waiting = select(TRIAL.c.number).where(mine, TRIAL.c.state == State.WAITING)
    return list(connection.execute(waiting).scalars())


def retry(connection: Connection, study_id: int) -> list[int]:
    """The trials that failed or ran out of memory, with whichever seed, wait to be trained again; their numbers."""
    failed = (TRIAL.c.study_id == study_id) & TRIAL.c.state.in_([State.FAILED, State.OUT_OF_MEMORY])
    numbers = list(connection.execute(select(TRIAL.c.number).where(failed).order_by(TRIAL.c.number)).scalars())
    _wait_again(connection, failed)
    return sorted({*numbers, *repeats.drop(connection, study_id, State.FAILED, State.OUT_OF_MEMORY)})


def _wait_again(connection: Connection, which: ColumnElement[bool]) -> None:
    """Trials wait to be trained from the start."""
    trained = select(TRIAL.c.evaluation_id).where(which)
    connection.execute(delete(EPOCH).where(EPOCH.c.evaluation_id.in_(trained)))
    connection.execute(update(EVALUATION).where(EVALUATION.c.id.in_(trained)).values(
        state=State.WAITING, reason="", epochs_done=0, accuracy=None, loss=None, seconds=0.0, finished=None))
    connection.execute(update(TRIAL).where(which).values(state=State.WAITING, reason="", finished=None))


def add_infeasible(connection: Connection, study_id: int, refused: Mapping[str, Refusals]) -> None:
    """More points that broke a constraint, by its name."""
    for name, found in refused.items():
        row = {"study_id": study_id, "name": name, "count": found.count, "least": found.least, "most": found.most}
        more = {"of_study": study_id, "of_name": name, "more": found.count, "new_least": found.least,
                "new_most": found.most}
        if connection.execute(_ADD_COUNT, more).rowcount == 0 and not inserting.add_once(connection, INFEASIBLE, row):
            connection.execute(_ADD_COUNT, more)


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


def _add_trial(connection: Connection, study_id: int, number: int, point: Point, sampler_attrs: Mapping[str, Any],
               training: Held, reused: bool) -> None:
    now = inserting.now()
    inserting.add(connection, TRIAL, {
        "study_id": study_id, "number": number, "point": dict(point), "sampler_attrs": dict(sampler_attrs),
        "evaluation_id": training.id, "state": training.state, "reason": training.reason, "reused": reused,
        "created": now, "finished": now if training.state.finished else None})


def _set_trial(connection: Connection, study_id: int, number: int, **values: Any) -> None:
    connection.execute(_SET_TRIAL, {"of_study": study_id, "of_number": number, **values})


def start_repeat(connection: Connection, study_id: int, number: int, seed: int) -> None:
    """A COMPLETE trial is trained with another seed, or has the result of that where it is there already."""
    trial = _trial(connection, study_id, number)
    if trial.state is not State.COMPLETE:
        raise IllegalStep(f"trial {number} is {trial.state} and cannot be trained with another seed")
    repeats.start(connection, study_id, number, seed, trial.evaluation_id, trial.key)


def finish_repeat(connection: Connection, study_id: int, number: int, seed: int, state: State, reason: str,
                  curve: Sequence[EpochRecord], device: str, tested: Tested | None = None) -> None:
    """The training of a trial with another seed comes to its end, with all its epochs."""
    trial = _trial(connection, study_id, number)
    repeats.finish(connection, study_id, number, seed, trial.key, state, reason, curve, device, tested)
