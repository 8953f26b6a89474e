"""One encoded image to one uint8 array: Pillow, kept on a short leash. And many of them, on all cores.

Only plain raster formats are tried; an image that would unpack to more pixels than Pillow's own bound is
refused, one that cannot be read is reported as corrupt. Where images come from, and where they go, is not
known here.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps

from nas.data.values import Pixels
from nas.errors import NasError, one_line

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
SUFFIXES = frozenset({
    ".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"})
GREY = frozenset({"1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N", "I", "F"})
MAX_PIXELS = 89_478_485
"""Pixels of one image: Pillow's own default (a quarter GiB at 24 bits), but as an error, not a warning."""
BATCH = 64
"""Images a task of the pool: small ones cost less to decode than to hand over singly."""
BATCH_BYTES = 8 * 2**20

A = TypeVar("A")
B = TypeVar("B")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Pillow's warnings on odd files are dropped; what matters of them is decided here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def opened(data: bytes, name: str) -> Image.Image:
    """The image, its header read, its pixels not. Raises `NasError` on a bomb, anything else if corrupt."""
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise bomb(name) from error
    if image.width * image.height > MAX_PIXELS:
        raise bomb(name)
    return image


def bomb(name: str) -> NasError:
    """The refusal of an image that is too large to unpack."""
    return NasError(one_line(
        f"{name}: unpacks to more than {MAX_PIXELS:,} pixels (a decompression bomb?); remove it"))


def header(data: bytes, name: str) -> tuple[int, int] | None:
    """Shorter side in pixels and channels (1 or 3) of an encoded image, None if its header is corrupt.

    Raises `NasError` on a decompression bomb.
    """
    try:
        image = opened(data, name)
        return min(image.size), 1 if image.mode in GREY else 3
    except (NasError, MemoryError):
        raise
    except Exception:  # Pillow's readers raise what they like on a damaged file
        return None


def decoded(data: bytes, name: str, resolution: int, channels: int) -> Pixels | None:
    """An encoded image as an array of shape (channels, resolution, resolution), None if it is corrupt.

    The first frame; turned as its EXIF says; transparency dropped. Raises `NasError` on a decompression bomb.
    """
    try:
        image = opened(data, name)
        image.draft("L" if channels == 1 else "RGB", (2 * resolution, 2 * resolution))  # for large JPEGs
        if "exif" in image.info:
            image = ImageOps.exif_transpose(image)
        return fitted(image, resolution, channels)
    except (NasError, MemoryError):
        raise
    except Exception:  # as above
        return None


def fitted(image: Image.Image, resolution: int, channels: int) -> Pixels:
    """`image` in `channels` channels, its central square resized, as an array of shape (C, H, W).

    A size that divides the square's is reached by averaging areas, any other by Lanczos, which is
    antialiased.
    """
    image = in_channels(image, channels)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    if image.size != (side, side):
        image = image.crop((left, top, left + side, top + side))
    if side != resolution:
        if side % resolution == 0:
            image = image.reduce(side // resolution)
        else:
            image = image.resize((resolution, resolution), Image.Resampling.LANCZOS)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def in_channels(image: Image.Image, channels: int) -> Image.Image:
    """`image` in mode L or RGB; grey of 16 bits keeps its upper eight."""
    mode = "L" if channels == 1 else "RGB"
    if image.mode == mode:
        return image
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65_535:
            raise ValueError("grey values beyond 16 bits")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    return image.convert(mode)


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def batches(items: Iterable[A], size: Callable[[A], int]) -> Iterator[list[A]]:
    """`items` in lists of at most `BATCH`, each ended once it has `BATCH_BYTES` bytes."""
    batch: list[A] = []
    total = 0
    for item in items:
        batch.append(item)
        total += size(item)
        if len(batch) == BATCH or total >= BATCH_BYTES:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


def mapped(function: Callable[[A], B], items: Iterable[A], size: Callable[[A], int]) -> Iterator[list[B]]:
    """`function` of each item, in order, in batches, on all cores; no more than a few batches are held at
    once.

    `size` is the bytes that an item weighs in memory.
    """
    waiting: deque[Future[list[B]]] = deque()
    workers = cores()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for batch in batches(items, size):
                waiting.append(pool.submit(lambda batch: [function(item) for item in batch], batch))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
