"""What can be said of a search space before anything is spent: what can never be, how much is feasible, the extremes.

Everything here comes from points judged by their exact costs; nothing is trained and torch is not imported.
"""

from __future__ import annotations

import gc
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from nas.architecture import CONFLICTING, Architecture
from nas.errors import InvalidInput, Problem
from nas.front import Objective
from nas.knobs import Value
from nas.nodes import Cost, Shape
from nas.space import Axis, Choice, Judgement, Point, SearchSpace
from nas.units import human_count

LARGEST_GRID = 50_000       # points
_DRAWS = 512                # from which the search for the extremes sets out
_LOOKED_AT = 300            # networks, for what is seldom wise


class Extremes(NamedTuple):
    """The cheapest and the dearest legal network found, by one cost."""

    smallest: tuple[Point, Cost]
    largest: tuple[Point, Cost]


@dataclass(frozen=True, slots=True)
class Survey:
    """Random points of a space, judged. `broken` counts the points by the rule or limit they break first."""

    drawn: int
    feasible: tuple[tuple[Point, Judgement], ...]
    broken: dict[str, int]
    idle: tuple[str, ...]           # axes that were active in no point drawn

    @property
    def share(self) -> float:
        """Feasible points among those drawn."""
        return len(self.feasible) / self.drawn

    def cautions(self, levels: int = 0) -> dict[str, float]:
        """What is legal and seldom wise, in sentences, and in which share of the feasible networks.

        levels: those of the recipe.
        """
        looked = self.architectures[:_LOOKED_AT]
        said = Counter(sentence for one in looked for sentence in (*one.cautions(), *_too_shallow(one, levels)))
        return {sentence: count / len(looked) for sentence, count in said.most_common()}

    @property
    def architectures(self) -> list[Architecture]:
        """The feasible networks that can be built, as often as they were drawn."""
        return [judged.architecture for _, judged in self.feasible if isinstance(judged.architecture, Architecture)]


def _too_shallow(architecture: Architecture, levels: int) -> tuple[str, ...]:
    """A caution where some of `levels` halvings have nothing to halve; else none."""
    blocks = 1 << levels >> 1
    if max(stage.depth for stage in architecture.stages) > blocks:
        return ()
    return (f"recipe.levels {levels} without a stage of more than {blocks} block{'s' * (blocks > 1)}: some levels "
            "train the network of the one before again; lower it, or deepen the network",)


Judged: TypeAlias = Sequence[tuple[Point, Judgement]]


def judged(space: SearchSpace, shape: Shape, classes: int, draws: int = _DRAWS, seed: int = 0) -> Judged:
    """`draws` random points, judged for images of `shape`."""
    rng = random.Random(seed)
    points = [space.sample(rng) for _ in range(draws)]
    with _uncollected():
        return [(point, space.judge(point, shape, classes)) for point in points]


