"""What the training room needs to know of a data set, and no more: `nas.data.Dataset` fits, so does a test's own."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class Info(Protocol):
    """What is true of all images of a set."""

    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def flips(self) -> bool: ...


class Split(Protocol):
    """One part of a set: `images` uint8 of shape (N, C, H, W), perhaps memory-mapped; `labels` int64 (N,)."""

    @property
    def images(self) -> npt.NDArray[np.uint8]: ...
    @property
    def labels(self) -> npt.NDArray[np.int64]: ...


class Dataset(Protocol):
    """The parts that training reads. `mean` and `std` are by channel, of pixels in [0, 1]. No test part here."""

    @property
    def info(self) -> Info: ...
    @property
    def train(self) -> Split: ...
    @property
    def validation(self) -> Split: ...
    @property
    def mean(self) -> tuple[float, ...]: ...
    @property
    def std(self) -> tuple[float, ...]: ...


@dataclass(frozen=True, slots=True)
class Preprocess:
    """Pixels 0 to 255 to zero mean and unit deviation by channel, as one multiply-add.

    The only place that normalises, so that training, evaluation and an exported network agree.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Tensor | npt.NDArray[np.uint8]) -> Tensor:
        """uint8 images of shape (N, C, H, W), a tensor or an array, as float32 of the same shape and memory layout."""
        images = torch.as_tensor(images)
        scale, shift = self.factors(images.device)
        return images.to(torch.float32).mul_(scale.view(-1, 1, 1)).add_(shift.view(-1, 1, 1))

    def factors(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """`scale` and `shift`, each of shape (C,): normalised = pixel * scale + shift."""
        mean = torch.tensor(self.mean, dtype=torch.float64)
        std = torch.tensor(self.std, dtype=torch.float64).clamp_min(1e-6)      # a channel may be constant
        return (1 / (255 * std)).to(device, torch.float32), (-mean / std).to(device, torch.float32)

    @property
    def blank(self) -> tuple[int, ...]:
        """The pixel value nearest to the mean, by channel: what padding is made of."""
        return tuple(min(255, max(0, round(255 * mean))) for mean in self.mean)


def tensor(array: npt.NDArray[Any]) -> Tensor:
    """`array` as a tensor that shares its memory, read-only memory maps included. It must not be written to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)
