"""The network as a small frozen tree of layers with their shapes: the one description that everything else folds.

`plan(architecture, ...)` wires the knobs; `nas.cost`, `nas.model`, `nas.diagram` are folds over the result. A new
knob is one place here; a new kind of layer is one class here and one case in each fold. No torch.

Shapes are (channels, height, width) of one image. Nodes compare by identity: equal parts of a network are the same
object (blocks are cached), which is what lets a fold remember them; compare plans by `nas.diagram.text`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from nas.architecture import Architecture, Stage

Shape: TypeAlias = tuple[int, int, int]     # channels, height, width


@dataclass(frozen=True, slots=True, eq=False)
class Conv:
    """A convolution with padding kernel // 2."""

    shape: Shape            # in
    out: Shape
    kernel: int
    stride: int = 1
    groups: int = 1
    bias: bool = False
    bias_init: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Norm:
    """Batch normalisation with learned scale and shift."""

    shape: Shape

    @property
    def out(self) -> Shape:
        return self.shape


@dataclass(frozen=True, slots=True, eq=False)
class Activation:
    """An elementwise nonlinearity: relu, silu or sigmoid."""

    kind: str
    shape: Shape

    @property
    def out(self) -> Shape:
        return self.shape


@dataclass(frozen=True, slots=True, eq=False)
class MaxPool:
    """3x3 max-pooling of stride 2, padding 1."""

    shape: Shape
    out: Shape


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """The identity shortcut."""

    shape: Shape

    @property
    def out(self) -> Shape:
        return self.shape


@dataclass(frozen=True, slots=True, eq=False)
class PadShortcut:
    """Shortcut A: strided sampling, then channels of zeros (He et al. 2015, section 3.3)."""

    shape: Shape
    out: Shape
    stride: int


@dataclass(frozen=True, slots=True, eq=False)
class SqueezeExcitation:
    """Channels rescaled by a two-layer network of their means (Hu et al. 2018, equations 2 to 4), with biases."""

    shape: Shape
    hidden: int

    @property
    def out(self) -> Shape:
        return self.shape


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """Sigmoid gates from the shortcut's output s: y = s C + F T (Srivastava et al. 2015; Greff et al. 2017).

    kind highway: C = 1 - T. transform: C = 1. carry: T = 1. full: both learned. Each learned gate is one
    convolution with bias; a learned carry gate of its own starts at the opposite bias, so that it starts open.
    """

    kind: str
    transform: Conv | None
    carry: Conv | None


