"""From a database URL to an engine that is safe to write with, and from a driver's error to one line for the user.

SQLite keeps a rollback journal (no WAL: it has a known corruption bug before 3.51.3), is synced at every commit, waits
for its locks, and is refused on a network file system. A password is never part of a message. What is written where
is not decided here.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, make_url
from sqlalchemy.pool import StaticPool

from nas.errors import DiskFull, NasError, one_line
from nas.store.mounts import network_mount

LOCK_SECONDS = 60
"""How long SQLite waits for a lock that another process holds."""
CONNECTIONS = 3
"""Connections that one process keeps to a server, at most."""
PAUSE_SECONDS = 15
"""How long PostgreSQL waits inside a transaction for a process that does not go on: less than a lease holds."""
DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


class StoreError(NasError):
    """The database cannot be used: gone, locked, full, not ours. The message has no password in it."""


class DatabaseFull(StoreError, DiskFull):
    """There is no room for the database."""

    exit_code = DiskFull.exit_code


class ConnectionLost(StoreError):
    """The database went away for now: what was being written is undone, and can be written again."""


def parse_url(text: str) -> URL:
    """A database URL, or the path of an SQLite file; plain `postgresql://` means the psycopg driver."""
    try:
        url = make_url(text) if "://" in text else URL.create("sqlite", database=text)
    except (exc.ArgumentError, ValueError):
        raise StoreError("the storage is not a database URL; write sqlite:///studies/nas.db or "
                         "postgresql://USER:PASSWORD@HOST/DATABASE") from None
    url = url.set(drivername=DRIVERS.get(url.drivername, url.drivername))
    if url.get_backend_name() != "sqlite":
        return url
    if not url.database or url.database == ":memory:" or url.host:
        raise StoreError("the storage sqlite:// needs a file, because a study must outlive its process; "
                         "write sqlite:///studies/nas.db")
    if url.database.startswith("file:"):
        return url
    return url.set(database=str(Path(url.database).expanduser()))


def shown_url(url: URL) -> str:
    """`url` for messages: without its password, and without its query, which can hold one."""
    return one_line(url.set(query={}).render_as_string(hide_password=True))


def connect(url: URL, create: bool) -> Engine:
    """An engine for `url` whose first connection has worked. `create`: make the SQLite file if there is none."""
    if url.get_backend_name() == "sqlite" and not (url.database or "").startswith("file:"):
        _check_file(url, create)
    with explained(url, "cannot open"):
        engine = _engine(url)
        try:
            engine.connect().close()
        except exc.ProgrammingError as error:       # of the driver: an option in the URL that it does not know
            raise StoreError(f"cannot open {shown_url(url)}: {_reason(url, error)}") from None
        except BaseException:
            engine.dispose()
            raise
    return engine


def connect_memory() -> Engine:
    """An engine for an SQLite database in memory, on one connection that all threads share."""
    return _engine(URL.create("sqlite"), poolclass=StaticPool, connect_args={"check_same_thread": False})


def engine_options(url: URL) -> dict[str, Any]:
    """Keyword arguments of create_engine that serve `url`; Optuna's own engine gets the same."""
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": LOCK_SECONDS}}
    return {"pool_pre_ping": True, "pool_size": CONNECTIONS, "max_overflow": 0}


