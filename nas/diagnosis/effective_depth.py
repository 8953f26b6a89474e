"""How deep a network is for its gradient (Littwin and Wolf 2016): d ln |dloss/dx| / d ln t at t = 1.

t scales the gradient of every branch, going backward only. A path of r branches is weighed by t^r, so the derivative is
the mean length of the paths that make up the gradient: far less than the number of blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.diagnosis.blocks import blocks_of, with_paths
from nas.diagnosis.patches import evaluating, kept_inputs, loss_of
from nas.diagnosis.valves import Valves, valves


@dataclass(frozen=True, slots=True)
class EffectiveDepth:
    """at: names of the blocks in running order. depth: blocks from each one to the end, itself included. effective: the
    effective depth of that part of the network, in blocks, from the gradient at its first block's input; mean over
    images. whole: of the network, from the gradient at the images.
    """

    at: tuple[str, ...]
    depth: tuple[int, ...]
    effective: tuple[float, ...]
    whole: float

    @property
    def share(self) -> float:
        """Effective depth of the whole network by its number of blocks."""
        return self.whole / self.depth[0]


def effective_depth(model: nn.Module, images: Tensor, labels: Tensor, *, step: float = 0.01) -> EffectiveDepth:
    """The effective depth of `model` for the cross-entropy at `images` (N, C, H, W), by central differences in ln t.

    step: of t. The derivative is taken for each image. Raises `Undefined` where no path goes around a block (rule 7).
    """
    blocks = blocks_of(model, images)
    with_paths(blocks)
    modules = [block.module for block in blocks]
    with evaluating(model), valves(blocks) as factors, torch.enable_grad(), kept_inputs(modules) as inputs:
        x = images.detach().clone().requires_grad_(True)
        loss = loss_of(model, x, labels) * len(x)       # each image its own gradient
        at = [x, *inputs]
        low, high = (_log_norms(loss, at, factors, t) for t in (1 - step, 1 + step))
    width = math.log((1 + step) / (1 - step))
    slopes = [_mean((b - a) / width) for a, b in zip(low, high, strict=True)]
    depths = tuple(range(len(blocks), 0, -1))
    return EffectiveDepth(tuple(block.name for block in blocks), depths, tuple(slopes[1:]), slopes[0])


def _log_norms(loss: Tensor, at: Sequence[Tensor], factors: Valves, t: float) -> list[Tensor]:
    """ln of the gradient's norm by image, of shape (N,), at each of the tensors `at`."""
    factors.branch = [t] * len(factors.branch)
    found = torch.autograd.grad(loss, list(at), retain_graph=True)
    return [gradient.double().flatten(1).norm(dim=1).log() for gradient in found]


def _mean(slopes: Tensor) -> float:
    """Over the images that have a gradient."""
    known = slopes[torch.isfinite(slopes)]
    return float(known.mean()) if len(known) else 0.0
