"""Searches in processes of their own, to be stopped and killed: `search_main.py`, and what is alive in its session."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from search_cases import Fake

HERE = Path(__file__).parent
MAIN = [sys.executable, str(HERE / "search_main.py")]


def environment(**more: str) -> dict[str, str]:
    """The environment of a process that imports the modules of this folder, and the nas that the tests import."""
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, **more}


def search(folder: Path, executor: str, trials: int, sleep: float, *more: str,
           **variables: str) -> subprocess.Popen[bytes]:
    """A search in another process, the first of its session."""
    return subprocess.Popen([*MAIN, str(folder), executor, str(trials), str(sleep), *more],
                            start_new_session=True, env=environment(**variables))


def begin(folder: Path, executor: str, trials: int = 14, *more: str) -> subprocess.Popen[bytes]:
    """A search in another process, seen to have begun its fifth training."""
    fake = Fake(folder / "started.log")
    process = search(folder, executor, trials, 0.04, *more)
    deadline = time.monotonic() + 120
    while len(fake.started()) < 5:
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def put_to_sleep(process: subprocess.Popen[bytes], database: Path | None) -> None:
    """Stop a process, outside any transaction of an SQLite database: inside, it would keep everyone out."""
    while True:
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        if database is None or not in_use(database):
            return
        process.send_signal(signal.SIGCONT)
        time.sleep(0.02)


def in_use(database: Path) -> bool:
    """Whether a process is in the middle of reading or writing an SQLite database."""
    connection = sqlite3.connect(database, timeout=0, isolation_level=None)
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        return True
    finally:
        connection.close()
    return False


def workers(session: int) -> dict[int, str]:
    """Those of the children that train; Ray's own agents take their time to notice."""
    return {pid: line for pid, line in children(session).items() if "Trainable" in line}


def children(session: int) -> dict[int, str]:
    """Command lines of the processes that are alive in a session, by their number."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after = stat.read_text().rpartition(")")[2].split()
            if int(after[3]) == session and after[0] != "Z":
                found[int(stat.parent.name)] = (stat.parent / "cmdline").read_text().replace("\0", " ")
        except OSError:
            pass
    return found


def beside(folder: Path) -> Path:
    """Another empty folder."""
    other = folder / "other"
    other.mkdir()
    return other
