"""Quicker ways to compute a layer compute the same, forwards and backwards."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from nas.train.quick import quicken


def both_ways(layer: nn.Module, channels: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Output, gradients and buffers of `layer` and of its quickened copy, on the same batch."""
    quick = copy.deepcopy(layer)
    quicken(quick)
    found = []
    for one in (layer, quick):
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(8, channels, 6, 6, generator=generator).contiguous(memory_format=torch.channels_last)
        x.requires_grad_()
        y = one(x)
        assert y.is_contiguous(memory_format=torch.channels_last)
        (y * torch.arange(y.numel()).view_as(y).cos()).sum().backward()
        found.append([y.detach(), x.grad, *(p.grad for p in one.parameters()), *one.buffers()])
    return found[0], found[1]


@pytest.mark.parametrize(("channels", "groups", "stride", "merged"), [
    (8, 4, 1, 1), (16, 8, 2, 2), (16, 4, 1, 2), (32, 8, 1, 4), (24, 6, 1, 3), (12, 3, 1, 3), (8, 8, 1, 8),
    (64, 8, 2, 8)])
def test_grouped_convolutions(channels: int, groups: int, stride: int, merged: int,
                              monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    convolve = torch.conv2d

    def watched(x: torch.Tensor, weight: torch.Tensor, *rest: object) -> torch.Tensor:
        seen.append(rest[-1])
        return convolve(x, weight, *rest)

    layer = nn.Sequential(nn.Conv2d(channels, channels, 3, stride, 1, groups=groups, bias=False))
    layer.to(memory_format=torch.channels_last)
    monkeypatch.setattr("nas.train.quick.F.conv2d", watched)
    plain, quick = both_ways(layer, channels)
    assert seen[-1] == merged, "groups that are computed"
    for one, other in zip(plain, quick, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 4, 7, 8])
def test_norms_of_few_channels(channels: int) -> None:
    plain, quick = both_ways(nn.Sequential(nn.BatchNorm2d(channels)), channels)
    for one, other in zip(plain, quick, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_what_is_quick_already_is_left_alone() -> None:
    layers = [nn.Conv2d(16, 16, 3, groups=16), nn.Conv2d(4, 32, 3, groups=2), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(64)]
    quicken(nn.Sequential(*layers))
    assert not any("forward" in vars(layer) for layer in layers)
