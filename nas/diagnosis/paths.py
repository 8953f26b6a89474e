"""Paths through a residual network by their length (Veit et al. 2016, section 4.2, figure 6).

With n blocks there are 2^n paths; a path's length is the number of branches on it. How many there are of each length is
binomial. How much gradient one of them brings to the input is measured, and so is what all of a length bring together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from nas.diagnosis.blocks import blocks_of, with_paths
from nas.diagnosis.patches import Progress, evaluating, loss_of, silent
from nas.diagnosis.valves import valves


@dataclass(frozen=True, slots=True)
class PathGradients:
    """By path length 0 to n. share: of the 2^n paths, Binomial(n, 1/2). norm: of the gradient of the loss at the images
    through one path, mean over sampled ones and over images. contribution: share times norm, summing to 1 (figure 6c).
    sampled: paths measured of each length.
    """

    share: tuple[float, ...]
    norm: tuple[float, ...]
    contribution: tuple[float, ...]
    sampled: tuple[int, ...]

    @property
    def blocks(self) -> int:
        """n."""
        return len(self.share) - 1

    @property
    def mean_length(self) -> float:
        """Of a path: n / 2."""
        return sum(length * share for length, share in enumerate(self.share))

    @property
    def effective_length(self) -> float:
        """Mean length weighed by contribution: of the paths that bring the gradient."""
        return sum(length * part for length, part in enumerate(self.contribution))


def length_distribution(blocks: int) -> list[float]:
    """The share of the 2^n paths of n `blocks` of each length 0 to n: Binomial(n, 1/2)."""
    return [math.comb(blocks, length) / 2**blocks for length in range(blocks + 1)]


def path_gradients(
    model: nn.Module, images: Tensor, labels: Tensor, *, draws: int = 8, lengths: int = 24, seed: int = 0,
    progress: Progress = silent,
) -> PathGradients:
    """Gradients of the cross-entropy at `images` (N, C, H, W) through random paths of each length, `draws` of each.

    All paths of a length where there are no more than `draws`. Above `lengths` blocks, lengths are measured at evenly
    spread places and drawn between as straight lines of the norm's logarithm. Where a memory reads every block, a
    path's gradient holds what leaves it there. Raises `Undefined` (rule 7).
    """
    blocks = blocks_of(model, images)
    with_paths(blocks)
    free = [index for index, block in enumerate(blocks) if block.shortcut != "none"]
    n = len(free)
    measured = sorted({round(place * n / min(n, lengths)) for place in range(min(n, lengths) + 1)})
    generator = torch.Generator().manual_seed(seed)
    sampled, norms = [0] * (n + 1), [math.nan] * (n + 1)
    with evaluating(model), valves(blocks) as factors, torch.enable_grad():
        x = images.detach().clone().requires_grad_(True)
        loss = loss_of(model, x, labels) * len(x)       # each image its own gradient
        for length in measured:
            progress(f"paths: of length {length} of {n}")
            masks = _masks(n, length, draws, generator)
            total = 0.0
            for mask in masks:
                through = [True] * len(blocks)
                for index, one in zip(free, mask, strict=True):
                    through[index] = one
                factors.open(through)
                total += float(_norms(torch.autograd.grad(loss, x, retain_graph=True)[0]).mean())
            sampled[length], norms[length] = len(masks), total / len(masks)
    share = length_distribution(n)
    norms = _filled(norms, measured)
    parts = [a * b for a, b in zip(share, norms, strict=True)]
    whole = sum(parts) or 1.0
    return PathGradients(tuple(share), tuple(norms), tuple(part / whole for part in parts), tuple(sampled))


def path_gradient(model: nn.Module, images: Tensor, labels: Tensor, branches: Sequence[bool]) -> Tensor:
    """The gradient of the summed cross-entropy at `images`, of their shape, along one path.

    branches: for each block whether the path takes its branch or its shortcut. Those of all 2^n paths add up to the
    whole gradient, unless a memory reads blocks on the way. A path around a plain block brings nothing.
    """
    blocks = blocks_of(model, images)
    with evaluating(model), valves(blocks) as factors, torch.enable_grad():
        x = images.detach().clone().requires_grad_(True)
        loss = loss_of(model, x, labels) * len(x)
        factors.open(branches)
        return torch.autograd.grad(loss, x)[0]


def _masks(n: int, length: int, draws: int, generator: torch.Generator) -> list[list[bool]]:
    """Distinct choices of `length` of `n` branches: `draws` of them, or all there are."""
    wanted = min(draws, math.comb(n, length))
    found: set[tuple[int, ...]] = set()
    while len(found) < wanted:
        found.add(tuple(sorted(torch.randperm(n, generator=generator)[:length].tolist())))
    return [[index in chosen for index in range(n)] for chosen in sorted(found)]


def _norms(gradient: Tensor) -> Tensor:
    norms: Tensor = gradient.flatten(1).norm(dim=1)
    return norms.double()


def _filled(norms: Sequence[float], measured: Sequence[int]) -> list[float]:
    """Norms between the measured lengths, by straight lines in their logarithm; where one of them is 0, in itself."""
    found = list(norms)
    for low, high in pairwise(measured):
        a, b = norms[low], norms[high]
        for at in range(low + 1, high):
            w = (at - low) / (high - low)
            found[at] = math.exp((1 - w) * math.log(a) + w * math.log(b)) if a > 0 and b > 0 else (1 - w) * a + w * b
    return found
