"""Weights and multiply-adds of the published networks, and the closed forms of single blocks. Nothing runs here.

The numbers are section 3 of the specification of the family: published, or counted by an independent counter. Each is
compared with the cost of the plan and with what the built module has.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from nas.architecture import Architecture, Stage
from nas.levels import closed_form, level_architectures, level_macs, saved_blocks
from nas.nodes import Shape
from nas.reference import reference
from nas.regnet import stages as regnet_stages
from nas.settings import Recipe
from nas.train.multilevel import grow
from nas.verify.claims import Check, Finding, Tier, exactly, near, shown
from nas.verify.networks import SMALL, chain, counts, module, pyramid

COUNTED = "counted independently"


def count(name: str, params: int, macs: int, source: str = COUNTED, **changes: str) -> Check:
    """Of a network by its name, with `changes` of its architecture."""
    words = "".join(f", {key} {value}" for key, value in changes.items())

    def measure() -> Finding:
        found = reference(name)
        return _compared((params, macs), replace(found.architecture, **changes), found.shape, found.classes)  # type: ignore[arg-type]

    return Check(Tier.exact, f"{name}{words}: params, MACs", source, measure)


def spelled(name: str, architecture: Architecture, params: int, macs: int, source: str = COUNTED) -> Check:
    """Of the same network in other words, for CIFAR or ImageNet by its stem."""
    shape, classes = ((3, 224, 224), 1000) if architecture.stem == "conv7x7_pool" else ((3, 32, 32), 10)
    return Check(Tier.exact, f"{name}: params, MACs", source,
                 lambda: _compared((params, macs), architecture, shape, classes))


def _compared(predicted: tuple[int, int], architecture: Architecture, shape: Shape, classes: int) -> Finding:
    by_plan, by_module = counts(architecture, shape, classes)
    if by_plan == by_module:
        return exactly(predicted, by_plan)
    return Finding(predicted, f"plan {shown(by_plan)}, module {shown(by_module)}", "exact", False)


def params_only(name: str, params: int, source: str) -> Check:
    """Of networks whose multiply-adds nobody published."""
    def measure() -> Finding:
        found = reference(name)
        by_plan, by_module = counts(found.architecture, found.shape, found.classes)
        return exactly((params, params), (by_plan[0], by_module[0]))

    return Check(Tier.exact, f"{name}: params by plan and module", source, measure)


def more_classes() -> Finding:
    """C_out + 1 weights and C_out MACs for each class more."""
    one = reference("resnet20").architecture
    found = [counts(one, (3, 32, 32), classes)[1] for classes in (10, 100)]
    return exactly((90 * 65, 90 * 64), tuple(b - a for a, b in zip(*found, strict=True)))


def block_weights(architecture: Architecture, shape: Shape = SMALL) -> int:
    """Of the second block of the first stage, norms and biases included."""
    return sum(p.numel() for p in module(architecture, shape).get_submodule("stage1.block2").parameters())


# --- ResNeXt ----------------------------------------------------------------------------------------------------------

PAIRS = {(64, 1): 69_632, (40, 2): 69_760, (24, 4): 69_888, (14, 8): 71_456, (4, 32): 70_144}


def equal_complexity() -> Finding:
    """Xie et al. 2017, table 2: weights of a 256-wide block of C groups of d channels, norms not counted."""
    found = []
    for d, c in PAIRS:
        stage = {"block": "bottleneck", "base_width": d, "cardinality": c, "shortcut_depth": 3}
        found.append(block_weights(chain(2, 256, stage=stage)) - 2 * (2 * d * c + 256))
    return exactly(list(PAIRS.values()), found)


def base_width() -> Finding:
    """D = floor(planes d / 64), planes = width / 4; inner width D C."""
    predicted, found = [], []
    for width, d, c in ((256, 4, 32), (384, 40, 2), (200, 24, 4)):
        stage = Stage(1, width, "bottleneck", base_width=d, cardinality=c, shortcut_depth=3)
        predicted.append(width * d // 256 * c)
        found.append(module(replace(chain(1, width), stages=(stage,))).get_parameter(
            "stage1.block1.branch.conv1.weight").shape[0])
    return exactly(predicted, found)


# --- later systems ----------------------------------------------------------------------------------------------------

def eca_kernels() -> Finding:
    """The odd number nearest to log2(C) / 2 + 1/2, as in the authors' code, by hand."""
    by_hand = {16: 3, 64: 3, 128: 5, 256: 5, 512: 5, 1024: 5, 2048: 7}
    found = [module(chain(1, width, stage={"attention": "eca", "kernel": 1})).get_parameter(
        "stage1.block1.branch.eca.conv.weight").numel() for width in by_hand]
    return exactly(list(by_hand.values()), found)


