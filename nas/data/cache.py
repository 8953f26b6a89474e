"""The cache folder: entries that appear whole or not at all, and are checked when they are opened.

An entry is a folder of raw array files and a `meta.json` with their shapes, sizes and SHA-256. It is written
under a temporary name, synced and renamed; processes that want the same entry at once wait for the first.
Everything here can be deleted at any time: it is computed again. What is in an entry, and under which key, is
decided elsewhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from nas.data.values import Progress
from nas.errors import NasError

FULL_CHECK = 256 * 2**20
"""Bytes up to which a file is hashed whole at every opening; of a larger one size and both ends are checked."""
EDGE = 2**20
"""Bytes of an end."""

Meta = dict[str, Any]


class Damaged(Exception):
    """An entry does not hold what its `meta.json` says; it is built again."""


def root() -> Path:
    """The cache folder: the environment's NAS_CACHE, else the user's cache folder of this system."""
    if chosen := os.environ.get("NAS_CACHE"):
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("nas"))


def key_of(*parts: object) -> str:
    """Hexadecimal SHA-256 of `parts`, told apart unambiguously."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode()).hexdigest()


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turns a full disk or a folder that cannot be written into a `NasError` that says what to do."""
    try:
        yield
    except OSError as error:
        raise NasError(f"cannot use the cache folder {root()}: {error.strerror or error}; "
                       "make room there or set NAS_CACHE to another folder") from error


class Writer:
    """Writes one array file, piece by piece, hashing on the way; a context that closes it whatever happens."""

    def __init__(self, path: Path):
        self.path = path
        self.rows = 0
        self.bytes = 0
        self.sha256 = hashlib.sha256()
        self.file: BinaryIO = path.open("xb")

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # of a full disk, which was said already
            self.file.close()

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Append `rows` along the first axis."""
        data = np.ascontiguousarray(rows).tobytes()
        with explained():
            self.file.write(data)
        self.sha256.update(data)
        self.rows += len(rows)
        self.bytes += len(data)

    def finish(self, dtype: str, row: tuple[int, ...]) -> Meta:
        """Sync and close the file; returns what `meta.json` says of it: an array of `rows` times `row` of `dtype`."""
        with explained():
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()
            return {"dtype": dtype, "shape": [self.rows, *row], "bytes": self.bytes,
                    "sha256": self.sha256.hexdigest(), "edges": edges(self.path)}


def edges(path: Path) -> str:
    """SHA-256 of the first and last MiB."""
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(EDGE))
        file.seek(max(0, path.stat().st_size - EDGE))
        digest.update(file.read(EDGE))
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    """SHA-256 of the whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def entry(kind: str, key: str, build: Callable[[Path], Meta], parts: tuple[str, ...],
          progress: Progress) -> Path:
    """The folder of entry `key`, built by `build` if it is not there or one of its files `parts` is damaged.

    `build` writes its files into the folder it is given and returns the rest of `meta.json`. Raises
    `NasError` if the cache cannot be written, and what `build` raises.
    """
    folder = root() / kind / key
    if intact(folder, parts):
        return folder
    with explained():
        folder.parent.mkdir(parents=True, exist_ok=True)
    with only_one(folder):
        if intact(folder, parts):
            return folder
        sweep(folder)
        if folder.exists():
            progress(f"{folder} is damaged: making it again")
            discard(folder)
        publish(folder, build)
    return folder


def intact(folder: Path, parts: tuple[str, ...]) -> bool:
    """True if the entry is there and its files `parts` are what they were."""
    try:
        meta = read_meta(folder)
        for part in parts:
            check(folder / part, meta["arrays"][part])
    except Damaged:
        return False
    return True


def publish(folder: Path, build: Callable[[Path], Meta]) -> None:
    """Build under a temporary name, sync, rename. Losing a race to another process is as good as winning."""
    temporary = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}.tmp")
    try:
        with explained():
            temporary.mkdir()
        meta = build(temporary)
        with explained():
            write_synced(temporary / "meta.json", json.dumps(meta, indent=1))
            sync_folder(temporary)
            with contextlib.suppress(FileExistsError):
                rename(temporary, folder)
            sync_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def rename(temporary: Path, folder: Path) -> None:
    """Rename a folder; `FileExistsError` if a finished one has that name already."""
    try:
        temporary.rename(folder)
    except OSError:
        if (folder / "meta.json").exists():
            raise FileExistsError(folder) from None
        raise


def discard(folder: Path) -> None:
    """Remove a damaged entry; whoever has it mapped keeps what is mapped."""
    aside = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}.tmp")
    with explained():
        folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what a killed process left of this entry. Only under its lock."""
    for left in folder.parent.glob(f"{folder.name}.*.tmp"):
        shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Holds the lock of an entry while it is built; the system frees it if the process dies.

    Where there are no file locks (Windows, some network file systems) two processes may do the same work; the
    rename keeps that safe.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with explained():
        lock = folder.with_name(f"{folder.name}.lock").open("w")
    with lock:
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def read_meta(folder: Path) -> Meta:
    """The entry's `meta.json`. Raises `Damaged`."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
    except (OSError, ValueError) as error:
        raise Damaged(str(folder)) from error
    if not isinstance(meta, dict) or not isinstance(meta.get("arrays"), dict):
        raise Damaged(str(folder))
    return meta


def check(path: Path, said: Meta) -> None:
    """Raises `Damaged` unless the file is the one that `said` describes (see `FULL_CHECK`)."""
    try:
        size = path.stat().st_size
        small = size <= FULL_CHECK
        same = size == said["bytes"] and (
            sha256_of(path) == said["sha256"] if small else edges(path) == said["edges"])
    except (OSError, KeyError, TypeError) as error:
        raise Damaged(str(path)) from error
    if not same:
        raise Damaged(str(path))


def array(path: Path, said: Meta) -> npt.NDArray[Any]:
    """The array of a file that was checked, mapped copy-on-write."""
    shape = tuple(said["shape"])
    if 0 in shape:
        return np.empty(shape, said["dtype"])
    return np.memmap(path, dtype=said["dtype"], mode="c", shape=shape)


def write_synced(path: Path, text: str) -> None:
    """Write a new file and sync it."""
    with path.open("x") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` last, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
