"""What every node of a plan says of its layer: shapes, its own cost, its module, its parts, its words."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

Shape: TypeAlias = tuple[int, int, int]     # channels, height, width
Argument: TypeAlias = Any                   # of a module: plain values that Python can write down


class Cost(NamedTuple):
    """Exact costs for one image; what is counted is said in `nas.cost`."""

    params: int
    macs: int
    activations: int

    @property
    def flops(self) -> int:
        """Two for each multiply-add."""
        return 2 * self.macs


FREE = Cost(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Call:
    """How a layer is made: `name(*arguments, **options)`, a name of `nas.model.layers` or `nn.` and one of torch's.

    The parts of the node are options, too: calls by their names.
    """

    name: str
    arguments: tuple[Argument, ...] = ()
    options: dict[str, Argument] = field(default_factory=dict)


class Words(NamedTuple):
    """What a drawing says of a layer: `text` has one {} for each of `numbers`.

    look: conv, lent (a convolution with another's weights), slim, se (a factor found from what goes in) or knob.
    """

    look: str
    text: str
    numbers: tuple[int, ...] = ()


class Node(Hashable, Protocol):
    """A layer, or several."""

    @property
    def shape(self) -> Shape:
        """Of what goes in."""

    @property
    def out(self) -> Shape:
        """Of what comes out."""

    @property
    def own(self) -> Cost:
        """Of the layer without its parts."""

    @property
    def parts(self) -> tuple[tuple[str, Node], ...]:
        """By their names in the state dict."""

    @property
    def call(self) -> Call:
        """The module."""

    @property
    def words(self) -> Words:
        """For people."""


class Layer:
    """What holds of most layers: they cost nothing, and have no parts."""

    __slots__ = ()

    @property
    def own(self) -> Cost:
        return FREE

    @property
    def parts(self) -> tuple[tuple[str, Node], ...]:
        return ()


class Same(Layer):
    """A layer that keeps the shape."""

    __slots__ = ()
    shape: Shape

    @property
    def out(self) -> Shape:
        return self.shape


def strided(shape: Shape, stride: int, channels: int) -> Shape:
    """What a layer of `channels` puts out that keeps the resolution but for its stride."""
    return (channels, -(-shape[1] // stride), -(-shape[2] // stride))
