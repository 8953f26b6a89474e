"""What a network costs, exactly, from its plan: integers, in microseconds, without torch.

`macs` are multiply-adds of convolutions and linear layers for one image, without biases and norms (the papers'
'FLOPs'); `flops` = 2 x `macs`. `activations` are the elements that convolutions and linear layers put out
(Radosavovic et al. 2020, section 3).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, assert_never

from nas import plan as p


class Cost(NamedTuple):
    """Exact costs of one network for one image."""

    params: int
    macs: int
    activations: int

    @property
    def flops(self) -> int:
        """Two for each multiply-add."""
        return 2 * self.macs


COSTS = Cost._fields


def cost(plan: p.Sequence) -> Cost:
    """The exact cost of `plan`."""
    return Cost(*_cost(plan))


def _cost(node: p.Node) -> tuple[int, int, int]:
    match node:
        case p.Residual():
            return _parts(node.pre, node.shortcut, node.branch, node.gate)
        case p.Sequence():
            if len(node.layers) > 2 and node.layers[1][1] is node.layers[-1][1]:   # a stage: one block, repeated
                first, rest = _cost(node.layers[0][1]), _cost(node.layers[-1][1])
                repeats = len(node.layers) - 1
                return (first[0] + repeats * rest[0], first[1] + repeats * rest[1], first[2] + repeats * rest[2])
            return _total([_cost(layer) for _, layer in node.layers])
        case p.Conv():
            out, height, width = node.out
            weights = out * (node.shape[0] // node.groups) * node.kernel**2
            return weights + (out if node.bias else 0), weights * height * width, out * height * width
        case p.Norm():
            return 2 * node.shape[0], 0, 0
        case p.SqueezeExcitation():
            channels, hidden = node.shape[0], node.hidden
            return 2 * channels * hidden + channels + hidden, 2 * channels * hidden, channels + hidden
        case p.Head():
            channels, classes = node.shape[0], node.classes
            return channels * classes + classes, channels * classes, classes
        case p.Activation() | p.MaxPool() | p.Identity() | p.PadShortcut():
            return 0, 0, 0
        case _:
            assert_never(node)


@lru_cache(maxsize=65_536)
def _parts(
    pre: p.Sequence | None, shortcut: p.Node | None, branch: p.Sequence, gate: p.Gate | None
) -> tuple[int, int, int]:
    """The parts of a block, which blocks share; remembered by identity, so that most networks are a few additions."""
    nodes: list[p.Node | None] = [pre, shortcut, branch]
    if gate is not None:
        nodes += [gate.transform, gate.carry]
    return _total([_cost(node) for node in nodes if node is not None])


def _total(parts: list[tuple[int, int, int]]) -> tuple[int, int, int]:
    params = macs = activations = 0
    for part in parts:
        params += part[0]
        macs += part[1]
        activations += part[2]
    return params, macs, activations
