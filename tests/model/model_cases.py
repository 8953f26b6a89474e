"""Helpers of the model's tests: the published networks in our terms, random points, and three independent counters."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nas.architecture import (
    ACTIVATIONS,
    GAINS,
    GATES,
    INITS,
    NORMS,
    ORDERS,
    SHORTCUTS,
    STEMS,
    STRIDES_IN,
    Architecture,
    Stage,
)
from nas.blocks import BLOCKS
from nas.model import build
from nas.model.layers import LayerNorm
from nas.nodes import ATTENTIONS, Cost, Sequence, Shape
from nas.verify.networks import shaken

CIFAR, IMAGENET = (3, 32, 32), (3, 224, 224)


class Published(NamedTuple):
    """A network of the literature and its counts, as the reference page lists them."""

    architecture: Architecture
    shape: Shape
    classes: int
    params: int
    macs: int


def counted(plan: Sequence) -> Cost:
    """Params, MACs and activations as torch sees them: the module's own weights, its FLOP counter, forward hooks."""
    model = build(plan, device="meta").eval()
    outputs: list[int] = []

    def seen(module: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        outputs.append(8 * module.hidden_size if isinstance(module, nn.LSTMCell) else output.numel())

    for module in model.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear | nn.LSTMCell):
            module.register_forward_hook(seen)
        if isinstance(module, nn.BatchNorm2d | nn.GroupNorm | LayerNorm):
            module.forward = _unchanged     # neither counts anything; on meta a norm is many slow Python calls
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        logits = model(torch.empty(1, *plan.shape, device="meta"))
    assert logits.shape == (1, plan.out[0])
    flops = counter.get_total_flops()
    assert flops % 2 == 0
    return Cost(sum(p.numel() for p in model.parameters()), flops // 2, sum(outputs))


def _unchanged(x: Tensor) -> Tensor:
    return x


def drawn(rng: random.Random) -> Architecture:
    """A small legal network with every knob drawn."""
    while True:
        stages = tuple(_drawn_stage(rng) for _ in range(rng.randint(1, 3)))
        architecture = Architecture(
            stages, stem=rng.choice(STEMS), stem_width=rng.choice([4, 5, 8]), order=rng.choice(ORDERS),
            shortcut=rng.choice(SHORTCUTS), activation=rng.choice(ACTIVATIONS), stride_in=rng.choice(STRIDES_IN),
            norm=rng.choice(["batch", *NORMS]), init=rng.choice(INITS), drop_path=rng.choice([0.0, 0.0, 0.3]),
            memory=rng.choice([0, 0, 3]))
        if architecture.conflict() is None:
            return architecture


def _drawn_stage(rng: random.Random) -> Stage:
    block = rng.choice(list(BLOCKS))
    return Stage(
        depth=rng.randint(1, 4), width=rng.choice([4, 6, 8, 12, 20]), block=block, kernel=rng.choice([1, 3, 5]),
        bottleneck_ratio=rng.choice([0.25, 0.5, 1.0, 2.0]), cardinality=rng.choice([0, 1, 2, 4]),
        shortcut_depth=rng.randint(1, 4) if block == "basic" else rng.randint(3, 5),
        residual_scaling=rng.choice([1.0, 0.1, 0.37, "1/sqrt(L)", "1/sqrt(k)"]), gate=rng.choice([*GATES, "none"]),
        gate_bias=rng.choice([-3.0, -1.0, 0.5]), gate_kernel=rng.choice([1, 3]),
        se_ratio=rng.choice([0.0, 0.01, 0.25, 1.0]), attention=rng.choice(list(ATTENTIONS)),
        base_width=rng.choice([0, 0, 32, 64]), dilation=rng.choice([1, 2, 3]),
        mixing=rng.choice(["none", "none", "dilated"]), branches=rng.choice([1, 1, 2, 3]), gain=rng.choice(GAINS),
        gain_init=rng.choice([1e-4, 0.1]), dropout=rng.choice([0.0, 0.2]), share=rng.choice(["none", "stage"]))


# --- the literature's networks ------------------------------------------------------------------------------------

def _imagenet(depths: tuple[int, ...], block: str = "bottleneck", **knobs: object) -> Architecture:
    first = 64 if block == "basic" else 256
    spans = 2 if block == "basic" else 3
    stages = tuple(Stage(depth, first * 2**index, block, shortcut_depth=spans) for index, depth in enumerate(depths))
    stages = tuple(replace(stage, **knobs) for stage in stages)
    return Architecture(stages, stem="conv7x7_pool", stem_width=64)


def _cifar(depth: int, widths: tuple[int, int, int] = (16, 32, 64), stem: int = 16, order: str = "post",
           shortcut: str = "B", block: str = "basic", **knobs: object) -> Architecture:
    spans = 2 if block == "basic" else 3
    stages = tuple(Stage(depth, width, block, shortcut_depth=spans) for width in widths)
    stages = tuple(replace(stage, **knobs) for stage in stages)
    return Architecture(stages, stem_width=stem, order=order, shortcut=shortcut)


def _resnext29(base: int, cardinality: int) -> Architecture:
    return _cifar(3, (256, 512, 1024), 64, block="bottleneck", bottleneck_ratio=base * cardinality / 256,
                  cardinality=cardinality)


_R50, _R101 = (3, 4, 6, 3), (3, 4, 23, 3)
_SE = 1 / 16
_ROWS: dict[str, tuple[Architecture, Shape, int, int, int]] = {
    "resnet18": (_imagenet((2, 2, 2, 2), "basic"), IMAGENET, 1000, 11_689_512, 1_814_073_344),
    "resnet34": (_imagenet(_R50, "basic"), IMAGENET, 1000, 21_797_672, 3_663_761_408),
    "resnet50": (_imagenet(_R50), IMAGENET, 1000, 25_557_032, 4_089_184_256),
    "resnet50 of 2015": (
        replace(_imagenet(_R50), stride_in="conv1x1"), IMAGENET, 1000, 25_557_032, 3_857_973_248),
    "resnet101": (_imagenet(_R101), IMAGENET, 1000, 44_549_160, 7_801_405_440),
    "resnext50_32x4d": (
        _imagenet(_R50, cardinality=32, bottleneck_ratio=0.5), IMAGENET, 1000, 25_028_904, 4_230_479_872),
    "resnext101_32x8d": (
        _imagenet(_R101, cardinality=32, bottleneck_ratio=1.0), IMAGENET, 1000, 88_791_336, 16_414_015_488),
    "wide_resnet50_2": (_imagenet(_R50, bottleneck_ratio=0.5), IMAGENET, 1000, 68_883_240, 11_398_021_120),
    "se_resnet50": (_imagenet(_R50, se_ratio=_SE), IMAGENET, 1000, 28_088_024, 4_091_699_200),
    "seresnext50_32x4d": (
        _imagenet(_R50, se_ratio=_SE, cardinality=32, bottleneck_ratio=0.5), IMAGENET, 1000, 27_559_896,
        4_232_994_816),
    "ResNet-20 A": (_cifar(3, shortcut="A"), CIFAR, 10, 269_722, 40_551_040),
    "ResNet-20 B": (_cifar(3), CIFAR, 10, 272_474, 40_813_184),
    "ResNet-56 A": (_cifar(9, shortcut="A"), CIFAR, 10, 853_018, 125_485_696),
    "ResNet-56 B": (_cifar(9), CIFAR, 10, 855_770, 125_747_840),
    "ResNet-110 A": (_cifar(18, shortcut="A"), CIFAR, 10, 1_727_962, 252_887_680),
    "ResNet-110 B": (_cifar(18), CIFAR, 10, 1_730_714, 253_149_824),
    "pre-activation ResNet-110 A": (_cifar(18, order="pre", shortcut="A"), CIFAR, 10, 1_727_962, 252_887_680),
    "pre-activation ResNet-110 B": (_cifar(18, order="pre"), CIFAR, 10, 1_730_522, 253_149_824),
    "pre-activation ResNet-164": (
        _cifar(18, (64, 128, 256), order="pre", block="bottleneck"), CIFAR, 10, 1_703_258, 247_646_720),
    "WRN-16-4": (_cifar(2, (64, 128, 256), order="pre"), CIFAR, 10, 2_748_890, 392_612_352),
    "WRN-28-10": (_cifar(4, (160, 320, 640), order="pre"), CIFAR, 10, 36_479_194, 5_243_328_768),
    "ResNeXt-29 8x64d": (_resnext29(64, 8), CIFAR, 10, 34_426_698, 5_387_266_048),
    "ResNeXt-29 (64, 1)": (_resnext29(64, 1), CIFAR, 10, 4_914_250, 748_365_824),
    "ResNeXt-29 (40, 2)": (_resnext29(40, 2), CIFAR, 10, 4_879_626, 754_788_352),
    "ResNeXt-29 (24, 4)": (_resnext29(24, 4), CIFAR, 10, 4_845_002, 761_210_880),
    "ResNeXt-29 (14, 8)": (_resnext29(14, 8), CIFAR, 10, 4_901_098, 780_904_448),
    "ResNeXt-29 (4, 32)": (_resnext29(4, 32), CIFAR, 10, 4_775_754, 774_055_936),
    "SE-ResNet-110 B": (_cifar(18, se_ratio=_SE), CIFAR, 10, 1_744_952, 253_161_920),
}
PUBLISHED = {name: Published(*row) for name, row in _ROWS.items()}


def unsettled(plan: Sequence, seed: int = 0) -> nn.Module:
    """The network in float64 and evaluation mode, with norms and biases away from their starting values."""
    return shaken(build(plan, seed), seed)
