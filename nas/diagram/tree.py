"""The plan as an indented text with every shape and number: equal for equal plans, and for no others."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from nas.nodes import Node, Sequence, Shape


def text(plan: Node) -> str:
    """`plan` as an indented tree with all shapes: equal for equal plans, and for no others."""
    return "\n".join(_tree("network", plan))


def _tree(name: str, node: Node) -> list[str]:
    call = node.call
    words = [*(str(a) for a in call.arguments), *(f"{key} {value}" for key, value in call.options.items())]
    head = f"{name}: {call.name} {', '.join(words)}{' ' if words else ''}{_shape(node.shape)} → {_shape(node.out)}"
    return [head, *_indented(_repeats(node) if isinstance(node, Sequence) else (_tree(*part) for part in node.parts))]


def _shape(shape: Shape) -> str:
    return "×".join(map(str, shape))


def _repeats(node: Sequence) -> Iterable[list[str]]:
    """The layers' trees; a run of equal ones stands once, under the names of its first and last."""
    trees = [(name, _tree("", layer)) for name, layer in node.layers]
    for tree, run in groupby(trees, key=lambda pair: pair[1]):
        names = [name for name, _ in run]
        yield [(names[0] if len(names) == 1 else f"{names[0]}..{names[-1]}") + tree[0], *tree[1:]]


def _indented(blocks: Iterable[list[str]]) -> list[str]:
    return [f"  {line}" for block in blocks for line in block]
