"""One driver a study: the lease it holds, by the database's clock.

A driver takes the lease of its study, renews it while it lives, and gives it back. Whoever comes while it is held is
refused; once it has lapsed, or its holder is known to be dead, it is taken over. Every write of a driver looks for
its own lease in the same transaction: one that was stopped beyond its lease and then wakes writes nothing more.
"""

from __future__ import annotations

import os
import platform
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Double, bindparam, delete, insert, select, update
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from nas.errors import NasError
from nas.store.tables import LEASE

SECONDS = 60.0      # that a lease holds without being renewed


class LeaseHeld(NasError):
    """Another driver has the study."""


class LeaseLost(NasError):
    """Another driver has taken the study over: this one writes nothing more."""


class _Clock(FunctionElement[float]):
    """Seconds since 1970 by the database's clock, at this moment and not at the transaction's start."""

    type = Double()
    inherit_cache = True


@compiles(_Clock, "sqlite")
def _sqlite_clock(element: Any, compiler: Any, **kwargs: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(_Clock, "postgresql")
def _postgresql_clock(element: Any, compiler: Any, **kwargs: Any) -> str:
    return "extract(epoch FROM clock_timestamp())::float8"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a study: `machine` and `process` tell one that is dead, `host` and `pid` are for people."""

    token: str
    host: str
    pid: int
    machine: str
    process: str
    age: float          # seconds since it took the lease
    left: float         # seconds until it lapses; negative: it has
    stop: bool          # it has been asked to stop

    @property
    def dead(self) -> bool:
        """Whether it ran on this machine and runs no more. Of another machine nothing is known."""
        return self.machine == _machine() and self.process != _process(self.pid)

    @property
    def alive(self) -> bool:
        """Whether the study is its: the lease has not lapsed, and nothing is known of its death."""
        return self.left > 0 and not self.dead

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, for {_ago(self.age)}"


_of_study = LEASE.c.study_id == bindparam("of_study")
_HOLDER = select(LEASE.c.token, LEASE.c.host, LEASE.c.pid, LEASE.c.machine, LEASE.c.process, LEASE.c.stop,
                 (_Clock() - LEASE.c.taken).label("age"), (LEASE.c.expires - _Clock()).label("left")).where(_of_study)
_MINE = select(LEASE.c.token).where(_of_study, LEASE.c.token == bindparam("of_token")).with_for_update(read=True)
_DROP = delete(LEASE).where(_of_study)
_GIVE_BACK = _DROP.where(LEASE.c.token == bindparam("of_token"))
_RENEW = update(LEASE).where(_of_study, LEASE.c.token == bindparam("of_token")).values(
    expires=_Clock() + bindparam("seconds"))
_STOP = update(LEASE).where(_of_study).values(stop=True)


def take(connection: Connection, study_id: int, name: str, seconds: float = SECONDS) -> str:
    """Take the lease; its token. Raises `LeaseHeld` where a living driver has it."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("LOCK TABLE nas_lease IN SHARE ROW EXCLUSIVE MODE")
    found = holder(connection, study_id)
    if found is not None and found.alive:
        raise LeaseHeld(f"study {name} is being run by {found}; wait for it, end it with: nas stop {name}, or give "
                        f"this one another name (--name {name}-2); a dead one is taken over in {found.left:.0f} s")
    connection.execute(_DROP, {"of_study": study_id})
    token = secrets.token_hex(16)
    connection.execute(insert(LEASE).values(
        study_id=study_id, token=token, host=platform.node(), pid=os.getpid(), machine=_machine(),
        process=_process(os.getpid()), taken=_Clock(), expires=_Clock() + seconds, stop=False))
    return token


def holder(connection: Connection, study_id: int) -> Holder | None:
    """Who has the study."""
    row = connection.execute(_HOLDER, {"of_study": study_id}).one_or_none()
    return None if row is None else Holder(**row._asdict())


def check(connection: Connection, study_id: int, token: str, name: str) -> None:
    """Raises `LeaseLost` where the lease is not `token`'s any more. Nobody takes it over before this commits."""
    if connection.execute(_MINE, {"of_study": study_id, "of_token": token}).one_or_none() is None:
        found = holder(connection, study_id)
        by = f" by {found}" if found is not None else ""
        raise LeaseLost(f"study {name} was taken over{by}, because this process did not renew its lease in time; "
                        "it writes nothing more: nothing is lost")


def renew(connection: Connection, study_id: int, token: str, seconds: float = SECONDS) -> bool:
    """Hold the lease for `seconds` from now; whether it is still `token`'s."""
    return connection.execute(_RENEW, {"of_study": study_id, "of_token": token, "seconds": seconds}).rowcount == 1


def give_back(connection: Connection, study_id: int, token: str) -> None:
    """The driver is done."""
    connection.execute(_GIVE_BACK, {"of_study": study_id, "of_token": token})


def ask_to_stop(connection: Connection, study_id: int) -> None:
    """Ask the driver that has the study to stop."""
    connection.execute(_STOP, {"of_study": study_id})


def _machine() -> str:
    """What tells this machine, since it was started, from all others: the scope in which a process number counts."""
    boot, space = Path("/proc/sys/kernel/random/boot_id"), "/proc/self/ns/pid"
    try:
        return f"{platform.node()} {boot.read_text().strip()} {os.readlink(space)}"
    except OSError:
        return f"{platform.node()} {secrets.token_hex(8)}"      # never the same: only the clock decides


def _process(pid: int) -> str:
    """The process of that number, told from a later one by when it started; empty: there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else f"{pid} {fields[19]}"


def _ago(seconds: float) -> str:
    from nas.units import human_seconds

    return human_seconds(max(0.0, seconds))
