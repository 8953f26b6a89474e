"""The network as a small frozen tree of layers with their shapes: the one description that everything else folds.

`plan(architecture, ...)` wires the knobs: what a knob does to a network stands here and nowhere else. The kinds of
layers stand in `nas.nodes`. No torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from nas.architecture import Architecture, Stage
from nas.nodes import (
    Activation,
    Borrowed,
    ChannelAttention,
    Conv,
    Dropout,
    Gain,
    Gate,
    Head,
    Identity,
    MaxPool,
    Memory,
    Mixing,
    Node,
    Norm,
    PadShortcut,
    Residual,
    Sequence,
    Shape,
    SqueezeExcitation,
    Sum,
    Unrolled,
    chain,
    strided,
)
from nas.own_block import branch_of


def plan(architecture: Architecture, shape: Shape, classes: int) -> Sequence:
    """The network of `architecture` for images of `shape` (C, H, W) and `classes` classes.

    The architecture must be legal: `architecture.conflict()` is None.
    """
    a = architecture
    style = _Style(a.order, a.norm, a.activation, a.init)
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
    ends: tuple[tuple[str, Node], ...] = (("stem", stem), *layers, ("head", _head(style, at, classes)))
    return Sequence(shape, (classes, 1, 1), ends)


@dataclass(frozen=True, slots=True)
class _Style:
    """What holds in the whole network."""

    order: str
    norm: str
    activation: str
    init: str

    @property
    def rectified(self) -> bool:
        """Whether what convolutions take in has lost half its energy to a rectifier."""
        return self.activation not in ("crelu", "identity")

    def starts(self, split: bool) -> str:
        """How the weights of a convolution start; `split`: behind a CReLU."""
        return "orthogonal" if self.init == "looks_linear" and not split else self.init


class _Chain:
    """Layers being put one after the other, in the style of the network."""

    def __init__(self, style: _Style, shape: Shape, split: bool = False):
        self.style, self.at = style, shape
        self.split = split          # whether the channels come in pairs, out of a CReLU
        self.layers: list[tuple[str, Node]] = []

    def add(self, name: str, node: Node) -> None:
        self.layers.append((name, node))
        self.at = node.out
        self.split = isinstance(node, Activation) and node.kind == "crelu"

    def norm(self, name: str, scale: float = 1.0) -> None:
        if self.style.norm != "none":
            self.add(name, Norm(self.at, self.style.norm, scale))

    def act(self, name: str) -> None:
        if self.style.activation != "identity":
            self.add(name, Activation(self.style.activation, self.at))

    def conv(self, name: str, width: int, kernel: int, stride: int = 1, groups: int = 1, dilation: int = 1,
             bias: bool = False) -> None:
        """Without norms a convolution has a bias."""
        style = self.style
        self.add(name, Conv(
            self.at, strided(self.at, stride, width), kernel, stride, groups, bias or style.norm == "none",
            dilation=dilation, init=style.starts(self.split), rectified=style.rectified))

    def done(self) -> Sequence:
        return chain(self.layers)


@lru_cache(maxsize=1024)
def _stem(style: _Style, kind: str, width: int, shape: Shape) -> Sequence:
    made = _Chain(style, shape)
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
def _head(style: _Style, shape: Shape, classes: int) -> Head:
    return Head(shape, classes, "looks_linear" if style.init == "looks_linear" else "")


# --- stages and blocks --------------------------------------------------------------------------------------------

def _stage(a: Architecture, style: _Style, stage: Stage, shape: Shape, stride: int, before: int) -> Sequence:
    """`before`: the blocks of earlier stages, for stochastic depth."""
    first = _block(a, style, stage, shape, stride)
    blocks = [first]
    if stage.depth > 1:
        blocks += [_block(a, style, stage, first.out, 1)] * (stage.depth - 1)
    owner = 0 if shape == first.out else 1
    if stage.share == "stage" and stage.depth > owner + 1:
        lent = blocks[owner]
        blocks[owner + 1:] = [replace(lent, branch=_lent(lent.branch))] * (stage.depth - owner - 1)
    if a.drop_path:
        rate = a.drop_path / a.blocks
        blocks = [replace(block, drop=rate * index) for index, block in enumerate(blocks, before + 1)]
    named = tuple(zip(_BLOCK_NAMES[1:], blocks, strict=False))
    if stage.share == "stage":
        return Unrolled(shape, first.out, named, _BLOCK_NAMES[owner + 1])
    return Sequence(shape, first.out, named)


_BLOCK_NAMES = tuple(f"block{number}" for number in range(10_001))


def _block(a: Architecture, style: _Style, stage: Stage, shape: Shape, stride: int) -> Residual:
    out = strided(shape, stride, stage.width)
    inside = _inside(stage)
    pre, shortcut, branch, gate, post = _parts(style, a.shortcut, a.stride_in, inside, shape, out, stride)
    return Residual(shape, out, pre, shortcut, branch, _alpha(a, stage), gate, post)


def _alpha(a: Architecture, stage: Stage) -> float:
    if isinstance(stage.residual_scaling, str):
        blocks = a.blocks if stage.residual_scaling == "1/sqrt(L)" else stage.branches
        return float(blocks ** -0.5)
    return stage.residual_scaling


@lru_cache(maxsize=65_536)
def _inside(stage: Stage) -> Stage:
    """What blocks of `stage` have in common with those of other stages: all of it but depth and alpha."""
    return replace(stage, depth=1, residual_scaling=1.0)


@lru_cache(maxsize=65_536)
def _parts(
    style: _Style, shortcut: str, stride_in: str, stage: Stage, shape: Shape, out: Shape, stride: int
) -> tuple[Sequence | None, Node | None, Sequence, Gate | None, Activation | None]:
    """Pre, shortcut, branch, gate and post of a block: all of it but alpha, which may be continuous."""
    wired = stage.block in _WIRING
    shared = wired and style.order == "pre" and (shape != out or shortcut == "C") and shortcut != "none"
    pre = _norm_activation(style, shape) if shared else None
    split = pre is not None and style.activation == "crelu"
    taken = pre.out if pre is not None else shape
    ends = style.order == "post" and style.activation != "identity" and stage.block in ("basic", "bottleneck")
    return (
        pre,
        _shortcut(style, shortcut, taken, shape == out, out, stride, split),
        _branch(style, stage, stride_in, taken, out, stride, shared, split),
        _gate(style, stage.gate, out, stage.gate_kernel, stage.gate_bias) if stage.gate != "none" else None,
        Activation(style.activation, out) if ends or (":" in stage.block and style.order == "post") else None,
    )


@lru_cache(maxsize=65_536)
def _branch(
    style: _Style, stage: Stage, stride_in: str, shape: Shape, out: Shape, stride: int, shared: bool, split: bool
) -> Sequence:
    """The sum of k functions, then channel attention and the learned gain."""
    made = _Chain(style, shape, split)
    inside = _Inside(style, stage, stride_in, shape, out, stride, shared, split)
    if stage.branches > 1:
        made.add("sum", Sum(shape, out, tuple(_function(inside) for _ in range(stage.branches))))
    else:
        for name, layer in _function(inside).layers:
            made.add(name, layer)
    if stage.attention == "eca":
        made.add("eca", ChannelAttention(out))
    elif stage.se_hidden:
        made.add("se", SqueezeExcitation(out, stage.se_hidden))
    if stage.gain == "skipinit":
        made.add("gain", Gain(out, False, 0.0))
    elif stage.gain == "layerscale":
        made.add("gain", Gain(out, True, stage.gain_init))
    return made.done()


# --- what a branch computes ---------------------------------------------------------------------------------------

@dataclass(frozen=True, slots=True)
class _Inside:
    """What the function of a branch is made from. shared: its first norm and activation stand before the block."""

    style: _Style
    stage: Stage
    stride_in: str
    shape: Shape
    out: Shape
    stride: int
    shared: bool
    split: bool


def _function(inside: _Inside) -> Sequence:
    stage = inside.stage
    if ":" not in stage.block:
        return _WIRING[stage.block](inside)
    style = inside.style
    values = {**stage.values(), **dict(stage.options), "inner_width": stage.inner_width, "order": style.order,
              "norm": style.norm, "activation": style.activation}
    return branch_of(stage.block, inside.shape, inside.out, inside.stride, values)


def _basic(inside: _Inside) -> Sequence:
    """n convolutions of k x k."""
    stage, spans = inside.stage, inside.stage.shortcut_depth
    if stage.mixing != "none":
        return _mixed(inside)
    return _convolutions(inside, [(stage.kernel, inside.out[0], 1, stage.dilation)] * spans, 0)


def _bottleneck(inside: _Inside) -> Sequence:
    """1x1, n - 2 grouped convolutions of k x k, 1x1."""
    stage, inner = inside.stage, inside.stage.inner_width
    middle = [(stage.kernel, inner, stage.groups, stage.dilation)] * (stage.shortcut_depth - 2)
    listed = [(1, inner, 1, 1), *middle, (1, inside.out[0], 1, 1)]
    return _convolutions(inside, listed, 1 if inside.stride_in == "conv3x3" else 0)


def _convolutions(inside: _Inside, listed: list[tuple[int, int, int, int]], striding: int) -> Sequence:
    """Convolutions of (kernel, width, groups, dilation) with their norms and activations."""
    made = _Chain(inside.style, inside.shape, inside.split)
    for index, (kernel, width, groups, dilation) in enumerate(listed):
        stride = inside.stride if index == striding else 1
        _step(made, inside, index, len(listed), kernel, width, stride, groups, dilation)
    return made.done()


def _step(made: _Chain, inside: _Inside, index: int, count: int, kernel: int, width: int, stride: int, groups: int,
          dilation: int) -> None:
    """One convolution with its norm and activation: before it in pre-activation, else behind it."""
    number, last, pre = index + 1, index == count - 1, inside.style.order == "pre"
    if pre and not (inside.shared and index == 0):
        made.norm(f"norm{number}")
        made.act(f"act{number}")
    if last and inside.stage.dropout:
        made.add("dropout", Dropout(made.at, inside.stage.dropout))
    made.conv(f"conv{number}", width, kernel, stride, groups, dilation)
    if not pre:
        made.norm(f"norm{number}", 0.0 if last and inside.stage.gain == "zero_gamma" else 1.0)
        if not last:
            made.act(f"act{number}")


def _mixed(inside: _Inside) -> Sequence:
    """Two branches of n convolutions, dilations alternating between 1 and 2, that swap halves in between."""
    spans, at, split = inside.stage.shortcut_depth, inside.shape, inside.split
    steps: list[tuple[Node, Node]] = []
    for index in range(spans):
        pair = []
        for dilation in ((1, 2), (2, 1))[index % 2]:
            made = _Chain(inside.style, at, split)
            _step(made, inside, index, spans, inside.stage.kernel, inside.out[0], inside.stride if index == 0 else 1, 1,
                  dilation)
            pair.append(made.done())
        steps.append((pair[0], pair[1]))
        at, split = pair[0].out, False
    return chain([("mixing", Mixing(inside.shape, inside.out, tuple(steps)))])


def _convnext(inside: _Inside) -> Sequence:
    """Depthwise k x k, norm, 1x1, activation, 1x1, with biases (Liu et al. 2022, figure 4)."""
    stage, made = inside.stage, _Chain(inside.style, inside.shape)
    made.conv("depthwise", made.at[0], stage.kernel, inside.stride, made.at[0], bias=True)
    made.norm("norm")
    made.conv("expand", stage.inner_width, 1, bias=True)
    made.act("act")
    if stage.dropout:
        made.add("dropout", Dropout(made.at, stage.dropout))
    made.conv("project", inside.out[0], 1, bias=True)
    return made.done()


_WIRING: dict[str, Callable[[_Inside], Sequence]] = {
    "basic": _basic, "bottleneck": _bottleneck, "inverted": _bottleneck, "convnext": _convnext}


# --- what stands beside a branch ----------------------------------------------------------------------------------

@lru_cache(maxsize=16_384)
def _shortcut(
    style: _Style, kind: str, shape: Shape, same: bool, out: Shape, stride: int, split: bool
) -> Node | None:
    """P: the identity where shapes agree (unless kind is C); a projection after pre-activation has no norm."""
    if kind == "none":
        return None
    if same and kind != "C":
        return Identity(shape)
    if kind == "A":
        return PadShortcut(shape, out, stride)
    made = _Chain(style, shape, split)
    made.conv("conv", out[0], 1, stride)
    if style.order == "post":
        made.norm("norm")
    return made.done()


@lru_cache(maxsize=16_384)
def _gate(style: _Style, kind: str, shape: Shape, kernel: int, bias: float) -> Gate:
    def conv(start: float) -> Conv:
        return Conv(shape, shape, kernel, bias=True, bias_init=start)

    carry = conv(-bias) if kind in {"carry", "full"} else None
    return Gate(kind, shape, None if kind == "carry" else conv(bias), carry)


@lru_cache(maxsize=16_384)
def _norm_activation(style: _Style, shape: Shape) -> Sequence | None:
    """None in a linear network without norms."""
    made = _Chain(style, shape)
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
        case Mixing():
            return replace(node, steps=tuple((_borrowed(a), _borrowed(b)) for a, b in node.steps))
        case _:
            return node
