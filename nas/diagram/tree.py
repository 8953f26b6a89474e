"""The plan as an indented text with every shape and number: equal for equal plans, and for no others."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import assert_never

from nas import plan as p


def text(plan: p.Sequence) -> str:
    """`plan` as an indented tree with all shapes: equal for equal plans, and for no others."""
    return "\n".join(_tree("network", plan))


def _tree(name: str, node: p.Node) -> list[str]:
    match node:
        case p.Sequence():
            return [f"{name}: {_flow(node)}", *_indented(_repeats(node))]
        case p.Residual():
            parts: list[tuple[str, p.Node | None]] = [
                ("pre", node.pre), ("shortcut", node.shortcut), ("branch", node.branch)]
            if node.gate is not None:
                parts += [("transform", node.gate.transform), ("carry", node.gate.carry)]
            parts.append(("post", node.post))
            gate = f", {node.gate.kind} gate" if node.gate is not None else ""
            head = f"{name}: residual {_flow(node)}, alpha {node.scale:.12g}{gate}"
            return [head, *_indented(_tree(part, inner) if inner is not None else [f"{part}: none"]
                                     for part, inner in parts)]
        case _:
            return [f"{name}: {leaf(node)} {_flow(node)}"]


def leaf(node: p.Node) -> str:
    """What a layer is, without its shapes."""
    match node:
        case p.Conv():
            bias = f", bias {node.bias_init:.12g}" if node.bias else ""
            return f"conv {node.kernel}×{node.kernel}, stride {node.stride}, groups {node.groups}{bias},"
        case p.Norm():
            return "batch norm"
        case p.Activation():
            return node.kind
        case p.MaxPool():
            return "max pool 3×3, stride 2,"
        case p.Identity():
            return "identity"
        case p.PadShortcut():
            return f"zero padding, stride {node.stride},"
        case p.SqueezeExcitation():
            return f"squeeze-excitation, hidden {node.hidden},"
        case p.Head():
            return "average pool, linear"
        case p.Sequence() | p.Residual():
            return "block"
        case _:
            assert_never(node)


def _flow(node: p.Node) -> str:
    return f"{_shape(node.shape)} → {_shape(node.out)}"


def _shape(shape: p.Shape) -> str:
    return "×".join(map(str, shape))


def _repeats(node: p.Sequence) -> Iterable[list[str]]:
    """The layers' trees; a run of equal ones stands once, under the names of its first and last."""
    trees = [(name, _tree("", layer)) for name, layer in node.layers]
    for tree, run in groupby(trees, key=lambda pair: pair[1]):
        names = [name for name, _ in run]
        yield [(names[0] if len(names) == 1 else f"{names[0]}..{names[-1]}") + tree[0], *tree[1:]]


def _indented(blocks: Iterable[list[str]]) -> list[str]:
    return [f"  {line}" for block in blocks for line in block]
