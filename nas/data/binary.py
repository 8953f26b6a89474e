"""The binary forms of CIFAR and MNIST: fixed records and IDX, parsed with numpy. Nothing is ever unpickled.

Only bytes to arrays: where the files come from is the download's, what they are called is the registry's.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from nas.data import archive
from nas.data.values import Labels, Pixels
from nas.errors import NasError

MAX_IDX = 256 * 2**20
"""Bytes that an IDX file may unpack to: five times the largest that is known here."""
IDX_IMAGES, IDX_LABELS = 0x803, 0x801


Parts = dict[str, tuple[Pixels, Labels]]
"""Images and labels by part: "train" and "test"."""


def cifar(path: Path, files: dict[str, tuple[str, ...]], label_bytes: int) -> Parts:
    """Images of shape (N, 3, 32, 32) and labels of shape (N,), by part, of a binary CIFAR archive.

    A record is `label_bytes` bytes, of which the last is the (fine) label, and 3,072 of pixels, channel by
    channel. Raises `NasError` if the archive has not the `files` of each part, or one of them is not whole
    records.
    """
    wanted = {name for names in files.values() for name in names}
    found = {name: member.read() for member in archive.members(path)
             if (name := member.name.rpartition("/")[2]) in wanted}
    if missing := wanted - set(found):
        raise NasError(f"{path}: has no {', '.join(sorted(missing))}")
    return {part: records(b"".join(found[name] for name in names), label_bytes, path)
            for part, names in files.items()}


def records(data: bytes, label_bytes: int, path: Path) -> tuple[Pixels, Labels]:
    """Images and labels of whole CIFAR records."""
    length = label_bytes + 3 * 32 * 32
    if not data or len(data) % length:
        raise NasError(f"{path}: {len(data):,} bytes are no whole number of records of {length:,}")
    rows = np.frombuffer(data, np.uint8).reshape(-1, length)
    return rows[:, label_bytes:].reshape(-1, 3, 32, 32), rows[:, label_bytes - 1].astype(np.int64)


def mnist(images: Path, labels: Path) -> tuple[Pixels, Labels]:
    """Images of shape (N, 1, H, W) and labels of shape (N,) of a pair of gzipped IDX files.

    Raises `NasError` if they are not what they should be.
    """
    pixels = idx(images, IDX_IMAGES, 3)
    classes = idx(labels, IDX_LABELS, 1)
    if len(pixels) != len(classes):
        raise NasError(f"{images}: {len(pixels):,} images, but {labels.name} has {len(classes):,} labels")
    return pixels[:, None], classes.astype(np.int64)


def idx(path: Path, magic: int, dimensions: int) -> Pixels:
    """The array of a gzipped IDX file of unsigned bytes. Raises `NasError`."""
    try:
        with gzip.open(path) as file:
            data = file.read(MAX_IDX + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise NasError(f"{path}: not a whole gzip file ({error})") from error
    start = 4 + 4 * dimensions
    if len(data) > MAX_IDX or len(data) < start or int.from_bytes(data[:4], "big") != magic:
        raise NasError(f"{path}: not an IDX file of the kind wanted")
    shape = struct.unpack(f">{dimensions}I", data[4:start])
    if int(np.prod(shape, dtype=object)) != len(data) - start:
        raise NasError(f"{path}: its header says {shape}, but it holds {len(data) - start:,} bytes")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
