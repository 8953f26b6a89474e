"""Alembic's environment: runs on the connection, and inside the transaction, that `migrations.upgrade` hands over."""

from __future__ import annotations

from typing import Any

from alembic import context

from nas.store.migrations import VERSION_TABLE
from nas.store.tables import PREFIX, Base


def ours(name: str | None, kind: str, parents: Any) -> bool:
    """Whether a table is one of ours: Optuna's are not looked at."""
    return kind != "table" or (name or "").startswith(PREFIX)


context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE,
                  target_metadata=Base.metadata, include_name=ours)
with context.begin_transaction():
    context.run_migrations()
