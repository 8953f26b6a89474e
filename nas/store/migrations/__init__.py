"""Brings a database to the tables of this version, with alembic under a version table of our own.

Optuna keeps its own `alembic_version` in the same database; neither sees the other. Alembic is imported only when
there is something to do. What the tables are stands in `nas.store.tables`.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from nas.errors import NasError

VERSION_TABLE = "nas_alembic_version"
REVISIONS = ("1", "2", "3", "4")
"""All revisions, oldest first; the files in `versions/` in order."""
HEAD = REVISIONS[-1]
_LOCK = 0x6E6173    # 'nas': of PostgreSQL's advisory lock


def version(connection: Connection) -> str | None:
    """The revision that the database is at; None where it has none of our tables."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    return found


def upgrade(engine: Engine) -> None:
    """Bring the database to HEAD. Two processes may do so at once: one waits for the other, then has nothing to do.

    Raises NasError where the database is newer than this program.
    """
    with engine.begin() as connection:
        if _current(connection):
            return
    with engine.execution_options(nas_write=True).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        if not _current(connection):
            _run(connection)


def _current(connection: Connection) -> bool:
    found = version(connection)
    if found is not None and found not in REVISIONS:
        raise NasError(f"the database was written by a newer nas (its version is {found}, this program knows "
                       f"{HEAD}); upgrade with: pip install -U nas")
    return found == HEAD


def _run(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
