"""What is tried next: feasible networks that a study has not had.

From a start that is spread over the costs of the space, then from the sampler; where that keeps proposing what is
there, from beside it, and where it keeps breaking a limit, from random draws. What is refused costs nothing; the
sampler is told why.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from nas.nodes import Shape
from nas.search.halving import SCREENED
from nas.search.samplers import STRATIFIED, Sampler, Seen, derived
from nas.settings import Data
from nas.space import Judgement, Point
from nas.store import Refusals
from nas.study import Study

_ASKS = 24              # of the sampler for one trial, before random draws take over
_DUPLICATES = 4         # of those that propose what is there, before it is the networks beside that are tried
_STEPS = 200            # from a network to one beside it
_DRAWS = 20_000         # random draws for one trial, before the space counts as exhausted
_START = SCREENED       # points of a stratified start; the same whatever the budget, which may be raised later


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What a search has to know of its data. `data`: where workers find it, a path absolute."""

    shape: Shape
    classes: int
    key: str
    data: Data


@dataclass(frozen=True, slots=True)
class Proposal:
    """A network to try, its exact cost, and what the sampler keeps of the point."""

    point: Point
    attrs: dict[str, Any]
    judged: Judgement


class Proposals:
    """Proposes for `study` on data of `facts`.

    seen: gives all trials as the sampler sees them. known: ids of the networks tried. too_much: why a network is
    not to be tried although no limit forbids it, such as "time", and by which share; infeasible by that name.
    """

    def __init__(self, study: Study, facts: DataFacts, sampler: Sampler, seen: Callable[[], list[Seen]],
                 known: Iterable[str], too_much: Callable[[Judgement], dict[str, float]]):
        self.space, self.facts, self.seed = study.space, facts, study.seed
        self.sampler, self._seen, self._too_much = sampler, seen, too_much
        self._known = set(known)
        self._refused: dict[str, Refusals] = {}
        self._endless = sampler.name == "grid"      # asked until it has no more

    def next(self, number: int) -> Proposal | None:
        """For trial `number`; None: there is nothing left to try."""
        if self.sampler.crowded:
            self.sampler.show(self._seen())
        found = self._from_start(number) or self._asked(number)
        if found is None and not self._endless:
            found = self._drawn(number)
        if found is not None:
            self._known.add(found.judged.architecture.id)
        return found

    def take_refused(self) -> dict[str, Refusals]:
        """The points that were infeasible since this was asked last, by the limit or rule that they broke."""
        refused, self._refused = self._refused, {}
        return refused

    def _from_start(self, number: int) -> Proposal | None:
        if number >= len(self._start):
            return None
        judged = self._judged(self._start[number])
        return self._shown(number, Proposal(self._start[number], {}, judged)) if self._fresh(judged) else None

    def _asked(self, number: int) -> Proposal | None:
        duplicates = 0
        for attempt in itertools.count() if self._endless else range(_ASKS):
            if self.sampler.exhausted:
                break
            point, attrs = self.sampler.ask(number, attempt)
            judged = self._judged(point)
            if self._fresh(judged):
                return Proposal(point, attrs, judged)
            self.sampler.refuse(number, judged.broken)
            duplicates += judged.architecture.id in self._known
            if duplicates == _DUPLICATES and not self._endless:
                return self._beside(number, point)
        return None

    def _beside(self, number: int, point: Point) -> Proposal | None:
        """A network that differs from one that is there in an axis, or in a few."""
        rng = random.Random(derived(self.seed, number, -3))
        for step in range(_STEPS if point else 0):
            axes = [axis for axis in self.space.axes if axis.name in point]
            axis = axes[int(rng.random() * len(axes))]
            moved = self.space.with_value(point, axis.name, axis.domain.sample(rng))
            judged = self._judged(moved)
            if self._fresh(judged):
                return self._shown(number, Proposal(moved, self.sampler.refused(), judged))
            if step % 20 == 19 and not judged.broken:
                point = moved       # all around it is there: a step further
        return None

    def _drawn(self, number: int) -> Proposal | None:
        rng = random.Random(derived(self.seed, number, -1))
        for _ in range(_DRAWS):
            point = self.space.sample(rng)
            judged = self._judged(point)
            if self._fresh(judged):
                return self._shown(number, Proposal(point, self.sampler.refused(), judged))
        return None

    def _shown(self, number: int, proposal: Proposal) -> Proposal:
        """Show the sampler what is tried without having been asked of it."""
        self.sampler.add(Seen(number, proposal.point, proposal.attrs, None, True))
        return proposal

    def _judged(self, point: Point) -> Judgement:
        return self.space.judge(point, self.facts.shape, self.facts.classes)

    def _fresh(self, judged: Judgement) -> bool:
        broken = judged.broken
        if judged.cost is not None and not broken:
            broken = self._too_much(judged)
        for name, share in broken.items():
            self._refused[name] = self._refused.get(name, Refusals()) + Refusals.one(share)
        return not broken and judged.architecture.id not in self._known

    @cached_property
    def _start(self) -> Sequence[Point]:
        """A random start that covers the range of log MACs evenly, for samplers that gain by it. Every other network is
        plain, without gates and the like: what the others are to be compared with."""
        if self.sampler.name not in STRATIFIED:
            return []
        rng = random.Random(derived(self.seed, -2))
        drawn = [self.space.sample(rng) for _ in range(50 * _START)]
        drawn = [self.space.plain(point) if index % 2 else point for index, point in enumerate(drawn)]
        judged = [self._judged(point) for point in drawn]
        feasible = [(math.log(j.cost.macs), index) for index, j in enumerate(judged)
                    if j.cost is not None and not j.broken and not self._too_much(j)]
        kinds = [[found for found in feasible if found[1] % 2 == kind] for kind in (0, 1)]
        if min(map(len, kinds)) < _START:
            return []
        low, high = min(feasible)[0], max(feasible)[0]
        targets = [(low + (high - low) * (place + 0.5) / _START, kinds[place % 2]) for place in range(_START)]
        rng.shuffle(targets)
        return [drawn[min(those, key=lambda found: abs(found[0] - target))[1]] for target, those in targets]
