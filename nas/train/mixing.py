"""Images mixed in pairs: mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019), a batch at a time.

An epoch's choices are drawn at once, on the CPU and from a generator of their own: they are the same on every device,
and change no other draw. An image's partner is the one before it in the shuffled batch: a random one, and not itself.
Labels become shares of the classes; with nothing to mix, images and labels pass as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Mix:
    """How one batch is mixed: `share` in [0, 1] of a label is its image's own, the rest its partner's.

    `box`: the rows and columns that are the partner's; without one all pixels are weighed by the share.
    """

    share: float = 1.0
    box: tuple[slice, slice] | None = None


@dataclass(frozen=True, slots=True)
class Mixing:
    """The alphas of both ways to mix, 0 for one that is off; with both on, each batch gets one of them at random."""

    mixup: float
    cutmix: float
    classes: int

    def draw(self, steps: int, side: int, seed: int) -> list[Mix]:
        """One epoch's choices, by batch of images of `side` x `side` pixels."""
        if not (self.mixup or self.cutmix):
            return [Mix()] * steps
        generator = np.random.default_rng(seed)
        boxed = generator.random(steps) < (0.5 if self.mixup and self.cutmix else float(self.cutmix > 0))
        alpha = np.where(boxed, self.cutmix, self.mixup)
        shares = generator.beta(alpha, alpha).tolist()
        centres = generator.integers(side, size=(steps, 2)).tolist()
        return [cut(share, y, x, side) if with_box else Mix(share)
                for with_box, share, (y, x) in zip(boxed, shares, centres, strict=True)]

    def mixed(self, images: Tensor, labels: Tensor, mix: Mix) -> tuple[Tensor, Tensor]:
        """Images (n, C, H, W) and labels (n,), mixed: the labels as shares of the classes, float32 (n, classes)."""
        if mix.share == 1:
            return images, labels
        targets = F.one_hot(labels, self.classes).float()
        targets = mix.share * targets + (1 - mix.share) * targets.roll(1, 0)
        if mix.box is None:
            return images.roll(1, 0).lerp_(images, mix.share), targets
        inside = (slice(None), slice(None), *mix.box)
        pasted = images.clone()
        pasted[inside] = images[inside].roll(1, 0)
        return pasted, targets


def cut(share: float, y: int, x: int, side: int) -> Mix:
    """A box around (y, x) of 1 - `share` of the area, cut at the border, and the share that it leaves (their eq. 2)."""
    length = int(side * (1 - share) ** 0.5)
    rows, columns = (slice(max(0, centre - length // 2), min(side, centre - length // 2 + length)) for centre in (y, x))
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return Mix(1 - area / side**2, (rows, columns))
