"""What the gates of highway blocks let through, and how squeeze-and-excitation weighs channels.

T near 0 and C near 1 carry the input on (Srivastava et al. 2015); excitations that do not depend on the
image only rescale channels (Hu et al. 2018).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from nas.diagnosis.blocks import Undefined, blocks_of
from nas.diagnosis.patches import hooked, run_through
from nas.model.layers import ChannelAttention, SqueezeExcitation

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_KEPT = 4096            # values of a gate that are kept of each batch, for its quantiles


@dataclass(frozen=True, slots=True)
class GateValues:
    """part: T (transform) or C (carry). mean: over images, channels and places; quantiles: at `QUANTILES`."""

    block: str
    part: Literal["T", "C"]
    mean: float
    quantiles: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Excitation:
    """Channel weights in [0, 1] of a block. mean: over images and channels. over_channels: standard deviation of the
    channels' means. over_images: mean over channels of the standard deviation over images. quantiles: at `QUANTILES`.
    """

    block: str
    mean: float
    over_channels: float
    over_images: float
    quantiles: tuple[float, ...]


def gate_values(model: nn.Module, images: Tensor) -> list[GateValues]:
    """Every learned gate, in running order, and C = 1 - T of highway ones. images: (N, C, H, W).

    Raises `Undefined` where no block has a gate.
    """
    watched: list[tuple[str, Literal["T", "C"], nn.Module, bool]] = []      # the last: whether 1 - its sigmoid
    for block in blocks_of(model, images):
        if (gate := block.module.gate) is None:
            continue
        transform, carry = gate.transform, gate.carry
        if isinstance(transform, nn.Module):
            watched.append((block.name, "T", transform, False))
        if isinstance(carry, nn.Module):
            watched.append((block.name, "C", carry, False))
        elif gate.kind == "highway" and isinstance(transform, nn.Module):
            watched.append((block.name, "C", transform, True))
    if not watched:
        raise Undefined("no block has a gate")
    kept: list[list[Tensor]] = [[] for _ in watched]
    sums = [0.0] * len(watched)

    def keep(index: int, complement: bool) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            values = torch.sigmoid(-output if complement else output).flatten()
            sums[index] += float(values.double().mean()) * len(output)
            kept[index].append(values[:: max(1, len(values) // _KEPT)])

        return hook

    with hooked((conv, keep(index, complement)) for index, (_, _, conv, complement) in enumerate(watched)):
        for _ in run_through(model, images):
            pass
    return [GateValues(name, part, total / len(images), _quantiles(torch.cat(values)))
            for (name, part, _, _), values, total in zip(watched, kept, sums, strict=True)]


def excitations(model: nn.Module, images: Tensor) -> list[Excitation]:
    """The channel weights of every block that has them (SE, ECA), in running order. images: (N, C, H, W).

    They are what a channel is multiplied by, from what goes in and comes out. A channel that is 0 in an image says
    nothing there. Raises `Undefined` where no block has any.
    """
    watched = [(block.name, module) for block in blocks_of(model, images) for module in block.module.modules()
               if isinstance(module, SqueezeExcitation | ChannelAttention)]
    if not watched:
        raise Undefined("no block weighs its channels (squeeze-and-excitation, ECA)")
    kept: list[list[Tensor]] = [[] for _ in watched]

    def keep(index: int) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            x = inputs[0].double()
            kept[index].append((x * output).sum((2, 3)) / x.square().sum((2, 3)))      # (N, C)

        return hook

    with hooked((module, keep(index)) for index, (_, module) in enumerate(watched)):
        for _ in run_through(model, images):
            pass
    return [_excitation(name, torch.cat(values)) for (name, _), values in zip(watched, kept, strict=True)]


def _excitation(name: str, weights: Tensor) -> Excitation:
    """weights: (N, C); NaN where nothing is known."""
    weights = weights.where(weights.isfinite(), torch.nan)
    known = weights[:, weights.isfinite().any(0)]
    means = known.nanmean(0)
    deviations = (known - means).square().nanmean(0).sqrt()
    return Excitation(name, float(known.nanmean()), float(means.std(correction=0)), float(deviations.mean()),
                      _quantiles(known[known.isfinite()]))


def _quantiles(values: Tensor) -> tuple[float, ...]:
    values = values.flatten()
    values = values[:: len(values) // 1_000_000 + 1]        # torch.quantile takes no more than 16 million
    return tuple(torch.quantile(values, torch.tensor(QUANTILES).to(values)).tolist())
