"""Factors on the gradients of branches and shortcuts: what goes forward stays as it is.

In the backward pass a block's gradient is that through its shortcut plus that through its branch; a factor on each of
them picks paths (0 and 1) or weighs branches (t). Factors may change between two backward passes of one forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from nas.diagnosis.blocks import Block
from nas.diagnosis.patches import hooked


class Valves:
    """branch, shortcut: the factor of each block, in running order; all 1 at first."""

    def __init__(self, count: int):
        self.branch = [1.0] * count
        self.shortcut = [1.0] * count

    def open(self, branches: Sequence[bool]) -> None:
        """Let the gradient through the branch alone where `branches` says so, through the shortcut alone elsewhere."""
        self.branch = [float(one) for one in branches]
        self.shortcut = [float(not one) for one in branches]


@contextmanager
def valves(blocks: Sequence[Block]) -> Iterator[Valves]:
    """The valves of `blocks` in every forward pass inside the context. A plain block has one on its branch alone.

    The gradient of a gate counts as its shortcut's, from which it is computed; so a branch's is that through F alone.
    """
    found = Valves(len(blocks))
    hooks: list[tuple[nn.Module, Callable[..., object]]] = []
    for index, block in enumerate(blocks):
        hooks.append((block.module.branch, _hook(found, "branch", index)))
        if block.module.shortcut is not None:
            hooks.append((block.module.shortcut, _hook(found, "shortcut", index)))
    with hooked(hooks):
        yield found


def _hook(found: Valves, part: str, index: int) -> Callable[..., Tensor]:
    def put(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        passed = output.clone()     # an identity shortcut hands out its very input
        if passed.requires_grad:
            passed.register_hook(lambda gradient: gradient * getattr(found, part)[index])   # type: ignore[no-untyped-call]
        return passed

    return put