def convnext_block() -> Finding:
    """Liu et al. 2022: 7x7 depthwise, norm, 1x1 x4, 1x1, gamma: 8 C^2 + 58 C with biases."""
    widths = (8, 24, 96)
    found = [block_weights(chain(2, width, stage={
        "block": "convnext", "kernel": 7, "bottleneck_ratio": 4.0, "gain": "layerscale"}, norm="layer",
        activation="gelu", order="pre")) for width in widths]
    return exactly([8 * c * c + 58 * c for c in widths], found)


def gate_weights() -> Finding:
    """Of highway and full gates with kernels k of 1 and 3, C = 8 channels: one convolution with bias each."""
    found, predicted = [], []
    for gates, kind in ((1, "highway"), (2, "full")):
        for k in (1, 3):
            stage = {"gate": kind, "gate_kernel": k}
            found.append(block_weights(chain(2, 8, stage=stage)) - block_weights(chain(2, 8)))
            predicted.append(gates * (k * k * 64 + 8))
    return exactly(predicted, found)


# (depth, w_0, w_a, w_m, group width), and the depths and widths of the stages that the authors publish with them
# (Radosavovic et al. 2020; their model zoo).
REGNETS = {
    "RegNetX-200MF": ((13, 24, 36.44, 2.49, 8), ((1, 1, 4, 7), (24, 56, 152, 368))),
    "RegNetX-400MF": ((22, 24, 24.48, 2.54, 16), ((1, 2, 7, 12), (32, 64, 160, 384))),
    "RegNetX-600MF": ((16, 48, 36.97, 2.24, 24), ((1, 3, 5, 7), (48, 96, 240, 528))),
    "RegNetX-800MF": ((16, 56, 35.73, 2.28, 16), ((1, 3, 7, 5), (64, 128, 288, 672))),
    "RegNetX-1.6GF": ((18, 80, 34.01, 2.25, 24), ((2, 4, 10, 2), (72, 168, 408, 912))),
    "RegNetX-3.2GF": ((25, 88, 26.31, 2.25, 48), ((2, 6, 15, 2), (96, 192, 432, 1008))),
    "RegNetX-4.0GF": ((23, 96, 38.65, 2.43, 40), ((2, 5, 14, 2), (80, 240, 560, 1360))),
    "RegNetX-6.4GF": ((17, 184, 60.83, 2.07, 56), ((2, 4, 10, 1), (168, 392, 784, 1624))),
    "RegNetX-8.0GF": ((23, 80, 49.56, 2.88, 120), ((2, 5, 15, 1), (80, 240, 720, 1920))),
    "RegNetX-12GF": ((19, 168, 73.36, 2.37, 112), ((2, 5, 11, 1), (224, 448, 896, 2240))),
    "RegNetX-16GF": ((22, 216, 55.59, 2.1, 128), ((2, 6, 13, 1), (256, 512, 896, 2048))),
    "RegNetX-32GF": ((23, 320, 69.86, 2.0, 168), ((2, 7, 13, 1), (336, 672, 1344, 2520))),
    "RegNetY-400MF": ((16, 48, 27.89, 2.09, 8), ((1, 3, 6, 6), (48, 104, 208, 440))),
}


def regnet(name: str) -> Check:
    """Depths and widths from five numbers."""
    numbers, (depths, widths) = REGNETS[name]

    def measure() -> Finding:
        found = regnet_stages(*numbers)
        return exactly([*depths, *widths], [*(s[0] for s in found), *(s[1] for s in found)])

    return Check(Tier.exact, f"{name}: depths and widths", "Radosavovic et al. 2020", measure)


