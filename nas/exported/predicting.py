"""What an exported network says of image files: found, decoded as training data is, and named in batches.

A file that cannot be read costs its own answer and no other's. No more than a few batches are held at once.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from nas.data import picture
from nas.data.tree import listed, regular
from nas.data.values import Pixels
from nas.errors import NasError, one_line
from nas.exported.loading import Network
from nas.exported.manifest import Manifest
from nas.train.evaluation import exact

_LARGEST = 1 << 30      # bytes of a file


@dataclass(frozen=True, slots=True)
class Prediction:
    """The most probable classes of an image, the first one first, with their probabilities."""

    path: str
    classes: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What was given as an image, or as many, and why there is nothing to say of it."""

    path: str
    reason: str


def predictions(
    network: Network, facts: Manifest, words: Sequence[str], top: int = 3, device: str = "cpu",
) -> Iterator[Prediction | Unreadable]:
    """Of each image that `words` name: files, folders, which are looked through, and globs; in their order.

    Images of another size or number of channels are fitted as training data is.
    """
    network.to(device)
    work = partial(_decoded, channels=facts.input.channels, resolution=facts.input.resolution)
    with picture.quiet():
        for batch in picture.mapped(work, files(words), _size):
            yield from _named(batch, network, top, torch.device(device), facts.flip_test)


def files(words: Iterable[str]) -> Iterator[str | Unreadable]:
    """The path of each image that `words` name; of a folder, those files that are images by their suffix, sorted."""
    for word in words:
        if os.path.isdir(word):
            yield from _below(word)
        elif os.path.lexists(word) or not glob.has_magic(word):
            yield word
        else:
            found = sorted(path for path in glob.iglob(word, recursive=True)
                           if Path(path).suffix.lower() in picture.SUFFIXES and not os.path.isdir(path))
            yield from found
            if not found:
                yield Unreadable(word, "no image matches it")


def _below(folder: str) -> Iterator[str | Unreadable]:
    try:
        found = sorted(name for name, *_ in listed(Path(folder)))
    except OSError as error:
        yield Unreadable(error.filename or folder, f"cannot be listed: {error.strerror}")
        return
    if not found:
        yield Unreadable(folder, f"holds no images ({', '.join(sorted(picture.SUFFIXES))})")
    yield from (os.path.join(folder, name) for name in found)


def _size(item: str | Unreadable) -> int:
    """Bytes that an item weighs once it is read."""
    known = regular(Path(item)) if isinstance(item, str) else None
    return known[0] if known else 0


def _decoded(item: str | Unreadable, resolution: int, channels: int) -> tuple[str, Pixels] | Unreadable:
    if isinstance(item, Unreadable):
        return item
    try:
        known = regular(Path(item))
        if known is None:
            return Unreadable(item, "is no plain file" if os.path.exists(item) else "no such file")
        if known[0] > _LARGEST:
            return Unreadable(item, f"larger than {_LARGEST >> 30} GiB")
        pixels = picture.decoded(Path(item).read_bytes(), "", resolution, channels)
    except OSError as error:
        return Unreadable(item, f"cannot be read: {error.strerror}")
    except NasError as error:
        return Unreadable(item, str(error).removeprefix(": "))
    return Unreadable(item, "damaged, or not an image") if pixels is None else (item, pixels)


def _named(
    batch: Sequence[tuple[str, Pixels] | Unreadable], network: Network, top: int, device: torch.device, flip: bool,
) -> Iterator[Prediction | Unreadable]:
    read = [item for item in batch if not isinstance(item, Unreadable)]
    said = iter(_classes(np.stack([pixels for _, pixels in read]), network, top, device, flip) if read else [])
    for item in batch:
        yield item if isinstance(item, Unreadable) else Prediction(item[0], next(said))


@torch.inference_mode()
def _classes(
    images: Pixels, network: Network, top: int, device: torch.device, flip: bool,
) -> list[tuple[tuple[str, float], ...]]:
    """images: (N, C, H, W)."""
    with exact(device):
        x = network.preprocess(torch.from_numpy(images).to(device)).contiguous(memory_format=torch.channels_last)
        logits = (network(x) + network(x.flip(3))) / 2 if flip else network(x)
        shares, places = logits.double().softmax(1).topk(min(top, len(network.classes)))     # (N, top)
    return [tuple((network.classes[place], share) for place, share in zip(*row, strict=True))
            for row in zip(places.tolist(), shares.tolist(), strict=True)]


def line(found: Prediction) -> str:
    """For people: the path, then each class with its probability."""
    said = ", ".join(f"{name} {share:.4f}" for name, share in found.classes)
    return one_line(f"{found.path}: {said}")
