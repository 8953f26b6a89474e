"""The values that the data room hands out and passes between its modules: plain, frozen, without behaviour.

Not here: how any of them comes about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""Images of shape (N, C, H, W), or one of shape (C, H, W), in 0..255."""
Labels = npt.NDArray[np.int64]
"""Class indices of shape (N,)."""
Progress = Callable[[str], None]
"""Called with one line for each slow step, before it starts."""


@dataclass(frozen=True, slots=True)
class DataInfo:
    """What a data set is once `settings.Data` is applied: enough to build and cost a network, not to train
    one.

    `resolution` is in pixels a side, `channels` 1 (grey) or 3 (colour); `flips` says whether a horizontal
    flip leaves the class as it is. Counts are images. Before an archive or a folder has been decoded its
    counts include images that may prove to be corrupt.
    """

    name: str
    classes: tuple[str, ...]
    channels: int
    resolution: int
    flips: bool
    n_train: int
    n_validation: int
    n_test: int

    @property
    def n_classes(self) -> int:
        """Number of classes: the width of the classifier."""
        return len(self.classes)


@dataclass(frozen=True, slots=True)
class Split:
    """One part of a data set: `images` uint8 of shape (N, C, H, W) and `labels` int64 of shape (N,).

    Both are memory-mapped copy-on-write: the processes of a node share the pages, and a write stays in the
    process that made it. (A read-only map would make `torch.from_numpy` warn, or copy.)
    """

    images: Pixels
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """A data set ready for training. The test part is opened when `.test` is first read, and not before.

    Not to be sent to another process: `load` there again, which maps the same files.

    `mean` and `std` are per channel, of the training split, in [0, 1] units; `checksum` names the decoded
    content and the split, and thus the data in the key of an evaluation; `skipped` names the corrupt images
    that were left out.
    """

    info: DataInfo
    train: Split
    validation: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    checksum: str
    skipped: tuple[str, ...]
    open_test: Callable[[], Split] = field(repr=False, compare=False)

    @cached_property
    def test(self) -> Split:
        """The held-out test part; for the final report of a confirmed network, never for a search."""
        return self.open_test()


@dataclass(frozen=True, slots=True)
class Survey:
    """What a source holds, before it is decoded: its own side in pixels and channels, and images per part."""

    name: str
    classes: tuple[str, ...]
    resolution: int
    channels: int
    flips: bool
    n_train: int
    n_test: int


class Sink(Protocol):
    """Takes decoded images in the order in which they come."""

    def write(self, part: str, images: Pixels, labels: Labels) -> None:
        """Append `images` of shape (N, C, H, W) with `labels` of shape (N,) to `part`: "train" or "test"."""


class Source(Protocol):
    """Where images come from. `fingerprint` changes when the content may have changed."""

    @property
    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 that stands for the content."""

    def survey(self, progress: Progress) -> Survey:
        """What is there; cheap, and kept in the cache where it is not."""

    def decode(self, resolution: int, channels: int, sink: Sink, progress: Progress) -> list[str]:
        """Write every image to `sink` as (channels, resolution, resolution); returns names of corrupt ones."""


def silent(_: str) -> None:
    """The `Progress` that says nothing."""
