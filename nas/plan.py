"""The network as a small frozen tree of layers with their shapes: the one description that everything else folds.

`plan(architecture, ...)` wires the knobs: stages, shortcuts, gates, sharing. What a branch computes stands in
`nas.blocks`, the kinds of layers in `nas.nodes`. No torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from functools import lru_cache
from operator import attrgetter
from typing import Any

from nas.architecture import Architecture, Stage, factor
from nas.blocks import BLOCKS, Chain, Inside, Style, function, kind_of
from nas.errors import NasError
from nas.nodes import (
    ATTENTIONS,
    Activation,
    Borrowed,
    Conv,
    Gain,
    Gate,
    Head,
    Identity,
    MaxPool,
    Memory,
    Mixing,
    Node,
    Opaque,
    PadShortcut,
    Residual,
    Sequence,
    Shape,
    Sum,
    Unrolled,
    strided,
)


def plan(architecture: Architecture, shape: Shape, classes: int) -> Sequence:
    """The network of `architecture` for images of `shape` (C, H, W) and `classes` classes.

    The architecture must be legal: `architecture.conflict()` is None.
    """
    a = architecture
    style = Style(a.order, a.norm, a.activation, a.init)
    stem = _stem(style, a.stem, a.stem_width, shape)
    layers: list[tuple[str, Node]] = []
    at, before = stem.out, 0
    for number, stage in enumerate(a.stages, 1):
        blocks = _stage(a, style, stage, at, 2 if number > 1 else 1, before)
        layers.append((f"stage{number}", blocks))
        at, before = blocks.out, before + stage.depth
    if a.order == "pre" and (final := _norm_activation(style, at)):
        layers.append(("final", final))
        at = final.out
    if a.memory:
        at = (at[0] + a.memory, 1, 1)
        widest = max(stage.width for stage in a.stages)
        layers = [("memory", Memory(stem.out, at, tuple(layers), a.memory, widest, a.blocks))]
    ends: tuple[tuple[str, Node], ...] = (("stem", stem), *layers, ("head", _head(style, at, classes, bool(a.memory))))
    return Sequence(shape, (classes, 1, 1), ends)


@lru_cache(maxsize=1024)
def _stem(style: Style, kind: str, width: int, shape: Shape) -> Sequence:
    made = Chain(style, shape)
    if kind.startswith("patch"):
        side = int(kind[5:])
        out = (width, max(1, shape[1] // side), max(1, shape[2] // side))
        made.add("conv", Conv(shape, out, side, side, bias=style.norm == "none", init=style.starts(False),
                              rectified=style.rectified, patch=True))
        made.norm("norm")
        return made.done()
    made.conv("conv", width, *((3, 1) if kind == "conv3x3" else (7, 2)))
    if style.order == "post":
        made.norm("norm")
        made.act("act")
    if kind == "conv7x7_pool":
        made.add("pool", MaxPool(made.at, strided(made.at, 2, width)))
    return made.done()


@lru_cache(maxsize=1024)
def _head(style: Style, shape: Shape, classes: int, memory: bool) -> Head:
    """Beside the states of an LSTM nothing looks linear."""
    return Head(shape, classes, "looks_linear" if style.init == "looks_linear" and not memory else "")


# --- stages and blocks --------------------------------------------------------------------------------------------

def _stage(a: Architecture, style: Style, stage: Stage, shape: Shape, stride: int, before: int) -> Sequence:
    """`before`: the blocks of earlier stages, for stochastic depth."""
    inside, alpha = _inside(stage), factor(stage.residual_scaling, a.blocks, stage.branches)
    first = _block(a, style, inside, alpha, shape, strided(shape, stride, stage.width), stride)
    blocks = [first]
    if stage.depth > 1:
        blocks += [_block(a, style, inside, alpha, first.out, first.out, 1)] * (stage.depth - 1)
    owner = int(stride > 1 or shape != first.out)
    shared = stage.share == "stage" and stage.depth > owner + 1
    if shared:
        lent = blocks[owner]
        blocks[owner + 1:] = [replace(lent, branch=_lent(lent.branch))] * (stage.depth - owner - 1)
    if a.drop_path:
        rate = a.drop_path / a.blocks
        blocks = [replace(block, drop=rate * index) for index, block in enumerate(blocks, before + 1)]
    named = tuple(zip(_BLOCK_NAMES, blocks, strict=False))
    if shared:
        return Unrolled(shape, first.out, named, _BLOCK_NAMES[owner])
    return Sequence(shape, first.out, named)


_BLOCK_NAMES = tuple(f"block{number}" for number in range(1, 10_001))


def _block(
    a: Architecture, style: Style, inside: tuple[Any, ...], alpha: float, shape: Shape, out: Shape, stride: int
) -> Residual:
    pre, shortcut, branch, gate, post = _parts(style, a.shortcut, a.stride_in, inside, shape, out, stride)
    return Residual(shape, out, pre, shortcut, branch, alpha, gate, post)


# What blocks of a stage may have in common with those of others: all of its knobs but depth and alpha.
_INSIDE = tuple(field.name for field in fields(Stage) if field.name not in ("depth", "residual_scaling"))
_inside: Callable[[Stage], tuple[Any, ...]] = attrgetter(*_INSIDE)


@lru_cache(maxsize=65_536)
def _parts(
    style: Style, shortcut: str, stride_in: str, inside: tuple[Any, ...], shape: Shape, out: Shape, stride: int
) -> tuple[Sequence | None, Node | None, Sequence, Gate | None, Activation | None]:
    """Pre, shortcut, branch, gate and post of a block: all of it but alpha, which may be continuous."""
    stage = Stage(depth=1, **dict(zip(_INSIDE, inside, strict=True)))
    wired = stage.block in BLOCKS
    shared = wired and style.order == "pre" and (shape != out or shortcut == "C") and shortcut != "none"
    pre = _norm_activation(style, shape) if shared else None
    split = pre is not None and style.activation == "crelu"
    taken = pre.out if pre is not None else shape
    ends = style.order == "post" and style.activation != "identity" and kind_of(stage.block).post
    return (
        pre,
        _shortcut(style, shortcut, taken, shape == out, out, stride, split),
        _branch(style, stage, stride_in, taken, out, stride, shared, split),
        _gate(style, stage.gate, out, stage.gate_kernel, stage.gate_bias) if stage.gate != "none" else None,
        Activation(style.activation, out, fresh=True) if ends else None,
    )


@lru_cache(maxsize=65_536)
def _branch(
    style: Style, stage: Stage, stride_in: str, shape: Shape, out: Shape, stride: int, shared: bool, split: bool
) -> Sequence:
    """The sum of k functions, then channel attention and the learned gain."""
    made = Chain(style, shape, split)
    inside = Inside(style, stage, stride_in, shape, out, stride, shared, split)
    if stage.branches > 1:
        made.add("sum", Sum(shape, out, (function(inside),) * stage.branches))
    else:
        for name, layer in function(inside).layers:
            made.add(name, layer)
    if attention := ATTENTIONS[stage.attention](out, stage.se_hidden):
        made.add(stage.attention, attention)
    if stage.gain == "skipinit":
        made.add("gain", Gain(out, False, 0.0))
    elif stage.gain == "layerscale":
        made.add("gain", Gain(out, True, stage.gain_init))
    return made.done()


# --- what stands beside a branch ----------------------------------------------------------------------------------

@lru_cache(maxsize=16_384)
def _shortcut(
    style: Style, kind: str, shape: Shape, same: bool, out: Shape, stride: int, split: bool
) -> Node | None:
    """P: the identity where shapes agree (unless kind is C); a projection after pre-activation has no norm."""
    if kind == "none":
        return None
    if same and kind != "C":
        return Identity(shape)
    if kind == "A":
        return PadShortcut(shape, out, stride)
    made = Chain(style, shape, split)
    made.conv("conv", out[0], 1, stride)
    if style.order == "post":
        made.norm("norm")
    return made.done()


@lru_cache(maxsize=16_384)
def _gate(style: Style, kind: str, shape: Shape, kernel: int, bias: float) -> Gate:
    def conv(start: float) -> Conv:
        return Conv(shape, shape, kernel, bias=True, bias_init=start)

    carry = conv(-bias) if kind in {"carry", "full"} else None
    return Gate(kind, shape, None if kind == "carry" else conv(bias), carry)


@lru_cache(maxsize=16_384)
def _norm_activation(style: Style, shape: Shape) -> Sequence | None:
    """None in a linear network without norms."""
    made = Chain(style, shape)
    made.norm("norm")
    made.act("act")
    return made.done() if made.layers else None


@lru_cache(maxsize=65_536)
def _lent(branch: Sequence) -> Sequence:
    """`branch` once more, with the convolutions of the block that it was made for."""
    return replace(branch, layers=tuple((name, _borrowed(layer)) for name, layer in branch.layers))


def _borrowed(node: Node) -> Node:
    match node:
        case Conv():
            return Borrowed(node)
        case Sequence():
            return _lent(node)
        case Sum():
            return replace(node, branches=tuple(_borrowed(branch) for branch in node.branches))
        case Opaque():
            raise NasError(f"share: stage: block {node.function} is a torch module, whose convolutions are its own; "
                           "return nodes from it, or leave share out")
        case Mixing():
            return replace(node, steps=tuple((_borrowed(a), _borrowed(b)) for a, b in node.steps))
        case _:
            return node