@contextmanager
def _uncollected() -> Iterator[None]:
    """What is made of networks that are only counted stays in caches; to look through it again and again takes long."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def survey(
    space: SearchSpace, shape: Shape, classes: int, draws: int = 2000, seed: int = 0, drawn: Judged | None = None
) -> Survey:
    """Judge `draws` random points for images of `shape`, or look at those `drawn`."""
    drawn = judged(space, shape, classes, draws, seed) if drawn is None else drawn
    feasible: list[tuple[Point, Judgement]] = []
    broken: Counter[str] = Counter()
    seen: set[str] = set()
    for point, judgement in drawn:
        seen.update(point)
        if judgement.broken:
            broken[next(iter(judgement.broken))] += 1
        else:
            feasible.append((point, judgement))
    idle = tuple(axis.name for axis in space.axes if axis.name not in seen)
    return Survey(len(drawn), tuple(feasible), dict(broken), idle)


def never_legal(space: SearchSpace) -> list[tuple[Any, ...]]:
    """Choices with which no network is legal, such as a cardinality that never divides the inner width.

    Each as (place under `network`, rule, remedy, value).
    """
    rng = random.Random(0)
    draws = [space.sample(rng) for _ in range(128)]
    conflicts = [space.decode(point).conflict() for point in draws]
    if all(conflicts):
        knob, sentence = next(c for c in conflicts if c)
        return [((knob,), f"no network of the space is legal: {sentence}",
                 "change one of the two, or add a rule that keeps them apart")]
    found: list[tuple[Any, ...]] = []
    for axis in (axis for axis in space.axes if axis.knob in CONFLICTING):
        values = axis.domain.values if isinstance(axis.domain, Choice) else ()
        for index, value in enumerate(values):
            sentence = _always_broken(space, [point for point in draws if axis.name in point], axis, value)
            if sentence:
                found.append(((axis.knob, index), f"is never legal here: {sentence}",
                              "remove it, or change the other", value))
    return found


def _always_broken(space: SearchSpace, points: list[Point], axis: Axis, value: Value) -> str:
    """Why no network is legal that has this value at one of the points; empty where one is."""
    sentence = ""
    for point in points:
        conflict = space.decode(space.with_value(point, axis.name, value)).conflict()
        if conflict is None or conflict[0] != axis.knob:
            return ""
        sentence = sentence or conflict[1]
    return sentence


def unserved(sampler: str, space: SearchSpace, objectives: Sequence[Objective]) -> tuple[str, str]:
    """(rule, remedy) where `sampler` cannot serve the space and the objectives; empty where it can."""
    if sampler == "cmaes" and len(objectives) > 1:
        return "serves one objective alone", "use tpe or nsga2, or one objective under a limit"
    if sampler == "cmaes" and any(isinstance(a.domain, Choice) and not a.domain.ordered for a in space.axes):
        return "serves numbers only, and an axis holds words", "use tpe"
    sizes = [axis.domain.size for axis in space.axes]
    if sampler == "grid" and (None in sizes or math.prod(size or 1 for size in sizes) > LARGEST_GRID):
        points = "" if None in sizes else f", and all axes together make {math.prod(size or 1 for size in sizes):,}"
        rule = f"takes at most {LARGEST_GRID:,} points and no continuous axis{points}"
        return rule, "narrow the space, or use random or tpe"
    return "", ""


def extremes(
    space: SearchSpace, shape: Shape, classes: int, by: str = "macs", within: bool = False, drawn: Judged | None = None
) -> Extremes | None:
    """The smallest and largest legal networks by one cost: from the points drawn, then axis by axis.

    within: only those that the limits allow; else limits aside.
    """
    def legal(found: Judged) -> list[tuple[Point, Cost]]:
        return [(point, j.cost) for point, j in found if j.cost is not None and not (within and j.broken)]

    def judge(points: Iterable[Point]) -> list[tuple[Point, Cost]]:
        return legal([(point, space.judge(point, shape, classes)) for point in points])

    found = legal(judged(space, shape, classes) if drawn is None else drawn)
    if not found:
        return None
    ranked = sorted(found, key=lambda item: getattr(item[1], by))
    with _uncollected():
        return Extremes(_climbed(space, judge, ranked[0], -1, by), _climbed(space, judge, ranked[-1], 1, by))


def _climbed(
    space: SearchSpace, legal: Callable[[Iterable[Point]], list[tuple[Point, Cost]]], start: tuple[Point, Cost],
    sign: int, by: str,
) -> tuple[Point, Cost]:
    point, best = start
    improved = True
    while improved:
        improved = False
        for axis in space.axes:
            moves = (space.with_value(point, axis.name, v) for v in axis.domain.probe() if axis.name in point)
            for moved, cost in legal(moves):
                if sign * getattr(cost, by) > sign * getattr(best, by):
                    point, best, improved = moved, cost, True
    return point, best


def check_limits(space: SearchSpace, shape: Shape, classes: int, drawn: Judged | None = None) -> None:
    """Refuse limits that no network of the space can meet. Raises `InvalidInput`."""
    problems: list[Problem] = []
    drawn = judged(space, shape, classes) if drawn is None and space.limits else drawn
    for limit in space.limits:
        if any(limit.excess(one.cost) <= 0 for _, one in drawn or () if one.cost is not None):
            continue        # met by one that was drawn
        found = extremes(space, shape, classes, by=limit.cost, drawn=drawn)
        if found is None:
            return
        small, large = (getattr(cost, limit.cost) for _, cost in found)
        if limit.high is not None and small > limit.high:
            rule = f"is below the smallest network of the space, {human_count(small)} at {shape[1]}x{shape[2]} pixels"
            problems.append(Problem("", f"limits.{limit.cost}.to", rule, "raise it, or narrow the network",
                                    human_count(limit.high)))
        if limit.low is not None and large < limit.low:
            rule = f"is above the largest network of the space, {human_count(large)} at {shape[1]}x{shape[2]} pixels"
            problems.append(Problem("", f"limits.{limit.cost}.from", rule, "lower it, or widen the network",
                                    human_count(limit.low)))
    if problems:
        raise InvalidInput(problems)