@dataclass(frozen=True, slots=True, eq=False)
class Residual:
    """y = post(s C + alpha F(u) T) with u = pre(x), s = shortcut(u); without a shortcut y = post(alpha F(u))."""

    shape: Shape
    out: Shape
    pre: Sequence | None            # shared by branch and shortcut: pre-activation where shapes change
    shortcut: Node | None           # None: a plain network
    branch: Sequence
    scale: float
    gate: Gate | None
    post: Activation | None


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """Global average pooling, then a linear classifier with bias."""

    shape: Shape
    classes: int

    @property
    def out(self) -> Shape:
        return (self.classes, 1, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """Named layers, one after the other. Names are the keys of the state dict."""

    shape: Shape
    out: Shape
    layers: tuple[tuple[str, Node], ...]


Node: TypeAlias = (
    Conv | Norm | Activation | MaxPool | Identity | PadShortcut | SqueezeExcitation | Residual | Head | Sequence
)


def plan(architecture: Architecture, shape: Shape, classes: int) -> Sequence:
    """The network of `architecture` for images of `shape` (C, H, W) and `classes` classes.

    The architecture must be legal: `architecture.conflict()` is None.
    """
    a = architecture
    stem = _stem(a.stem, a.stem_width, a.order, a.activation, shape)
    layers: list[tuple[str, Node]] = [("stem", stem)]
    at = stem.out
    for number, stage in enumerate(a.stages, 1):
        blocks = _stage(a, stage, at, 2 if number > 1 else 1)
        layers.append((f"stage{number}", blocks))
        at = blocks.out
    if a.order == "pre":
        layers.append(("final", _norm_activation(at, a.activation)))
    layers.append(("head", _head(at, classes)))
    return Sequence(shape, (classes, 1, 1), tuple(layers))


@lru_cache(maxsize=1024)
def _stem(kind: str, width: int, order: str, activation: str, shape: Shape) -> Sequence:
    kernel, stride = (3, 1) if kind == "conv3x3" else (7, 2)
    out = _strided(shape, stride, width)
    layers: list[tuple[str, Node]] = [("conv", Conv(shape, out, kernel, stride))]
    if order == "post":
        layers += [("norm", Norm(out)), ("act", Activation(activation, out))]
    if kind == "conv7x7_pool":
        layers.append(("pool", MaxPool(out, _strided(out, 2, width))))
    return _chain(layers)


@lru_cache(maxsize=1024)
def _head(shape: Shape, classes: int) -> Head:
    return Head(shape, classes)


def _stage(a: Architecture, stage: Stage, shape: Shape, stride: int) -> Sequence:
    first = _block(a, stage, shape, stride)
    layers: list[tuple[str, Node]] = [("block1", first)]
    if stage.depth > 1:
        rest = _block(a, stage, first.out, 1)
        layers += [(_BLOCK_NAMES[index], rest) for index in range(2, stage.depth + 1)]
    return Sequence(shape, first.out, tuple(layers))


_BLOCK_NAMES = tuple(f"block{number}" for number in range(10_001))


def _block(a: Architecture, stage: Stage, shape: Shape, stride: int) -> Residual:
    out = (stage.width, -(-shape[1] // stride), -(-shape[2] // stride))
    cardinality = stage.cardinality if stage.block != "basic" else 1
    pre, shortcut, branch, gate, post = _parts(
        shape, out, stride, stage.block, stage.inner_width, cardinality, stage.kernel, stage.shortcut_depth,
        stage.se_hidden, stage.gate, stage.gate_kernel, stage.gate_bias, a.order, a.shortcut, a.activation, a.stride_in)
    return Residual(shape, out, pre, shortcut, branch, stage.residual_scaling, gate, post)


@lru_cache(maxsize=65_536)
def _parts(
    shape: Shape, out: Shape, stride: int, block: str, inner: int, cardinality: int, kernel: int, spans: int,
    se_hidden: int, gate: str, gate_kernel: int, gate_bias: float, order: str, shortcut: str, activation: str,
    stride_in: str,
) -> tuple[Sequence | None, Node | None, Sequence, Gate | None, Activation | None]:
    """Pre, shortcut, branch, gate and post of a block: all of it but alpha, which may be continuous."""
    shared = order == "pre" and (shape != out or shortcut == "C") and shortcut != "none"
    return (
        _norm_activation(shape, activation) if shared else None,
        _shortcut(shortcut, shape, out, stride, order),
        _branch(shape, out, stride, block, inner, cardinality, kernel, spans, order, activation, stride_in, se_hidden,
                shared),
        _gate(gate, out, gate_kernel, gate_bias) if gate != "none" else None,
        _activation(activation, out) if order == "post" else None,
    )


@lru_cache(maxsize=65_536)
def _branch(
    shape: Shape, out: Shape, stride: int, block: str, inner: int, cardinality: int, kernel: int, spans: int,
    order: str, activation: str, stride_in: str, se_hidden: int, shared: bool,
) -> Sequence:
    """F: `spans` convolutions with their norms and activations, then squeeze-and-excitation."""
    if block == "basic":
        convolutions = [(kernel, out[0], 1)] * spans
        striding = 0
    else:
        convolutions = [(1, inner, 1), *[(kernel, inner, cardinality)] * (spans - 2), (1, out[0], 1)]
        striding = 1 if stride_in == "conv3x3" else 0
    layers: list[tuple[str, Node]] = []
    at = shape
    for index, (size, width, groups) in enumerate(convolutions):
        number, last = index + 1, index == spans - 1
        if order == "pre" and not (shared and index == 0):
            layers += [(f"norm{number}", Norm(at)), (f"act{number}", Activation(activation, at))]
        step = stride if index == striding else 1
        conv = Conv(at, _strided(at, step, width), size, step, groups)
        layers.append((f"conv{number}", conv))
        at = conv.out
        if order == "post":
            layers.append((f"norm{number}", Norm(at)))
            if not last:
                layers.append((f"act{number}", Activation(activation, at)))
    if se_hidden:
        layers.append(("se", SqueezeExcitation(at, se_hidden)))
    return _chain(layers)


@lru_cache(maxsize=16_384)
def _shortcut(kind: str, shape: Shape, out: Shape, stride: int, order: str) -> Node | None:
    """P: the identity where shapes agree (unless kind is C); a projection after pre-activation has no norm."""
    if kind == "none":
        return None
    if shape == out and kind != "C":
        return Identity(shape)
    if kind == "A":
        return PadShortcut(shape, out, stride)
    conv: list[tuple[str, Node]] = [("conv", Conv(shape, out, 1, stride))]
    return _chain(conv if order == "pre" else [*conv, ("norm", Norm(out))])


@lru_cache(maxsize=16_384)
def _gate(kind: str, shape: Shape, kernel: int, bias: float) -> Gate:
    transform = None if kind == "carry" else Conv(shape, shape, kernel, bias=True, bias_init=bias)
    carry = Conv(shape, shape, kernel, bias=True, bias_init=-bias) if kind in {"carry", "full"} else None
    return Gate(kind, transform, carry)


@lru_cache(maxsize=16_384)
def _norm_activation(shape: Shape, activation: str) -> Sequence:
    return _chain([("norm", Norm(shape)), ("act", Activation(activation, shape))])


@lru_cache(maxsize=16_384)
def _activation(kind: str, shape: Shape) -> Activation:
    return Activation(kind, shape)


def _chain(layers: list[tuple[str, Node]]) -> Sequence:
    return Sequence(layers[0][1].shape, layers[-1][1].out, tuple(layers))


def _strided(shape: Shape, stride: int, channels: int) -> Shape:
    return (channels, -(-shape[1] // stride), -(-shape[2] // stride))
