"""What is written of a training: its row, its epochs, and the key that one of its like holds."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from nas.network import Network
from nas.nodes import Cost
from nas.store import inserting, lease
from nas.store.inserting import number
from nas.store.records import EpochRecord, EvaluationKey, State, Tested
from nas.store.tables import ARCHITECTURE, EPOCH, EVALUATION, STUDY

_this = EVALUATION.c.id == bindparam("of_evaluation")
_of_evaluation = EPOCH.c.evaluation_id == bindparam("of_evaluation")
_this_epoch = (_of_evaluation, EPOCH.c.epoch == bindparam("of_epoch"))
_HOLDER = select(EVALUATION.c.id, EVALUATION.c.state, EVALUATION.c.reason).where(
    EVALUATION.c.key == bindparam("of_key"))
_ARCHITECTURE = select(ARCHITECTURE.c.id).where(ARCHITECTURE.c.id == bindparam("of_architecture"))
_HAS_EPOCH = select(EPOCH.c.epoch).where(*_this_epoch)
_LAST_EPOCH = select(EPOCH.c.epoch, EPOCH.c.accuracy, EPOCH.c.loss).where(_of_evaluation).order_by(
    EPOCH.c.epoch.desc()).limit(1)
_SECONDS = select(func.sum(EPOCH.c.seconds)).where(_of_evaluation)
_SET = update(EVALUATION).where(_this)
_SET_EPOCH = update(EPOCH).where(*_this_epoch)
_COST = select(EVALUATION.c.params, EVALUATION.c.macs, EVALUATION.c.activations).where(_this)
_DROP = delete(EVALUATION).where(_this)
_DROP_EPOCHS = delete(EPOCH).where(_of_evaluation)
_FOREIGN = select(EVALUATION.c.study_id, STUDY.c.name).join(STUDY, STUDY.c.id == EVALUATION.c.study_id).where(
    _this, EVALUATION.c.study_id != bindparam("of_study"))


@dataclass(frozen=True, slots=True)
class Held:
    """A training, its state and why it ended."""

    id: int
    state: State
    reason: str
    keyed: bool = True      # it holds its key


def holder(connection: Connection, key: EvaluationKey) -> Held | None:
    """The training that holds `key`."""
    row = connection.execute(_HOLDER, {"of_key": key.key}).one_or_none()
    return None if row is None else Held(row.id, row.state, row.reason)


def add_architecture(connection: Connection, identity: str, architecture: Network) -> None:
    """A network; nothing where it is there."""
    if connection.execute(_ARCHITECTURE, {"of_architecture": identity}).first() is None:
        inserting.add_once(connection, ARCHITECTURE, {
            "id": identity, "canonical": architecture.canonical().to_dict(), "line": architecture.line()})


def add(connection: Connection, study_id: int, cost: Cost, key: EvaluationKey, held: Held | None) -> Held:
    """A training that runs. It holds its key, unless another study trains just this. `held`: the one that has it."""
    free = not in_flight(connection, study_id, held)
    if held is not None and free:
        set_values(connection, held.id, key=None)
    row: dict[str, Any] = {
        "key": key.key, "architecture_id": key.architecture_id, "recipe_key": key.recipe_key,
        "data_key": key.data_key, "seed": key.seed, "epochs": key.epochs, "study_id": study_id,
        "state": State.RUNNING, "reason": "", "epochs_done": 0, "seconds": 0.0, "device": "",
        "started": inserting.now(), "params": cost.params, "macs": cost.macs, "activations": cost.activations}
    inserted: tuple[Any, ...] = ()
    if free:
        inserted = inserting.add_once(connection, EVALUATION, row)
    keyed = bool(inserted)
    if not keyed:
        inserted = inserting.add(connection, EVALUATION, {**row, "key": None})
    return Held(int(inserted[0]), State.RUNNING, "", keyed)


def cost_of(connection: Connection, evaluation_id: int) -> Cost:
    """The cost of the network that it trains."""
    return Cost(**connection.execute(_COST, {"of_evaluation": evaluation_id}).one()._asdict())


def set_values(connection: Connection, evaluation_id: int, **values: Any) -> None:
    """Other values in the row."""
    connection.execute(_SET, {"of_evaluation": evaluation_id, **values})


def test_values(tested: Tested | None) -> dict[str, Any]:
    """The columns of what was read on the test part, just now."""
    if tested is None:
        return {}
    return {"test_accuracy": tested.accuracy, "test_loss": number(tested.loss), "tested": inserting.now()}


def drop(connection: Connection, evaluation_id: int) -> None:
    """Delete it and its epochs: nothing points at it any more."""
    connection.execute(_DROP_EPOCHS, {"of_evaluation": evaluation_id})
    connection.execute(_DROP, {"of_evaluation": evaluation_id})


def write_epoch(connection: Connection, evaluation_id: int, epoch: EpochRecord) -> None:
    """One epoch, new or again; accuracy, loss, epochs and seconds of the training follow."""
    values = {"train_loss": number(epoch.train_loss), "loss": number(epoch.loss),
              "accuracy": number(epoch.accuracy), "seconds": float(epoch.seconds)}
    row = {"of_evaluation": evaluation_id, "of_epoch": epoch.epoch}
    if connection.execute(_SET_EPOCH, {**row, **values}).rowcount == 0:
        inserting.add(connection, EPOCH, {"evaluation_id": evaluation_id, "epoch": epoch.epoch, **values})
    whose = {"of_evaluation": evaluation_id}
    done, accuracy, loss = connection.execute(_LAST_EPOCH, whose).one()
    seconds = connection.execute(_SECONDS, whose).scalar_one()
    set_values(connection, evaluation_id, epochs_done=done, accuracy=accuracy, loss=loss, seconds=seconds)


def has_epoch(connection: Connection, evaluation_id: int, epoch: int) -> bool:
    """Whether that epoch is written."""
    return connection.execute(_HAS_EPOCH, {"of_evaluation": evaluation_id, "of_epoch": epoch}).first() is not None


def take_key(connection: Connection, evaluation_id: int, key: EvaluationKey, held: Held | None) -> None:
    """A training that runs from now on holds its key. `held`: who has it, and does not train it now."""
    if held is not None and held.id == evaluation_id:
        return
    if held is not None:
        set_values(connection, held.id, key=None)
    # Another study may do the same in this moment: one of the two then holds it.
    with contextlib.suppress(IntegrityError), inserting.raced(connection):
        set_values(connection, evaluation_id, key=key.key)


def claim(connection: Connection, evaluation_id: int, key: EvaluationKey) -> None:
    """A result that stands holds its key, unless another one got there first."""
    held = holder(connection, key)
    if held is None or not held.state.stored:
        take_key(connection, evaluation_id, key, held)


def in_flight(connection: Connection, study_id: int, held: Held | None) -> str:
    """The name of another study whose driver lives and trains what has the key; empty where none does."""
    if held is None or held.state is not State.RUNNING:
        return ""
    foreign = connection.execute(_FOREIGN, {"of_evaluation": held.id, "of_study": study_id}).one_or_none()
    if foreign is None:
        return ""
    driver = lease.holder(connection, foreign.study_id)
    return str(foreign.name) if driver is not None and driver.alive else ""
