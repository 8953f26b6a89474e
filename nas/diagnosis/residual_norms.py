"""How much each block adds to what comes through its shortcut (as Jastrzebski et al. 2018 and others measure it)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.diagnosis.blocks import Block, Undefined, blocks_of
from nas.diagnosis.patches import run_through


@dataclass(frozen=True, slots=True)
class ResidualNorm:
    """ratio: mean over images of |y - s| / |s|, where y is the sum before the last activation and s the shortcut's
    output: |alpha F| / |s| in a block without gates. spread: its standard deviation over images.
    """

    block: str
    same_shape: bool
    ratio: float
    spread: float


def residual_norms(model: nn.Module, images: Tensor) -> list[ResidualNorm]:
    """Of every block with a shortcut, as they run. images: (N, C, H, W). Raises `Undefined` where there is none."""
    blocks = [block for block in blocks_of(model, images) if block.shortcut != "none"]
    if not blocks:
        raise Undefined("a plain network has no shortcut to compare its branches with")
    ratios: list[list[Tensor]] = [[] for _ in blocks]
    with _watched(blocks, ratios):
        for _ in run_through(model, images):
            pass
    found = []
    for block, batches in zip(blocks, ratios, strict=True):
        values = torch.cat(batches)
        found.append(ResidualNorm(block.name, block.same_shape, float(values.mean()), float(values.std(correction=0))))
    return found


@contextmanager
def _watched(blocks: Sequence[Block], ratios: list[list[Tensor]]) -> Iterator[None]:
    """Every forward pass appends the ratio of each image to the list of each block."""
    shortcuts: dict[int, Tensor] = {}
    with ExitStack() as stack:
        for index, block in enumerate(blocks):
            assert block.module.shortcut is not None
            stack.callback(block.module.shortcut.register_forward_hook(_keep(shortcuts, index)).remove)
            if block.module.post is None:
                hook = block.module.register_forward_hook(
                    lambda _, inputs, y, index=index: ratios[index].append(_ratio(y, shortcuts.pop(index))))
            else:       # before it works in place
                hook = block.module.post.register_forward_pre_hook(
                    lambda _, inputs, index=index: ratios[index].append(_ratio(inputs[0], shortcuts.pop(index))))
            stack.callback(hook.remove)
        yield


def _keep(shortcuts: dict[int, Tensor], index: int) -> Callable[..., None]:
    def keep(module: nn.Module, inputs: tuple[Tensor, ...], s: Tensor) -> None:
        shortcuts[index] = s

    return keep


def _ratio(y: Tensor, s: Tensor) -> Tensor:
    """|y - s| / |s| of each image, of shape (N,); 0 where both are 0."""
    added, there = (y - s).flatten(1).norm(dim=1).double(), s.flatten(1).norm(dim=1).double()
    return torch.where(added == 0, 0.0, added / there.clamp_min(1e-30))