def lstm_weights() -> Finding:
    """4 (D H + H^2 + 2 H), D the widest stage."""
    predicted, found = [], []
    for width, hidden in ((16, 8), (32, 100)):
        model = module(pyramid(2, width // 2, width, memory=hidden))
        found.append(sum(p.numel() for p in model.get_submodule("memory.cell").parameters()))
        predicted.append(4 * (width * hidden + hidden**2 + 2 * hidden))
    return exactly(predicted, found)


# --- sharing ----------------------------------------------------------------------------------------------------------

def shared_weights_by_depth() -> Finding:
    """Convolution weights of a stage at depths 2, 4, 8, 16: what they are at depth 1."""
    found = [_weights(depth, norms=False) for depth in (1, 2, 4, 8, 16)]
    return exactly([2 * 9 * 8 * 8] * 5, found)


def norms_by_depth() -> Finding:
    """Norm weights: 4 C a block of two convolutions, each with its own."""
    depths = (1, 2, 4, 8, 16)
    return exactly([4 * 8 * depth for depth in depths], [_weights(depth, norms=True) for depth in depths])


def _weights(depth: int, norms: bool) -> int:
    stage = module(chain(depth, stage={"share": "stage"})).get_submodule("stage1")
    return sum(p.numel() for p in stage.parameters() if (p.ndim == 1) == norms)


def downsampling_keeps_its_own() -> Finding:
    """Two stages of shared blocks: the one that strides, and the one that all others use."""
    stage = module(pyramid(6, 8, 16, stage={"share": "stage"}, shortcut="A")).get_submodule("stage2")
    own = 9 * 8 * 16 + 9 * 16 * 16
    return exactly(own + 2 * 9 * 16 * 16, sum(p.numel() for p in stage.parameters() if p.ndim == 4))


# --- multi-level ------------------------------------------------------------------------------------------------------

def level_savings() -> Finding:
    """The share of blocks saved by k interpolations, as published, from the networks that are trained."""
    found = []
    for k in (1, 2, 3):
        recipe = Recipe(epochs=12 * (k + 1), levels=k)
        found.append(100 * saved_blocks(pyramid(8, 16, 32, 64, shortcut="A"), recipe))
    return near((25.0, 41.7, 53.1), [round(one, 1) for one in found], 1e-9)


def level_formula() -> Finding:
    """1 - (2^(k+1) - 1) / (2^k (k + 1)) by hand: 1/4, 5/12, 17/32."""
    return near((1 / 4, 5 / 12, 17 / 32), [closed_form(k) for k in (1, 2, 3)], 1e-12)


def levels_cost() -> Finding:
    """MACs an image of 2-2-2, 4-4-4 and 8-8-8 blocks of 16, 32 and 64 channels."""
    deep = pyramid(8, 16, 32, 64, shortcut="A")
    found = [round(macs / 1e6, 1) for macs in level_macs(deep, 2, (3, 32, 32), 10)]
    return near((26.4, 54.7, 111.3), found, 1e-9)


def level_steps() -> Finding:
    """alpha of 2-2-2, 4-4-4 and 8-8-8 blocks: twice the next one's, so that the steps add up to the same."""
    networks = level_architectures(pyramid(8, 16, 32, 64, shortcut="A"), 2)
    return exactly([4.0, 2.0, 1.0, 8.0, 8.0, 8.0], [
        *(float(one.stages[0].residual_scaling) for one in networks),
        *(one.stages[0].depth * float(one.stages[0].residual_scaling) for one in networks)])


def level_copies() -> Finding:
    """Which of two trained blocks each of four is after growing, by its weights: the first, its copy, and so on."""
    small, large = (module(chain(depth), seed=depth).state_dict() for depth in (2, 4))
    grown = grow(small, large)
    name = "branch.conv1.weight"
    found = [next((old for old in (1, 2) if torch.equal(
        grown[f"stage1.block{new}.{name}"], small[f"stage1.block{old}.{name}"])), 0) for new in range(1, 5)]
    return exactly([1, 1, 2, 2], found)


def se_overhead() -> Finding:
    """Hu et al. 2018: 4,091,699,200 to 4,089,184,256 MACs on ResNet-50."""
    with_se, without = (counts(reference(name).architecture, (3, 224, 224), 1000)[1][1]
                        for name in ("se_resnet50", "resnet50"))
    return near(0.061, round(100 * (with_se / without - 1), 4), 0.0006)


