"""Rows that are new, also where other processes insert their like at the same time."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Table, insert
from sqlalchemy.exc import IntegrityError

from nas.store.tables import Base

_INSERT = {table: insert(table) for table in Base.metadata.sorted_tables}


def add(connection: Connection, table: Table, row: Mapping[str, Any]) -> tuple[Any, ...]:
    """The primary key of the new row."""
    inserted = connection.execute(_INSERT[table], row).inserted_primary_key
    assert inserted is not None
    return tuple(inserted)


def add_once(connection: Connection, table: Table, row: Mapping[str, Any]) -> tuple[Any, ...]:
    """The primary key of the new row; empty where another process has just inserted its like."""
    with contextlib.suppress(IntegrityError), raced(connection):
        return add(connection, table, row)
    return ()


def raced(connection: Connection) -> AbstractContextManager[Any]:
    """A savepoint where other processes write at the same time; on SQLite a writer is alone."""
    return contextlib.nullcontext() if connection.dialect.name == "sqlite" else connection.begin_nested()


def number(value: float | None) -> float | None:
    """None for what is not a number: databases differ in what they make of it."""
    return None if value is None or math.isnan(value) else float(value)


def now() -> datetime:
    """The time, aware."""
    return datetime.now(UTC)
