"""Training batches: shuffled, cropped, flipped, cut out and normalised by a few batched tensor operations.

An epoch's random draws are made at once from one generator, always on the CPU, so that they are the same on every
device; images are then made in chunks of several batches, which spreads the cost of each operation over many images.
Measured on one core, batch 64: 2 to 4 microseconds an image of 3 x 16 x 16.

Legend: N images of the set, n of a chunk, C channels, H x W pixels, P = padding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from nas.settings import Recipe
from nas.train.data import Info, Preprocess, Split, tensor

CHUNK_PIXELS = 131_072      # of a chunk at least one batch: fits the caches of a core


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What may happen to an image, in pixels. `cutout` is the side of the erased square; 0 is none."""

    crop: int = 0
    flip: bool = False
    cutout: int = 0

    @classmethod
    def of(cls, recipe: Recipe, info: Info, resolution: int) -> Augmentation:
        """The recipe's augmentation with its defaults filled in for images of `resolution` pixels a side."""
        return cls(
            crop=max(1, resolution // 8) if recipe.crop < 0 else recipe.crop,
            flip=info.flips if recipe.flip is None else recipe.flip,
            cutout=round(recipe.cutout * resolution),
        )


class Draws(NamedTuple):
    """One epoch's random choices by image; all of shape (N,), int64 but `flip`, which is bool."""

    order: Tensor       # of the images
    top: Tensor         # of the crop in the padded image, 0 to 2 P
    left: Tensor
    flip: Tensor
    y: Tensor           # centre of the cutout, anywhere in the image
    x: Tensor

    @classmethod
    def of(cls, images: int, height: int, width: int, augmentation: Augmentation, generator: torch.Generator) -> Draws:
        """Draw for a whole epoch. Every array is drawn, used or not: a switch changes no other choice."""
        def integers(high: int) -> Tensor:
            return torch.randint(high, (images,), generator=generator)

        order = torch.randperm(images, generator=generator)
        top, left = integers(2 * augmentation.crop + 1), integers(2 * augmentation.crop + 1)
        flip = integers(2).bool() & augmentation.flip
        return cls(order, top, left, flip, integers(height), integers(width))

    def part(self, start: int, stop: int) -> Draws:
        """The choices for some of the images."""
        return Draws(*(draw[start:stop] for draw in self))

    def to(self, device: torch.device) -> Draws:
        """The same choices on `device`."""
        return Draws(*(draw.to(device) for draw in self))


def cut_index(draws: Draws, height: int, width: int, padding: int) -> Tensor:
    """Where the pixels of the cropped and flipped images lie in the padded ones, both in (n, H, W) order.

    Returns int64 of shape (n * H * W,), an index into the n * (H + 2 P) * (W + 2 P) pixels.
    """
    count, device = len(draws.order), draws.order.device
    padded_height, padded_width = height + 2 * padding, width + 2 * padding
    image = torch.arange(count, device=device) * (padded_height * padded_width)
    row = (draws.top[:, None] + torch.arange(height, device=device)) * padded_width + image[:, None]   # (n, H)
    column = torch.arange(width, device=device)
    column = draws.left[:, None] + torch.where(draws.flip[:, None], width - 1 - column, column)         # (n, W)
    return (row[:, :, None] + column[:, None, :]).view(-1)


def cutout_mask(draws: Draws, height: int, width: int, side: int) -> Tensor:
    """True on a square around each centre, cut at the border (DeVries and Taylor, 2017); shape (n, H, W)."""
    top, left = draws.y[:, None] - side // 2, draws.x[:, None] - side // 2
    y = torch.arange(height, device=draws.y.device) - top
    x = torch.arange(width, device=draws.x.device) - left
    return ((y >= 0) & (y < side))[:, :, None] & ((x >= 0) & (x < side))[:, None, :]


class Batches:
    """The training part as batches, a new epoch each time it is asked for one.

    The set stays as it is, uint8 and perhaps memory-mapped and shared with other workers, or goes to the GPU whole
    where at least twice its size is free. The last images of an epoch that fill no batch are dropped, unless the set
    is smaller than one batch.
    """

    def __init__(self, split: Split, preprocess: Preprocess, augmentation: Augmentation, batch_size: int,
                 device: torch.device, channels_last: bool):
        self.images, self.labels = tensor(split.images), tensor(split.labels).to(device)
        if device.type == "cuda" and 2 * self.images.nbytes < torch.cuda.mem_get_info(device)[0]:
            self.images = self.images.to(device)
        self.device, self.channels_last, self.augmentation = device, channels_last, augmentation
        self.batch_size = min(batch_size, len(self.images))
        self.steps = len(self.images) // self.batch_size
        _, channels, height, width = self.images.shape
        pixels = height * width
        self.chunk = self.batch_size * max(1, min(self.steps, CHUNK_PIXELS // (pixels * self.batch_size)))
        self._scale, self._shift = (factor.repeat(width) for factor in preprocess.factors(device))     # (W * C,)
        self._canvas = _canvas(self.chunk, height, width, augmentation.crop, preprocess.blank, device)
        self._height, self._width, self._channels = height, width, channels

    def epoch(self, generator: torch.Generator) -> Iterator[list[tuple[Tensor, Tensor]]]:
        """Chunks of batches, each float32 images of shape (batch, C, H, W) and int64 labels (batch,)."""
        draws = Draws.of(len(self.images), self._height, self._width, self.augmentation, generator)
        used = self.steps * self.batch_size
        for start in range(0, used, self.chunk):
            part = draws.part(start, min(start + self.chunk, used))
            chosen = self.images.index_select(0, part.order.to(self.images.device)).to(self.device)
            part = part.to(self.device)
            pair = self.augmented(chosen, part), self.labels.index_select(0, part.order)
            yield list(zip(*(torch.split(part, self.batch_size) for part in pair), strict=True))

    def sample(self, images: int, generator: torch.Generator) -> Iterator[Tensor]:
        """The first batches of an epoch, until they hold `images` (or all there are), without labels."""
        left = images
        for chunk in self.epoch(generator):
            for batch, _ in chunk:
                if left > 0:
                    yield batch.contiguous(memory_format=torch.channels_last)
                left -= len(batch)
            if left <= 0:
                return

    def augmented(self, images: Tensor, draws: Draws) -> Tensor:
        """uint8 (n, C, H, W), n at most a chunk, as normalised float32 of the same shape in the chosen layout."""
        count, height, width = len(images), self._height, self._width
        pixels = self._cropped(images, draws).to(torch.float32).view(count, height, width * self._channels)
        pixels = pixels.mul_(self._scale).add_(self._shift).view(count, height, width, self._channels)
        if self.augmentation.cutout:
            pixels.masked_fill_(cutout_mask(draws, height, width, self.augmentation.cutout)[..., None], 0.0)
        result = pixels.permute(0, 3, 1, 2)
        return result if self.channels_last else result.contiguous()

    def _cropped(self, images: Tensor, draws: Draws) -> Tensor:
        """uint8 (n, C, H, W) as contiguous uint8 (n, H, W, C), cropped and flipped by index."""
        padding, canvas = self.augmentation.crop, self._canvas[: len(images)]
        inside = canvas[:, padding : padding + self._height, padding : padding + self._width]
        inside.copy_(images.permute(0, 2, 3, 1))
        if not (padding or self.augmentation.flip):
            return canvas
        index = cut_index(draws, self._height, self._width, padding)
        return canvas.view(-1, self._channels).index_select(0, index)


def _canvas(images: int, height: int, width: int, padding: int, blank: tuple[int, ...], device: torch.device) -> Tensor:
    """Padded images (n, H + 2 P, W + 2 P, C) of the blank colour; only their inside is ever written."""
    colour = torch.tensor(blank, dtype=torch.uint8, device=device)
    return colour.repeat(images, height + 2 * padding, width + 2 * padding, 1)
