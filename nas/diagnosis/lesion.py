"""What deleting blocks costs (Veit et al. 2016): one at a time, and random sets of them.

A deleted block is its shortcut: y = post(s), whatever gates it has; in a plain network, which has none, it is nothing:
y = x, where shapes agree. A plain network stops working, a residual one loses a little.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from nas.diagnosis.blocks import Block, Undefined, blocks_of
from nas.diagnosis.patches import Forward, Progress, error_rate, norms_of, replaced, silent


@dataclass(frozen=True, slots=True)
class Lesion:
    """Error rates in [0, 1] without the blocks of those names.

    estimated: with norm statistics of what is left (rule 9 of the family). as_is: with those of the whole network; None
    where it was not asked for.
    """

    deleted: tuple[str, ...]
    estimated: float
    as_is: float | None


@dataclass(frozen=True, slots=True)
class Lesions:
    """whole: nothing deleted. single: each same-shape block. downsampling: each block that changes the shape and has a
    shortcut. sets: random sets of same-shape blocks, the smallest first. images: how many each rate is of; those of
    sets are of fewer, `set_images`, and so is `set_whole`.
    """

    whole: Lesion
    single: tuple[Lesion, ...]
    downsampling: tuple[Lesion, ...]
    sets: tuple[Lesion, ...]
    set_whole: Lesion
    images: int
    set_images: int

    @property
    def median_increase(self) -> float:
        """Of the error rate over single lesions, norm statistics estimated; the paper's claim in one number."""
        found = sorted(one.estimated - self.whole.estimated for one in self.single)
        return (found[(len(found) - 1) // 2] + found[len(found) // 2]) / 2


def lesions(
    model: nn.Module, images: Tensor, labels: Tensor, *, calibration: Tensor, sizes: int = 8, draws: int = 3,
    set_images: int = 300, seed: int = 0, progress: Progress = silent,
) -> Lesions:
    """Error rates of `model` without each block, and without random sets of 1 to `sizes` same-shape ones.

    images: (N, C, H, W), normalised. labels: (N,). calibration: images that norm statistics are estimated on. draws:
    sets of each size; set_images: how many images their rates are of. Raises `Undefined` (rule 7).
    """
    blocks = blocks_of(model, images)
    same = removable(blocks)
    changing = [block for block in blocks if not block.same_shape and block.shortcut != "none"]
    few, answers = images[:set_images], labels[:set_images]
    progress("lesion: the whole network")
    whole = lesion(model, (), images, labels, calibration)
    set_whole = lesion(model, (), few, answers, calibration, as_is=False)
    found: dict[str, Lesion] = {}
    for number, block in enumerate([*same, *changing], 1):
        progress(f"lesion: {block.name}, {number} of {len(same) + len(changing)}")
        found[block.name] = lesion(model, (block,), images, labels, calibration)
    chosen = random_sets(same, sizes, draws, seed)
    sets = []
    for number, deleted in enumerate(chosen, 1):
        progress(f"lesion: random sets, {number} of {len(chosen)}")
        sets.append(lesion(model, deleted, few, answers, calibration, as_is=False))
    return Lesions(whole, tuple(found[b.name] for b in same), tuple(found[b.name] for b in changing), tuple(sets),
                   set_whole, len(images), len(few))


def lesion(
    model: nn.Module, deleted: Sequence[Block], images: Tensor, labels: Tensor, calibration: Tensor, *,
    as_is: bool = True,
) -> Lesion:
    """Error rates of `model` without the blocks `deleted` (of `blocks_of`); `as_is`: also with norms as they are."""
    with replaced(deletions(deleted)):
        estimated = error_rate(model, images, labels, calibration)
        before = estimated if not norms_of(model) else error_rate(model, images, labels) if as_is else None
    return Lesion(tuple(block.name for block in deleted), estimated, before)


def deletions(blocks: Iterable[Block]) -> list[tuple[nn.Module, Forward]]:
    """What `replaced` takes to delete blocks. Raises `Undefined` for a plain block that changes the shape."""
    return [(block.module, _without_branch(block)) for block in blocks]


def removable(blocks: Sequence[Block]) -> list[Block]:
    """The same-shape blocks that can be deleted. Raises `Undefined` where there is none, and says why."""
    found = [block for block in blocks if block.removable]
    if found:
        return found
    if any(block.same_shape for block in blocks):
        raise Undefined("every shortcut is a projection (shortcut C): no block can go and leave the rest as it is")
    raise Undefined("no block puts out the shape that it takes, so none can be deleted")


def random_sets(blocks: Sequence[Block], sizes: int, draws: int, seed: int) -> list[tuple[Block, ...]]:
    """`draws` distinct sets of each size from 1 to `sizes` (all there are, where there are fewer), in running order."""
    generator, found = random.Random(seed), []
    for size in range(1, min(sizes, len(blocks)) + 1):
        of_size: set[tuple[int, ...]] = set()
        for _ in range(20 * draws):
            if len(of_size) < draws:
                of_size.add(tuple(sorted(generator.sample(range(len(blocks)), size))))
        found += [tuple(blocks[index] for index in chosen) for chosen in sorted(of_size)]
    return found


def _without_branch(block: Block) -> Forward:
    module = block.module
    if module.shortcut is None:
        if not block.same_shape:
            raise Undefined(f"{block.name} has no shortcut and changes the shape: nothing can stand in its place")
        return lambda x: x

    def forward(x: Tensor) -> Tensor:
        u = x if module.pre is None else module.pre(x)
        s: Tensor = module.shortcut(u)      # type: ignore[misc]
        if module.post is None:
            return s
        y: Tensor = module.post(s.clone())      # which may work in place, on what others still read
        return y

    return forward
