"""Weights on disk: written to a temporary name, synced, renamed, with a checksum. Plain safetensors, never pickle.

Where a study has `search.artifacts`, a copy lies there, for whoever takes the study over on another machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from pathlib import Path

import fsspec

from nas.errors import NasError, disk_full

log = logging.getLogger("nas")


def copy_of(checkpoint: str, artifacts: str | None) -> str:
    """The path or fsspec URL of the copy of a trial's `checkpoint`; empty where there are no artifacts."""
    return f"{artifacts.rstrip('/')}/{checkpoint}" if artifacts else ""


def write_checkpoint(path: Path, weights: bytes, copy: str = "") -> str:
    """Write `weights` (safetensors bytes) so that `path` is whole or absent; the SHA-256 of the file.

    copy: where another one goes; that it could not be written is a warning in the log. Raises `DiskFull`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(weights)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise disk_full(error, path) or error from None
    finally:
        temporary.unlink(missing_ok=True)
    if copy:
        _write_copy(copy, weights)
    return hashlib.sha256(weights).hexdigest()


def _write_copy(url: str, weights: bytes) -> None:
    try:
        system, path = fsspec.url_to_fs(url)
        folder, _, name = path.rpartition("/")
        system.makedirs(folder, exist_ok=True)
        temporary = f"{folder}/.{name}.{os.getpid()}"
        system.pipe_file(temporary, weights)
        system.mv(temporary, path)
    except (OSError, ImportError, ValueError) as error:
        log.warning("weights are not copied to %s: %s", url, str(error))


def sweep_checkpoints(folder: Path) -> None:
    """Remove what processes that were killed had not finished. Whole files stay: another database may know them."""
    for left in folder.glob(".*.safetensors.*"):
        if not runs(left.suffix[1:]):
            remove_checkpoint(left)


def runs(pid: str) -> bool:
    """Whether a process of this number runs on this machine, and is not this one."""
    try:
        if int(pid) == os.getpid():
            return False
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except (OSError, OverflowError):
        return True
    return True


def read_checkpoint(path: Path, sha256: str | None, copy: str = "") -> bytes:
    """The bytes at `path`, or those of the copy. Raises `NasError` where they are missing or not the ones that were
    written."""
    try:
        weights = path.read_bytes() if path.exists() or not copy else _read_copy(copy)
    except (OSError, ImportError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise NasError(f"{copy or path}: cannot be read: {why}; train the network again with nas train") from None
    if sha256 is not None and hashlib.sha256(weights).hexdigest() != sha256:
        raise NasError(f"{path}: damaged, its checksum is not the one in the database; restore it, or train again")
    return weights


def _read_copy(url: str) -> bytes:
    system, path = fsspec.url_to_fs(url)
    found: bytes = system.cat_file(path)
    return found


def remove_checkpoint(path: Path, copy: str = "") -> None:
    """Remove the file at `path`, if it is there, and its copy."""
    with contextlib.suppress(OSError):
        path.unlink()
    if copy:
        with contextlib.suppress(OSError, ImportError, ValueError):
            system, there = fsspec.url_to_fs(copy)
            system.rm_file(there)
