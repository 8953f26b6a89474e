"""Layers of layers: sequences, stages, residual blocks, sums of branches, gates."""

from __future__ import annotations

from dataclasses import dataclass

from nas.nodes.base import Argument, Call, Cost, Layer, Node, Same, Shape, Words
from nas.nodes.layers import Activation, Conv


@dataclass(frozen=True, slots=True, eq=False)
class Sequence(Layer):
    """Named layers, one after the other. Names are the keys of the state dict."""

    shape: Shape
    out: Shape
    layers: tuple[tuple[str, Node], ...]

    @property
    def parts(self) -> tuple[tuple[str, Node], ...]:
        return self.layers

    @property
    def call(self) -> Call:
        return Call("sequence")

    @property
    def words(self) -> Words:
        return Words("slim", "block")


@dataclass(frozen=True, slots=True, eq=False)
class Unrolled(Sequence):
    """A stage whose blocks of one shape use the convolutions of the first of them, the `owner`."""

    owner: str = ""

    @property
    def call(self) -> Call:
        return Call("Unrolled", (self.owner,))


@dataclass(frozen=True, slots=True, eq=False)
class Memory(Sequence):
    """Stages, and an LSTM of `hidden` units over the mean of every block's output, in order (Moniz and Pal 2016).

    Means of fewer than `width` channels are filled up with zeros. Its last state is joined to the mean of what comes
    out. An LSTM has 4 (DH + H^2 + 2H) weights.
    """

    hidden: int = 0
    width: int = 0
    steps: int = 0

    @property
    def own(self) -> Cost:
        weights = 4 * (self.width * self.hidden + self.hidden**2)
        return Cost(weights + 8 * self.hidden, self.steps * weights, self.steps * 8 * self.hidden)

    @property
    def call(self) -> Call:
        return Call("Memory", (self.width, self.hidden))

    @property
    def words(self) -> Words:
        return Words("knob", "LSTM over all blocks, {} units", (self.hidden,))


@dataclass(frozen=True, slots=True, eq=False)
class Sum(Layer):
    """The sum of several functions of one input (multi-residual; Abdi and Nahavandi 2016)."""

    shape: Shape
    out: Shape
    branches: tuple[Node, ...]

    @property
    def parts(self) -> tuple[tuple[str, Node], ...]:
        return tuple((f"f{number}", branch) for number, branch in enumerate(self.branches, 1))

    @property
    def call(self) -> Call:
        return Call("Sum")

    @property
    def words(self) -> Words:
        return Words("knob", f"sum of {len(self.branches)} branches")


@dataclass(frozen=True, slots=True, eq=False)
class Mixing(Layer):
    """Two branches that swap the second half of their channels between their steps, then the sum of both.

    Inspired by mixed tensor decompositions (Cohen et al. 2018, section 5): `steps` are pairs of layers, of dilations
    (1, 2) and (2, 1).
    """

    shape: Shape
    out: Shape
    steps: tuple[tuple[Node, Node], ...]

    @property
    def parts(self) -> tuple[tuple[str, Node], ...]:
        return tuple((f"{letter}{number}", layer) for number, pair in enumerate(self.steps, 1)
                     for letter, layer in zip("ab", pair, strict=True))

    @property
    def call(self) -> Call:
        return Call("Mixing")

    @property
    def words(self) -> Words:
        return Words("knob", "two branches, halves swapped")


@dataclass(frozen=True, slots=True, eq=False)
class Gate(Same):
    """Sigmoid gates from the shortcut's output s: y = s C + F T (Srivastava et al. 2015; Greff et al. 2017).

    kind highway: C = 1 - T. transform: C = 1. carry: T = 1. full: both learned. Each learned gate is one
    convolution with bias; a learned carry gate of its own starts at the opposite bias, so that it starts open.
    """

    kind: str
    shape: Shape
    transform: Conv | None
    carry: Conv | None

    @property
    def parts(self) -> tuple[tuple[str, Node], ...]:
        both = (("transform", self.transform), ("carry", self.carry))
        return tuple((name, conv) for name, conv in both if conv is not None)

    @property
    def call(self) -> Call:
        return Call("Gate", (self.kind,))

    @property
    def words(self) -> Words:
        return Words("knob", f"{self.kind} gate")


@dataclass(frozen=True, slots=True, eq=False)
class Residual(Layer):
    """y = post(s C + alpha drop(F(u)) T) with u = pre(x), s = shortcut(u); without a shortcut y = post(alpha F(u)).

    drop: the share of images whose branch is left out while training (stochastic depth; Huang et al. 2016); the others'
    are divided by 1 - drop.
    """

    shape: Shape
    out: Shape
    pre: Sequence | None            # shared by branch and shortcut: pre-activation where shapes change
    shortcut: Node | None           # None: a plain network
    branch: Sequence
    scale: float
    gate: Gate | None
    post: Activation | None
    drop: float = 0.0

    @property
    def parts(self) -> tuple[tuple[str, Node], ...]:
        named = (("branch", self.branch), ("shortcut", self.shortcut), ("pre", self.pre), ("post", self.post),
                 ("gate", self.gate))
        return tuple((name, part) for name, part in named if part is not None)

    @property
    def call(self) -> Call:
        options: dict[str, Argument] = {"scale": self.scale} if self.scale != 1 else {}
        return Call("Residual", options=options | ({"drop": self.drop} if self.drop else {}))

    @property
    def words(self) -> Words:
        return Words("slim", "residual block")


def chain(layers: list[tuple[str, Node]]) -> Sequence:
    """`layers`, of which there is one at least, one after the other."""
    return Sequence(layers[0][1].shape, layers[-1][1].out, tuple(layers))
