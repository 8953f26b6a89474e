"""The residual blocks of any network of ours, in the order in which they run.

Blocks are found by their type, wherever they lie; a stage is the path before the block's own name. Nothing here
measures or changes a network.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from nas.diagnosis.patches import evaluating, hooked
from nas.model.layers import PadShortcut, Residual

Kind: TypeAlias = Literal["identity", "padding", "projection", "none"]


class Undefined(ValueError):
    """A measure says nothing of this network; the message, one line, says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A residual block as it stands in a network.

    name: its path, such as `stage2.block3`. stage: the path before the block's own name. shape, out: of one image
    (C, H, W). shortcut: identity, padding (A), projection (something is computed: B where shapes change, C) or none.
    """

    name: str
    stage: str
    module: Residual
    shape: tuple[int, int, int]
    out: tuple[int, int, int]
    shortcut: Kind

    @property
    def same_shape(self) -> bool:
        """Whether it puts out what it takes; otherwise it is called a downsampling block, as most of them are."""
        return self.shape == self.out

    @property
    def removable(self) -> bool:
        """Whether the network runs on without its branch as if the block had never been: rule 7 of the family."""
        return self.same_shape and self.shortcut != "projection"


def blocks_of(model: nn.Module, images: Tensor) -> list[Block]:
    """The outermost `Residual` blocks of `model` in the order in which they run. images: (N, C, H, W); one is used.

    Raises `Undefined` where there is none.
    """
    named = [(name, module) for name, module in model.named_modules() if isinstance(module, Residual)]
    names = {name for name, _ in named}
    outer = {module: name for name, module in named if not any(name.startswith(f"{other}.") for other in names)}
    if not outer:
        raise Undefined("the network has no residual block")
    found: list[Block] = []

    def seen(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, Residual)
        name = outer[module]
        found.append(Block(name, name.rpartition(".")[0], module, _shape(inputs[0]), _shape(output), _kind(module)))

    with evaluating(model), hooked((module, seen) for module in outer), torch.no_grad():
        model(images[:1])
    return found


def by_stage(blocks: Iterable[Block]) -> dict[str, list[Block]]:
    """Blocks by their stage, both in the order in which they run."""
    found: dict[str, list[Block]] = {}
    for block in blocks:
        found.setdefault(block.stage, []).append(block)
    return found


def with_paths(blocks: Sequence[Block]) -> None:
    """Raises `Undefined` where paths through and around branches are not: rule 7 of the family."""
    if all(block.shortcut == "none" for block in blocks):
        raise Undefined("a plain network has one path: there is no shortcut to go around a branch")
    if all(block.shortcut == "projection" for block in blocks):
        raise Undefined("every shortcut is a projection: no path goes around a block untouched")


def _shape(x: Tensor) -> tuple[int, int, int]:
    return x.shape[1], x.shape[2], x.shape[3]


def _kind(module: Residual) -> Kind:
    if module.shortcut is None:
        return "none"
    if isinstance(module.shortcut, nn.Identity):
        return "identity"
    return "padding" if isinstance(module.shortcut, PadShortcut) else "projection"
