"""The lane of a machine: trainings share it, a measurement has it alone, and one that waits goes before trainings.

Two file locks in the cache folder. Whoever measures holds the turnstile, together with others that do or wait to, and
then the room alone; a training comes through the turnstile only while nobody holds it, and shares the room for an
epoch. The system frees the locks of a process that dies. Where there are no such locks (Windows, some network file
systems, a folder that cannot be written) there is no lane, and a measurement is told so.
"""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator

from nas.data import cache

try:
    import fcntl
except ImportError:     # Windows
    fcntl = None        # type: ignore[assignment]


@contextlib.contextmanager
def training() -> Iterator[None]:
    """Held for an epoch, beside other trainings. Waits for measurements that are under way or wait."""
    with contextlib.ExitStack() as held:
        if fcntl is not None and (taken := _taken(fcntl.LOCK_EX, fcntl.LOCK_SH)) is not None:
            turnstile, room = taken
            os.close(turnstile)     # others may follow
            held.callback(os.close, room)
        yield


@contextlib.contextmanager
def measuring() -> Iterator[bool]:
    """Held alone, once the epochs under way are over; whether there is a lane at all."""
    with contextlib.ExitStack() as held:
        taken = _taken(fcntl.LOCK_SH, fcntl.LOCK_EX) if fcntl is not None else None
        for handle in taken or ():
            held.callback(os.close, handle)
        yield taken is not None


def _taken(turnstile: int, room: int) -> tuple[int, int] | None:
    """Both files open, each with its kind of lock; None where that cannot be. A machine has files of its own, also in
    a cache that several machines share."""
    folder = cache.root() / "lane"
    handles: list[int] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, kind in (("turnstile", turnstile), ("room", room)):
            handles.append(os.open(folder / f"{platform.node()}.{name}", os.O_RDWR | os.O_CREAT, 0o600))
            fcntl.flock(handles[-1], kind)
        return handles[0], handles[1]
    except BaseException as error:      # Ctrl-C while it waits, too
        for handle in handles:
            os.close(handle)
        if isinstance(error, OSError):
            return None
        raise
