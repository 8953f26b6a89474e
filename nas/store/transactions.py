"""Transactions on a database of studies: one at a time a thread, and done again while the database is away.

What is read and written in them stands in `nas.store.ledger`.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Concatenate, NoReturn, ParamSpec, Self, TypeVar

from sqlalchemy import URL, Connection, Engine, select

from nas.store import lease
from nas.store.engine import ConnectionLost, StoreError, explained, shown_url
from nas.store.tables import STUDY

log = logging.getLogger("nas")

WAITS = (0.1, 0.2, 0.5, 1, 2, *(5,) * 23)       # seconds between attempts to reach a database that went away

_S = TypeVar("_S", bound="Transactions")
_P = ParamSpec("_P")
_R = TypeVar("_R")


def patient(method: Callable[Concatenate[_S, _P], _R]) -> Callable[Concatenate[_S, _P], _R]:
    """Repeat a transaction while the database is away; every one of the ledger's can be repeated."""

    def repeated(self: _S, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        return self.patiently(lambda: method(self, *args, **kwargs))

    return functools.update_wrapper(repeated, method)   # type: ignore[return-value]  # self may be named there


class Transactions:
    """Those on the database of `engine`. Threads may share it, processes may not."""

    def __init__(self, engine: Engine, url: URL):
        self.engine = engine
        self.url = url          # with its password; str(ledger) is for people
        self._writer = engine.execution_options(nas_write=True)
        self._ids: dict[str, int] = {}
        self._leases: dict[str, tuple[int, str]] = {}      # study -> its id and the token, of those driven here
        self._local = threading.local()

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __str__(self) -> str:
        return shown_url(self.url)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a ledger stays in its process: open it again from its URL")

    def patiently(self, transaction: Callable[[], _R]) -> _R:
        """What `transaction` gives; done again while the database is away, for about two minutes.

        What is lost is only known to be undone where the database says so: so the whole of it is done again, and must
        come to the same. Inside a batch it is the batch that is done again.
        """
        for wait in WAITS if not self.in_batch else ():
            try:
                return transaction()
            except ConnectionLost as error:
                log.warning("%s; tried again in %g s", str(error), wait)     # a record is kept: not with its frames
                time.sleep(wait)
        return transaction()

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """All that this thread writes inside is one commit; an exception undoes all of it."""
        with self.writing():
            yield

    def check_lease(self, study: str, connection: Connection) -> None:
        """Raises `LeaseLost` in a transaction that writes, where this ledger had the study's lease and lost it."""
        if study in self._leases:
            lease.check(connection, *self._leases[study], study)

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection in a transaction that writes: that of the batch if one is open, else one of its own."""
        current = self._batch
        if current is not None:
            with explained(self.url):
                yield current
            return
        with explained(self.url), self._writer.begin() as connection:
            self._batch = connection
            try:
                yield connection
            except BaseException:
                self._ids.clear()       # one of them may be undone now
                raise
            finally:
                self._batch = None

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection in a transaction that reads: that of the batch if one is open, else one of its own."""
        current = self._batch
        if current is not None:
            yield current
            return
        with explained(self.url), self.engine.begin() as connection:
            yield connection

    @property
    def in_batch(self) -> bool:
        """Whether this thread is inside `batch()`."""
        return self._batch is not None

    @property
    def _batch(self) -> Connection | None:
        found: Connection | None = getattr(self._local, "connection", None)
        return found

    @_batch.setter
    def _batch(self, connection: Connection | None) -> None:
        self._local.connection = connection

    @contextlib.contextmanager
    def _study(self, name: str, write: bool = True) -> Iterator[tuple[Connection, int]]:
        with self.writing() if write else self.reading() as connection:
            if name not in self._ids:
                found = connection.execute(select(STUDY.c.id).where(STUDY.c.name == name)).scalar_one_or_none()
                if found is None:
                    there = ", ".join(connection.execute(select(STUDY.c.name).order_by(STUDY.c.id)).scalars())
                    raise StoreError(f"there is no study {name} in {self}; there: {there or 'none'}")
                self._ids[name] = found
            if write:
                self.check_lease(name, connection)
            yield connection, self._ids[name]
