"""The ledger's tables, `nas_` before each name: they live beside Optuna's in one database.

Only their shape stands here. `nas.store.migrations` brings a database to it; a change here needs a migration there
(a test compares the two). Times are naive UTC in the database and aware in Python.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Double, Enum, ForeignKey, Index, MetaData, String, Table, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from nas.store.records import State

PREFIX = "nas_"


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, kept as naive UTC."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class JsonText(TypeDecorator[dict[str, Any]]):
    """A dict as JSON text: the same in every database, its order and its infinities kept."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: dict[str, Any] | None, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, separators=(",", ":"), ensure_ascii=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> dict[str, Any] | None:
        return None if value is None else dict(json.loads(value))


class Base(DeclarativeBase):
    """What the tables share: names of constraints, and column types by Python type."""

    metadata = MetaData(naming_convention={
        "ix": "ix_%(column_0_N_label)s", "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"})
    type_annotation_map = {   # noqa: RUF012 - SQLAlchemy's own form
        datetime: UtcDateTime,
        dict[str, Any]: JsonText,
        State: Enum(State, native_enum=False, length=16, create_constraint=False),
        str: Text,
        float: Double,
    }


class StudyRow(Base):
    """A search, by name."""

    __tablename__ = "nas_study"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(255), unique=True)
    spec: Mapped[dict[str, Any]]
    created: Mapped[datetime]
    seconds_spent: Mapped[float]


class ArchitectureRow(Base):
    """A network in its canonical form, once for all studies."""

    __tablename__ = "nas_architecture"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    canonical: Mapped[dict[str, Any]]
    line: Mapped[str]


class EvaluationRow(Base):
    """One training. `key` is held by the one training that counts for it.

    It is null for one that failed and was tried again, and for one that ran while another study trained the same.
    """

    __tablename__ = "nas_evaluation"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str | None] = mapped_column(String(64), unique=True)
    architecture_id: Mapped[str] = mapped_column(String(16), ForeignKey("nas_architecture.id"))
    recipe_key: Mapped[str] = mapped_column(String(64))
    data_key: Mapped[str] = mapped_column(String(64))
    seed: Mapped[int] = mapped_column(BigInteger)
    epochs: Mapped[int]
    state: Mapped[State]
    reason: Mapped[str]
    epochs_done: Mapped[int]
    accuracy: Mapped[float | None]
    loss: Mapped[float | None]
    latency_ms: Mapped[float | None]
    test_accuracy: Mapped[float | None]
    test_loss: Mapped[float | None]
    tested: Mapped[datetime | None]
    params: Mapped[int] = mapped_column(BigInteger)
    macs: Mapped[int] = mapped_column(BigInteger)
    activations: Mapped[int] = mapped_column(BigInteger)
    seconds: Mapped[float]
    device: Mapped[str]
    checkpoint: Mapped[str | None]
    checkpoint_sha256: Mapped[str | None] = mapped_column(String(64))
    started: Mapped[datetime]
    finished: Mapped[datetime | None]
    study_id: Mapped[int] = mapped_column(ForeignKey("nas_study.id"))


class EpochRow(Base):
    """One epoch of one training; a value that was not a number is null."""

    __tablename__ = "nas_epoch"

    evaluation_id: Mapped[int] = mapped_column(ForeignKey("nas_evaluation.id"), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    train_loss: Mapped[float | None]
    loss: Mapped[float | None]
    accuracy: Mapped[float | None]
    seconds: Mapped[float]


class TrialRow(Base):
    """One suggestion of a study, and the training that answers it."""

    __tablename__ = "nas_trial"
    __table_args__ = (Index(None, "evaluation_id"),)

    study_id: Mapped[int] = mapped_column(ForeignKey("nas_study.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    point: Mapped[dict[str, Any]]
    sampler_attrs: Mapped[dict[str, Any]]
    evaluation_id: Mapped[int] = mapped_column(ForeignKey("nas_evaluation.id"))
    state: Mapped[State]
    reason: Mapped[str]
    reused: Mapped[bool]
    created: Mapped[datetime]
    finished: Mapped[datetime | None]


class RepeatRow(Base):
    """A further training of a trial, with a seed of its own."""

    __tablename__ = "nas_repeat"
    __table_args__ = (Index(None, "evaluation_id"),)

    study_id: Mapped[int] = mapped_column(ForeignKey("nas_study.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seed: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    evaluation_id: Mapped[int] = mapped_column(ForeignKey("nas_evaluation.id"))


class InfeasibleRow(Base):
    """How many points of a study broke a constraint, and by which share of it at least and at most."""

    __tablename__ = "nas_infeasible"

    study_id: Mapped[int] = mapped_column(ForeignKey("nas_study.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)
    least: Mapped[float | None]
    most: Mapped[float | None]


class LeaseRow(Base):
    """The driver that has a study, until when. Times are seconds since 1970 by the database's clock."""

    __tablename__ = "nas_lease"

    study_id: Mapped[int] = mapped_column(ForeignKey("nas_study.id"), primary_key=True, autoincrement=False)
    token: Mapped[str] = mapped_column(String(32))
    host: Mapped[str]
    pid: Mapped[int] = mapped_column(BigInteger)
    machine: Mapped[str]
    process: Mapped[str]
    taken: Mapped[float]
    expires: Mapped[float]
    stop: Mapped[bool]


def _table(row: type[Base]) -> Table:
    table = row.__table__
    assert isinstance(table, Table)
    return table


STUDY, ARCHITECTURE, EVALUATION = _table(StudyRow), _table(ArchitectureRow), _table(EvaluationRow)
EPOCH, TRIAL, INFEASIBLE = _table(EpochRow), _table(TrialRow), _table(InfeasibleRow)
LEASE, REPEAT = _table(LeaseRow), _table(RepeatRow)
