"""What swapping same-shape blocks of a stage costs (Veit et al. 2016, figure 5)."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from nas.diagnosis.blocks import Block, Undefined, blocks_of, by_stage
from nas.diagnosis.patches import Forward, Progress, error_rate, replaced, silent


@dataclass(frozen=True, slots=True)
class Reordering:
    """order: names of the blocks in the order in which they were run. swaps: pairs that changed places, one after the
    other. distance: Kendall's tau distance, the share of pairs of blocks in the other order, in [0, 1]. error: in
    [0, 1], norm statistics estimated.
    """

    order: tuple[str, ...]
    swaps: int
    distance: float
    error: float


@dataclass(frozen=True, slots=True)
class Reorderings:
    """whole: the error rate in the right order, on the same images."""

    whole: float
    found: tuple[Reordering, ...]
    images: int


def reorderings(
    model: nn.Module, images: Tensor, labels: Tensor, *, calibration: Tensor, swaps: Sequence[int] = (1, 2, 3, 4, 6),
    draws: int = 3, seed: int = 0, progress: Progress = silent,
) -> Reorderings:
    """Error rates of `model` after so many random swaps of two same-shape blocks of a stage, `draws` of each.

    images: (N, C, H, W), normalised; labels: (N,). Orders that come up again are left out. Raises `Undefined` where no
    stage has two such blocks.
    """
    groups = exchangeable(blocks_of(model, images))
    chosen = _orders(groups, swaps, draws, seed)
    progress("reordering: the right order")
    whole, found = error_rate(model, images, labels, calibration), []
    for number, (count, order) in enumerate(chosen, 1):
        progress(f"reordering: {number} of {len(chosen)}")
        with replaced(reordered(groups, order)):
            error = error_rate(model, images, labels, calibration)
        names = tuple(group[place].name for group, places in zip(groups, order, strict=True) for place in places)
        found.append(Reordering(names, count, kendall_distance(_flat(order)), error))
    return Reorderings(whole, tuple(sorted(found, key=lambda one: one.distance)), len(images))


def exchangeable(blocks: Sequence[Block]) -> list[list[Block]]:
    """By stage, the same-shape blocks that can change places: two or more. Raises `Undefined` where there are none."""
    groups = [[block for block in stage if block.removable] for stage in by_stage(blocks).values()]
    found = [group for group in groups if len(group) > 1]
    if any(block.same_shape for block in blocks) and not any(groups):
        raise Undefined("every shortcut is a projection (shortcut C): no two blocks do the same to what they pass on")
    if not found:
        raise Undefined("no stage has two same-shape blocks that could change places")
    return found


def reordered(groups: Sequence[Sequence[Block]], order: Sequence[Sequence[int]]) -> list[tuple[nn.Module, Forward]]:
    """What `replaced` takes to run in each place of a group the block that `order` names, by its place."""
    return [(block.module, group[place].module.forward)
            for group, places in zip(groups, order, strict=True) for block, place in zip(group, places, strict=True)]


def kendall_distance(order: Sequence[int]) -> float:
    """Share of the pairs that stand in the other order than by number, in [0, 1]: (1 - Kendall's tau) / 2."""
    pairs = [(a, b) for index, a in enumerate(order) for b in order[index + 1 :]]
    return sum(a > b for a, b in pairs) / len(pairs) if pairs else 0.0


def _orders(
    groups: Sequence[Sequence[Block]], swaps: Sequence[int], draws: int, seed: int,
) -> list[tuple[int, list[list[int]]]]:
    generator, seen = random.Random(seed), {tuple(range(sum(map(len, groups))))}
    found: Mapping[int, list[list[list[int]]]] = {count: [] for count in swaps}
    for count in swaps:
        for _ in range(20 * draws):
            order = _shuffled(groups, count, generator)
            if len(found[count]) < draws and tuple(_flat(order)) not in seen:
                seen.add(tuple(_flat(order)))
                found[count].append(order)
    return [(count, order) for count, orders in found.items() for order in orders]


def _shuffled(groups: Sequence[Sequence[Block]], count: int, generator: random.Random) -> list[list[int]]:
    order = [list(range(len(group))) for group in groups]
    weights = [len(group) * (len(group) - 1) for group in groups]     # every pair is as likely
    for _ in range(count):
        places = generator.choices(order, weights)[0]
        a, b = generator.sample(range(len(places)), 2)
        places[a], places[b] = places[b], places[a]
    return order


def _flat(order: Sequence[Sequence[int]]) -> list[int]:
    """One permutation of all blocks: those of a stage come after those of the stages before."""
    flat: list[int] = []
    for places in order:
        flat += [len(flat) + place for place in places]
    return flat
