"""Small networks whose measures are known: chains of linear blocks, and members of the family with settled norms."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from nas.architecture import Architecture, Stage
from nas.model import build
from nas.model.layers import Head, Residual
from nas.plan import plan

CLASSES = 4


def images(count: int = 24, channels: int = 3, side: int = 8, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images and labels at random."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(count, channels, side, side, generator=generator),
            torch.randint(0, CLASSES, (count,), generator=generator))


def scaling(channels: int, factor: float) -> nn.Module:
    """x to factor x, as a 1x1 convolution."""
    conv = nn.Conv2d(channels, channels, 1, bias=False)
    with torch.no_grad():
        conv.weight.copy_(factor * torch.eye(channels)[:, :, None, None])
    return nn.Sequential(OrderedDict(conv=conv))


def chain(*betas: float, channels: int = 3) -> nn.Module:
    """y = x + beta x, block after block, then the classifier."""
    blocks = {f"block{i}": Residual(branch=scaling(channels, beta), shortcut=nn.Identity())
              for i, beta in enumerate(betas, 1)}
    torch.manual_seed(1)
    return nn.Sequential(OrderedDict(stage1=nn.Sequential(OrderedDict(blocks)), head=Head(channels, CLASSES)))


def network(depth: int = 2, widths: tuple[int, ...] = (8, 16), seed: int = 0, stage: dict[str, Any] | None = None,
            **network: Any) -> nn.Module:
    """One of the family, in eval mode and channels_last, with the norm statistics of random images."""
    architecture = Architecture(tuple(Stage(depth=depth, width=width, **(stage or {})) for width in widths),
                                **{"stem_width": 8, **network})
    assert architecture.conflict() is None
    model = build(plan(architecture, (3, 8, 8), CLASSES), seed=seed)
    model.to(memory_format=torch.channels_last)     # type: ignore[call-overload]
    model.train()
    with torch.no_grad():
        for seed in range(3):
            model(images(32, seed=seed)[0])
    return model.eval()
