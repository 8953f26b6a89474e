"""The kinds of blocks: what a branch computes, the function F of y = post(P(x) C + alpha g drop(T SE(sum of F))).

A kind is one row of `BLOCKS`: what is usual in it, and how it is wired from the layers of `nas.nodes`. What stands
around a branch (shortcut, gate, sharing, stages) is put together in `nas.plan`. No torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from nas.knobs import Value
from nas.nodes import Activation, Conv, Dropout, Mixing, Node, Norm, Sequence, Shape, chain, strided
from nas.own_block import branch_of

if TYPE_CHECKING:       # a stage is made of knobs, and the names of the kinds are values of one
    from nas.architecture import Stage


@dataclass(frozen=True, slots=True)
class Style:
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


class Chain:
    """Layers being put one after the other, in the style of the network."""

    def __init__(self, style: Style, shape: Shape, split: bool = False):
        self.style, self.at = style, shape
        self.split = split          # whether the channels come in pairs, out of a CReLU
        self.layers: list[tuple[str, Node]] = []

    def add(self, name: str, node: Node) -> None:
        self.layers.append((name, node))
        self.at = node.out
        self.split = isinstance(node, Activation) and node.kind == "crelu"

    def norm(self, name: str, scale: float = 1.0) -> None:
        if self.style.norm != "none":
            self.add(name, _norm(self.at, self.style.norm, scale))

    def act(self, name: str) -> None:
        if self.style.activation != "identity":
            self.add(name, _activation(self.style.activation, self.at, bool(self.layers)))

    def conv(self, name: str, width: int, kernel: int, stride: int = 1, groups: int = 1, dilation: int = 1,
             bias: bool = False) -> None:
        """Without norms a convolution has a bias. A single place has no dilation."""
        dilation = dilation if kernel > 1 else 1
        self.add(name, _conv(self.style, self.split, self.at, width, kernel, stride, groups, dilation, bias))

    def done(self) -> Sequence:
        return chain(self.layers)


# Equal layers are one object, whose cost is counted once.
_norm = lru_cache(maxsize=65_536)(Norm)
_activation = lru_cache(maxsize=65_536)(Activation)


@lru_cache(maxsize=65_536)
def _conv(style: Style, split: bool, shape: Shape, width: int, kernel: int, stride: int, groups: int, dilation: int,
          bias: bool) -> Conv:
    """A single place has no stride either: one of 2 there is the same function, and oneDNN computes it wrong."""
    stride = stride if shape[1:] != (1, 1) else 1
    return Conv(shape, strided(shape, stride, width), kernel, stride, groups, bias or style.norm == "none",
                dilation=dilation, init=style.starts(split), rectified=style.rectified)


@dataclass(frozen=True, slots=True)
class Inside:
    """What the function of a branch is made from. shared: its first norm and activation stand before the block."""

    style: Style
    stage: Stage
    stride_in: str
    shape: Shape
    out: Shape
    stride: int
    shared: bool
    split: bool


def function(inside: Inside) -> Sequence:
    """F, once."""
    stage = inside.stage
    if ":" not in stage.block:
        return BLOCKS[stage.block].wire(inside)
    style, knobs = inside.style, stage.canonical().values()
    del knobs["depth"], knobs["residual_scaling"]       # of the stage, not of its blocks
    values = {**knobs, **dict(stage.options), "inner_width": stage.inner_width, "order": style.order,
              "norm": style.norm, "activation": style.activation}
    return branch_of(stage.block, inside.shape, inside.out, inside.stride, values)


def _basic(inside: Inside) -> Sequence:
    """n convolutions of k x k."""
    stage, spans = inside.stage, inside.stage.shortcut_depth
    if stage.mixing != "none":
        return _mixed(inside)
    return _convolutions(inside, [(stage.kernel, inside.out[0], 1, stage.dilation)] * spans, 0)


def _bottleneck(inside: Inside) -> Sequence:
    """1x1, n - 2 grouped convolutions of k x k, 1x1."""
    stage, inner = inside.stage, inside.stage.inner_width
    middle = [(stage.kernel, inner, stage.groups, stage.dilation)] * (stage.shortcut_depth - 2)
    listed = [(1, inner, 1, 1), *middle, (1, inside.out[0], 1, 1)]
    return _convolutions(inside, listed, 1 if inside.stride_in == "conv3x3" else 0)


def _convolutions(inside: Inside, listed: list[tuple[int, int, int, int]], striding: int) -> Sequence:
    """Convolutions of (kernel, width, groups, dilation) with their norms and activations."""
    made = Chain(inside.style, inside.shape, inside.split)
    for index, (kernel, width, groups, dilation) in enumerate(listed):
        stride = inside.stride if index == striding else 1
        _step(made, inside, index, len(listed), kernel, width, stride, groups, dilation)
    return made.done()


def _step(made: Chain, inside: Inside, index: int, count: int, kernel: int, width: int, stride: int, groups: int,
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


def _mixed(inside: Inside) -> Sequence:
    """Two branches of n convolutions, dilations alternating between 1 and 2, that swap halves in between."""
    spans, at, split = inside.stage.shortcut_depth, inside.shape, inside.split
    steps: list[tuple[Node, Node]] = []
    for index in range(spans):
        pair = []
        for dilation in ((1, 2), (2, 1))[index % 2]:
            made = Chain(inside.style, at, split)
            _step(made, inside, index, spans, inside.stage.kernel, inside.out[0], inside.stride if index == 0 else 1, 1,
                  dilation)
            pair.append(made.done())
        steps.append((pair[0], pair[1]))
        at, split = pair[0].out, False
    return chain([("mixing", Mixing(inside.shape, inside.out, tuple(steps)))])


def _convnext(inside: Inside) -> Sequence:
    """Depthwise k x k, norm, 1x1, activation, 1x1, with biases (Liu et al. 2022, figure 4)."""
    stage, made = inside.stage, Chain(inside.style, inside.shape)
    made.conv("depthwise", made.at[0], stage.kernel, inside.stride, made.at[0], bias=True)
    made.norm("norm")
    made.conv("expand", stage.inner_width, 1, bias=True)
    made.act("act")
    if stage.dropout:
        made.add("dropout", Dropout(made.at, stage.dropout))
    made.conv("project", inside.out[0], 1, bias=True)
    return made.done()


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of block. usual: of its knobs, where a file does not say otherwise. post: an activation after the sum."""

    wire: Callable[[Inside], Sequence]
    usual: dict[str, Value] = field(default_factory=dict)
    post: bool = True


BLOCKS = {
    "basic": Kind(_basic),                                      # He et al. 2015
    "bottleneck": Kind(_bottleneck, {"shortcut_depth": 3}),     # He et al. 2015; Xie et al. 2017
    "inverted": Kind(                                           # Sandler et al. 2018: a linear bottleneck
        _bottleneck, {"shortcut_depth": 3, "bottleneck_ratio": 4.0, "cardinality": 0}, post=False),
    "convnext": Kind(_convnext, {"bottleneck_ratio": 4.0, "kernel": 7}, post=False),     # Liu et al. 2022
}
_OWN = Kind(_basic)


def kind_of(block: str) -> Kind:
    """The row of `BLOCKS`; a user's block is usual in nothing."""
    return BLOCKS.get(block, _OWN)
