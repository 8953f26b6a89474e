"""What a network costs, exactly, from its plan: integers, in microseconds, without torch.

`macs` are multiply-adds of convolutions and linear layers for one image, without biases and norms (the papers'
'FLOPs'); `flops` = 2 x `macs`. `activations` are the elements that convolutions and linear layers put out
(Radosavovic et al. 2020, section 3). Every node knows its own; here they are summed.
"""

from __future__ import annotations

from functools import lru_cache

from nas.nodes import Cost, Node, Residual, Sequence

COSTS = Cost._fields


def cost(node: Node) -> Cost:
    """The exact cost of a plan, or of a part of one."""
    if isinstance(node, Residual):
        # alpha may be continuous, so that no two blocks are one object
        return _together(node.branch, node.shortcut, node.pre, node.post, node.gate)
    if isinstance(node, Sequence) and isinstance(node.layers[0][1], Residual | Sequence):
        return _total([node.own, *_runs(node)])
    return _remembered(node)


def _runs(node: Sequence) -> list[Cost]:
    """Of the layers; a block that is repeated is counted once and multiplied."""
    found: list[Cost] = []
    last, count = node.layers[0][1], 0
    for _, layer in (*node.layers, ("", None)):
        if layer is last:
            count += 1
            continue
        params, macs, activations = cost(last)
        found.append(Cost(count * params, count * macs, count * activations))
        if layer is not None:
            last, count = layer, 1
    return found


@lru_cache(maxsize=65_536)
def _remembered(node: Node) -> Cost:
    """By identity: blocks share their parts, so that most networks are a few additions."""
    return _total([node.own, *(_remembered(part) for _, part in node.parts)])


@lru_cache(maxsize=65_536)
def _together(*parts: Node | None) -> Cost:
    return _total([_remembered(part) for part in parts if part is not None])


def _total(costs: list[Cost]) -> Cost:
    params = macs = activations = 0
    for part in costs:
        params += part[0]
        macs += part[1]
        activations += part[2]
    return Cost(params, macs, activations)
