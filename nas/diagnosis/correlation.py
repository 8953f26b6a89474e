"""Whether gradients of different inputs look alike (Balduzzi et al. 2017); in a deep plain network they are like noise.

At initialisation the correlation is 2^-L in a plain network of L rectified layers with norms, (1 + beta^2 L)^-1/2 in a
residual one of L branches scaled by beta, and 1 where the network is linear. Norm statistics are constants here: as the
network holds them, or estimated on the images themselves where it is untrained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.diagnosis.blocks import blocks_of
from nas.diagnosis.patches import estimated_norms, evaluating, kept_inputs


@dataclass(frozen=True, slots=True)
class GradientCorrelation:
    """at: names of the blocks in running order. output, loss: the mean cosine over pairs of images of the gradient at
    each block's input; of a fixed combination of the logits (the theory's), and of each image's own cross-entropy.
    """

    at: tuple[str, ...]
    output: tuple[float, ...]
    loss: tuple[float, ...]

    @property
    def first(self) -> float:
        """At the first block, of the output: what 2^-L and (1 + beta^2 L)^-1/2 speak of."""
        return self.output[0]


def gradient_correlation(
    model: nn.Module, images: Tensor, labels: Tensor, *, estimate_norms: bool = False, directions: int = 4,
    seed: int = 0,
) -> GradientCorrelation:
    """Correlation over `images` (N, C, H, W), N at least 2, of the gradients at the input of every block.

    estimate_norms: norm statistics of these images in place of the running ones, for a network at its initialisation.
    directions: how many random combinations of the logits are averaged over.
    """
    blocks = blocks_of(model, images)
    generator = torch.Generator().manual_seed(seed)
    modules = [block.module for block in blocks]
    with (estimated_norms(model, images if estimate_norms else None), evaluating(model), torch.enable_grad(),
          kept_inputs(modules) as at):
        logits = model(images.detach().clone().requires_grad_(True))
        found = [0.0] * len(blocks)
        for _ in range(directions):
            direction = torch.randn(logits.shape[1], generator=generator).to(logits)
            found = [a + b / directions for a, b in zip(found, _cosines((logits @ direction).sum(), at), strict=True)]
        own = _cosines(F.cross_entropy(logits, labels, reduction="sum"), at)
    return GradientCorrelation(tuple(block.name for block in blocks), tuple(found), tuple(own))


def mean_cosine(gradients: Tensor) -> float:
    """Mean cosine over all pairs of two different rows; of shape (N, ...). A row of zeros is at right angles to all."""
    rows = gradients.detach().flatten(1).double()
    rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-300)
    count = len(rows)
    return float((rows.sum(0).square().sum() - rows.square().sum()) / (count * (count - 1)))


def _cosines(of: Tensor, at: Sequence[Tensor]) -> list[float]:
    return [mean_cosine(gradient) for gradient in torch.autograd.grad(of, list(at), retain_graph=True)]
