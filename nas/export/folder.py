"""A folder that appears whole or not at all: made beside its place under another name, then renamed.

What is there already stays until the new one is whole, and is only ever replaced where it is an earlier export.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from nas.checkpoint import runs
from nas.errors import NasError


@contextlib.contextmanager
def whole(target: Path, files: Iterable[str]) -> Iterator[Path]:
    """A folder to fill, which becomes `target` at the end; after an exception there is no trace of it.

    `files` are the names that an earlier `target` may hold. Raises `NasError` where it holds another one, or where
    the disk does not take it.
    """
    target = target.resolve()
    _replaceable(target, set(files))
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        draft.mkdir()
        yield draft
        _take_place(draft, target)
    except OSError as error:
        raise NasError(f"{target}: cannot be written: {error.strerror or error}; make room, or choose another "
                       "folder") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def write(path: Path, content: str | bytes) -> None:
    """Write a new file and sync it to the disk."""
    with path.open("xb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())


def _replaceable(target: Path, files: set[str]) -> None:
    if not target.exists():
        return
    names = {path.name for path in target.iterdir()} if target.is_dir() else {target.name}
    others = sorted(names - files - {"__pycache__"})
    if others:
        raise NasError(f"{target}: holds {others[0]!r}, which no export wrote; choose another folder, or move it away")


def _take_place(draft: Path, target: Path) -> None:
    if not target.exists():
        draft.rename(target)
        return
    before = target.with_name(f".{target.name}.{os.getpid()}.before")
    target.rename(before)
    try:
        draft.rename(target)
    except OSError:
        before.rename(target)
        raise
    shutil.rmtree(before, ignore_errors=True)


def _sweep(target: Path) -> None:
    """Finish what a killed process left: put back a folder that it had moved away, remove what it had not finished."""
    for left in sorted(target.parent.glob(f".{target.name}.*")):
        pid, _, before = left.name.removeprefix(f".{target.name}.").partition(".")
        if not pid.isdigit() or before not in ("", "before") or runs(pid):
            continue
        if before and not target.exists():
            left.rename(target)
        else:
            shutil.rmtree(left, ignore_errors=True)
