"""Weights on disk: written to a temporary name, synced, renamed, with a checksum. Plain safetensors, never pickle."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Collection
from pathlib import Path

from nas.errors import NasError, disk_full


def write_checkpoint(path: Path, weights: bytes) -> str:
    """Write `weights` (safetensors bytes) so that `path` is whole or absent; the SHA-256 of the file.

    Raises `DiskFull`.
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
    return hashlib.sha256(weights).hexdigest()


def sweep_checkpoints(folder: Path, kept: Collection[str]) -> None:
    """Remove what processes that were killed had not finished, or had not come to record: all names but `kept`."""
    for left in folder.glob(".*.safetensors.*"):
        if not runs(left.suffix[1:]):
            remove_checkpoint(left)
    for file in folder.glob("*.safetensors"):
        if file.name not in kept:
            remove_checkpoint(file)


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


def read_checkpoint(path: Path, sha256: str | None) -> bytes:
    """The bytes at `path`. Raises `NasError` where they are missing or not the ones that were written."""
    try:
        weights = path.read_bytes()
    except OSError as error:
        raise NasError(f"{path}: cannot be read: {error.strerror}; train the network again with nas train") from None
    if sha256 is not None and hashlib.sha256(weights).hexdigest() != sha256:
        raise NasError(f"{path}: damaged, its checksum is not the one in the database; restore it, or train again")
    return weights


def remove_checkpoint(path: Path) -> None:
    """Remove the file at `path`, if it is there."""
    with contextlib.suppress(OSError):
        path.unlink()