@contextlib.contextmanager
def explained(url: URL, doing: str = "cannot use") -> Iterator[None]:
    """Turns what a database or its driver raises into a `StoreError`; what is a defect of ours passes."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise StoreError(_missing_driver(url, error)) from None
    except exc.NoSuchModuleError:
        raise StoreError(f"{doing} {shown_url(url)}: no such kind of database; sqlite and postgresql are "
                         "supported") from None
    except (exc.OperationalError, exc.InterfaceError, exc.InternalError, exc.TimeoutError) as error:
        if _full(error):
            raise DatabaseFull(f"{doing} {shown_url(url)}: the disk is full; make room, then run the same command "
                               "again") from None
        kind = ConnectionLost if _passes(error) else StoreError
        raise kind(f"{doing} {shown_url(url)}: {_reason(url, error)}{_remedy(error)}") from None
    except (exc.IntegrityError, exc.ProgrammingError, exc.DataError):
        raise
    except exc.DatabaseError as error:     # SQLite's 'file is not a database', 'malformed'
        raise StoreError(f"{doing} {shown_url(url)}: {_reason(url, error)}{_remedy(error)}") from None


def _full(error: BaseException | None) -> bool:
    """Whether a full disk is behind it: SQLite then has undone all, and undoing it once more is an error of its own."""
    while error is not None:
        orig = error.orig if isinstance(error, exc.DBAPIError) else None
        if "disk is full" in str(orig) or getattr(orig, "sqlstate", None) == "53100":
            return True
        error = error.__context__
    return False


def _passes(error: exc.SQLAlchemyError) -> bool:
    """Whether it may go away by itself: a server that is restarted, a connection that was cut, a deadlock.

    Not an SQLite file that is locked: the driver has waited for it already.
    """
    if isinstance(error, exc.TimeoutError):
        return True
    if not isinstance(error, exc.DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", None)       # of PostgreSQL; None: there was no answer
    return isinstance(error, exc.OperationalError) and type(error.orig).__module__.startswith("psycopg") and (
        state is None or state[:2] in {"08", "40", "53", "57"})


def _engine(url: URL, **options: Any) -> Engine:
    engine = create_engine(url, hide_parameters=True, **(options or engine_options(url)))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    elif engine.dialect.name == "postgresql":
        event.listen(engine, "connect", _prepare_postgresql)
    return engine


def _prepare_sqlite(connection: Any, record: object) -> None:
    connection.isolation_level = None       # we say BEGIN: the module's own would leave reads outside, and DDL
    for pragma in ("journal_mode = DELETE", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _prepare_postgresql(connection: Any, record: object) -> None:
    """One that is stopped while it writes loses its locks: else nobody could take its study over."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET idle_in_transaction_session_timeout = '{PAUSE_SECONDS}s'")
    connection.commit()


def _begin_sqlite(connection: Connection) -> None:
    """A writer takes its lock at once: one that reads first and then writes cannot wait for another such one."""
    write = connection.get_execution_options().get("nas_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _check_file(url: URL, create: bool) -> None:
    path = Path(url.database or "").absolute()
    if not create and not path.exists():
        raise StoreError(f"there is no database at {path}; `nas run` makes one, --storage names another")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = path.is_dir()
    except OSError as error:
        raise StoreError(f"cannot make the folder {path.parent} for the database: {error.strerror}; "
                         "name another with --storage sqlite:///FILE") from None
    if folder:
        raise StoreError(f"the database {path} is a folder; name a file, such as sqlite:///{path}/nas.db")
    mount = network_mount(path)
    if mount is not None:
        raise StoreError(f"the database {path} is on a network file system ({mount.kind} at {mount.point}), where "
                         "SQLite loses data; use PostgreSQL: createdb nas, then --storage postgresql://USER@HOST/nas")


def _missing_driver(url: URL, error: ModuleNotFoundError) -> str:
    remedy = "pip install 'nas[postgres]'" if url.get_backend_name() == "postgresql" else f"pip install {error.name}"
    return f"the driver of {shown_url(url)} is not installed; {remedy}"


def _reason(url: URL, error: exc.SQLAlchemyError) -> str:
    """The driver's own words in one line, without the password in any of its spellings."""
    said = str(error.orig if isinstance(error, exc.DBAPIError) and error.orig is not None else error)
    for secret in _secrets(url):
        said = said.replace(secret, "***")
    return one_line(re.sub(r"\s+", " ", said).strip()) or type(error).__name__


def _secrets(url: URL) -> list[str]:
    values = [str(url.password)] if url.password else []
    for name, value in url.query.items():
        if re.search("pass|secret|token|key", name, re.IGNORECASE):
            values += [value] if isinstance(value, str) else list(value)
    spellings = {spelled for value in values for spelled in (value, quote(value, safe=""), quote_plus(value)) if value}
    return sorted(spellings, key=len, reverse=True)


def _remedy(error: exc.SQLAlchemyError) -> str:
    said = str(error).lower()
    remedies = {
        "not a database": "; name another file with --storage sqlite:///FILE",
        "readonly": "; make the file and its folder writable, or name another with --storage sqlite:///FILE",
        "unable to open": "; make its folder writable, or name another with --storage sqlite:///FILE",
        "database is locked": f"; another process held it for {LOCK_SECONDS} s",
        "malformed": "; it is damaged: restore a copy, or sqlite3 FILE .recover",
        "does not exist": "; make it with createdb",
        "connection": "; see that the server runs and can be reached",
    }
    return next((remedy for words, remedy in remedies.items() if words in said), "")
