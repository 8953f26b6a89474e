"""A search space: axes, how a point of them becomes an `Architecture`, and what a point costs or breaks.

A point is a mapping from axis name to value, holding the active axes only: an axis is active where its knob has an
effect and no rule sets it. How a space is written stands in `nas.language`; who proposes points, in `nas.search`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from nas.architecture import NETWORK_KNOBS, STAGED, Architecture, Stage, knob_named, written_out
from nas.cost import COSTS, cost
from nas.knobs import OPTION, OWN, Knob, Value
from nas.network import Network
from nas.nodes import Cost, Shape
from nas.plan import plan
from nas.regnet import PREFIX as REGNET

Point: TypeAlias = dict[str, Value]
Source: TypeAlias = Callable[[Mapping[str, Value]], Value]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of `values`, in the order written."""

    values: tuple[Value, ...]

    @property
    def size(self) -> int | None:
        return len(self.values)

    @property
    def ordered(self) -> bool:
        """Whether the values are numbers, so that neighbours are alike."""
        return all(not isinstance(value, str) for value in self.values)

    def sample(self, rng: random.Random) -> Value:
        return self.values[int(rng.random() * len(self.values))]

    def probe(self) -> tuple[Value, ...]:
        """Values worth trying when looking for extremes."""
        return self.values

    def holds(self, value: Value) -> bool:
        return value in self.values


@dataclass(frozen=True, slots=True)
class Range:
    """Every number from `low` to `high`, both included; whole ones where `integer`; uniform in the log where `log`."""

    low: float
    high: float
    integer: bool
    log: bool = False

    @property
    def size(self) -> int | None:
        return int(self.high - self.low) + 1 if self.integer else None

    def sample(self, rng: random.Random) -> Value:
        low, high = (self.low - 0.5, self.high + 0.5) if self.integer else (self.low, self.high)
        number = math.exp(rng.uniform(math.log(low), math.log(high))) if self.log else rng.uniform(low, high)
        number = min(max(number, self.low), self.high)
        return min(max(math.floor(number + 0.5), int(self.low)), int(self.high)) if self.integer else number

    def probe(self) -> tuple[Value, ...]:
        kind = int if self.integer else float
        return kind(self.low), kind((self.low + self.high) / 2), kind(self.high)

    def holds(self, value: Value) -> bool:
        return not isinstance(value, str) and self.low <= value <= self.high and (
            not self.integer or value == int(value))


@dataclass(frozen=True, slots=True)
class Fixed:
    """The source of a knob that is no axis."""

    value: Value

    def __call__(self, point: Mapping[str, Value]) -> Value:
        return self.value


@dataclass(frozen=True, slots=True)
class Axis:
    """One dimension of the search: `knob` in `stages` (numbers from 1; empty for a network-wide knob)."""

    name: str
    knob: str
    stages: tuple[int, ...]
    domain: Choice | Range


@dataclass(frozen=True, slots=True)
class Condition:
    """`knob` (of `stage`, or of the stage at hand where that is 0) has one of `values` or lies within `bounds`."""

    knob: str
    stage: int
    values: tuple[Value, ...] = ()
    bounds: tuple[float, float] | None = None

    def holds(self, value: Value) -> bool:
        if self.bounds is None:
            return value in self.values
        return not isinstance(value, str) and self.bounds[0] <= value <= self.bounds[1]


@dataclass(frozen=True, slots=True)
class Rule:
    """Where all of `when` hold, `knob` (of `stage`; 0: of every stage where they hold) is `value`."""

    when: tuple[Condition, ...]
    knob: str
    stage: int
    value: Value


class Limit(NamedTuple):
    """`low` <= the cost named `cost` <= `high`; None is no bound."""

    cost: str
    low: int | None
    high: int | None

    def excess(self, found: Cost) -> float:
        """How far outside, as a share of the bound; 0 or less: inside."""
        value = getattr(found, self.cost)
        above = value / self.high - 1 if self.high is not None else -math.inf
        below = 1 - value / self.low if self.low else -math.inf
        return float(max(above, below))


class Judgement(NamedTuple):
    """A point seen before any training: its network, its cost, and what it breaks (empty: feasible)."""

    architecture: Network
    cost: Cost | None               # None where the network is not legal at all
    broken: dict[str, float]        # rule or limit -> by how much, as a share; above 0
    reason: str = ""


@dataclass(frozen=True)
class SearchSpace:
    """The axes of a search in the order they are decided, and the sources of every knob.

    `sources[knob]` holds one function a stage (one in all for a network-wide knob) from a point to its value.
    """

    axes: tuple[Axis, ...]
    sources: Mapping[str, tuple[Source, ...]]
    rules: tuple[Rule, ...] = ()
    limits: tuple[Limit, ...] = ()
    most_stages: int = 3
    _names: tuple[str, ...] = field(init=False, repr=False)         # of what may differ from stage to stage
    _written: tuple[tuple[Value, ...], ...] = field(init=False, repr=False)     # of each stage, where fixed
    _sought: tuple[tuple[tuple[int, Source], ...], ...] = field(init=False, repr=False)     # by place, where not
    _rules: Mapping[str, tuple[Rule, ...]] = field(init=False, repr=False)      # by the knob that they set
    _alike: frozenset[str] = field(init=False, repr=False)      # knobs that are the same in all stages
    _always: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        names = (*(knob.name for knob in STAGED), *sorted(name for name in self.sources if name.startswith(OPTION)))
        staged = tuple(tuple(self.sources[name][index] for name in names) for index in range(self.most_stages))
        object.__setattr__(self, "_names", names)
        object.__setattr__(self, "_written", tuple(
            tuple(source.value if isinstance(source, Fixed) else OWN for source in sources) for sources in staged))
        object.__setattr__(self, "_sought", tuple(
            tuple((place, source) for place, source in enumerate(sources) if not isinstance(source, Fixed))
            for sources in staged))
        ruled = {rule.knob for rule in self.rules}
        object.__setattr__(self, "_rules", {
            knob: tuple(rule for rule in self.rules if rule.knob == knob) for knob in ruled})
        object.__setattr__(self, "_alike", frozenset(name for name in self.sources if self._same(name)))
        fewest = self._fewest_stages()
        object.__setattr__(self, "_always", frozenset(
            axis.name for axis in self.axes
            if knob_named(axis.knob).matters is None and axis.knob not in ruled
            and min(axis.stages, default=0) <= fewest))

    def decode(self, point: Mapping[str, Value]) -> Architecture:
        """The architecture of `point`; knobs of inactive axes are at their defaults, rules applied."""
        known = _Known(self, point)
        stages = [self._values(index, point) for index in range(known.count)]
        network = {name: self.sources[name][0](point) for name in _NETWORK}
        for knob in self._rules:
            if knob in network:
                network[knob] = known.values(knob)[0]
                continue
            place = self._names.index(knob)
            for values, value in zip(stages, known.values(knob), strict=True):
                values[place] = value
        built = [self._stage(values) for values in stages]
        return Architecture(tuple(built), *(network[name] for name in _NETWORK))    # type: ignore[arg-type]

    def _values(self, index: int, point: Mapping[str, Value]) -> list[Value]:
        """Of stage `index` before the rules, in the order of `_names`."""
        values = list(self._written[index])
        for place, source in self._sought[index]:
            values[place] = source(point)
        return values

    def _stage(self, values: list[Value]) -> Stage:
        """The stage with these values in the order of `_names`."""
        usual = {"block": values[_BLOCK]}
        for index in _BY_KIND:
            values[index] = written_out(STAGED[index], values[index], usual)
        options = tuple((name.removeprefix(OPTION), value)
                        for name, value in zip(self._names[_KNOBS:], values[_KNOBS:], strict=True))
        return Stage(*values[:_KNOBS], options if ":" in str(values[_BLOCK]) else ())     # type: ignore[arg-type,call-arg]

    def own_blocks(self) -> tuple[str, ...]:
        """The users' blocks that a network of the space can be made of, as module:function."""
        written = [source.value for source in self.sources.get("block", ()) if isinstance(source, Fixed)]
        chosen = [value for axis in self.axes if axis.knob == "block" for value in axis.domain.probe()]
        ruled = [rule.value for rule in self.rules if rule.knob == "block"]
        return tuple(dict.fromkeys(str(value) for value in (*written, *chosen, *ruled) if ":" in str(value)))

    def active(self, axis: Axis, point: Mapping[str, Value]) -> bool:
        """Whether `axis` has an effect, given the axes before it in `point`."""
        return axis.name in self._always or _Known(self, point).matters(axis)

    def sample(self, rng: random.Random) -> Point:
        """A random point: every active axis uniform over its values."""
        point: Point = {}
        known = _Known(self, point)
        for axis in self.axes:
            if axis.name in self._always or known.matters(axis):
                point[axis.name] = axis.domain.sample(rng)
        return point

    def plain(self, point: Mapping[str, Value]) -> Point:
        """`point` without what cardinality, scaling, gates and squeeze-and-excitation add, where the space allows."""
        found = dict(point)
        for axis in self.axes:
            knob = knob_named(axis.knob)
            default = knob.default
            if knob.refines and axis.name in found and axis.domain.holds(default):
                found = self.with_value(found, axis.name, default)
        return found

    def with_value(self, point: Mapping[str, Value], name: str, value: Value) -> Point:
        """`point` moved along one axis; axes that this makes active start at their first value."""
        moved: Point = {}
        known = _Known(self, moved)
        for axis in self.axes:
            if axis.name in self._always or known.matters(axis):
                kept = value if axis.name == name else point.get(axis.name)
                moved[axis.name] = axis.domain.probe()[0] if kept is None else kept
        return moved

    def judge(self, point: Mapping[str, Value], shape: Shape, classes: int) -> Judgement:
        """The network of `point` for images of `shape`, its exact cost, and the rules and limits it breaks."""
        architecture = self.decode(point)
        conflict = architecture.conflict()
        if conflict is not None:
            return Judgement(architecture, None, {conflict[0]: 1.0}, conflict[1])
        found = cost(plan(architecture, shape, classes))
        excess = {limit.cost: limit.excess(found) for limit in self.limits}
        broken = {name: share for name, share in excess.items() if share > 0}
        reason = ", ".join(f"{name} {getattr(found, name):,} is {share:.1%} outside its limit"
                           for name, share in broken.items())
        return Judgement(architecture, found, broken, reason)

    def size(self, drawn: Sequence[Point] | None = None) -> tuple[int | None, bool]:
        """(number of points, whether that is exact); None where an axis is continuous.

        drawn: random points to estimate it from, where it is too large to be counted.
        """
        if any(axis.domain.size is None for axis in self.axes):
            return None, True
        parents = self._parents()
        if math.prod(axis.domain.size or 1 for axis in parents) <= 20_000:
            return sum(self._count(point) for point in self._enumerate(parents)), True
        rng = random.Random(0)
        points = drawn or [self.sample(rng) for _ in range(2000)]
        return round(sum(map(self._count_whole, points)) / len(points)), False      # E[1 / p(point)] = their number

    def _parents(self) -> list[Axis]:
        knobs = {used for axis in self.axes for used in knob_named(axis.knob).uses if axis.name not in self._always}
        knobs |= {condition.knob for rule in self.rules for condition in rule.when} | {"stages"}
        return [axis for axis in self.axes if axis.knob in knobs]

    def _enumerate(self, parents: list[Axis], point: Point | None = None) -> Iterator[Point]:
        point = point or {}
        if not parents:
            yield point
            return
        axis, rest = parents[0], parents[1:]
        if not self.active(axis, point):
            yield from self._enumerate(rest, point)
            return
        domain = axis.domain
        values = domain.values if isinstance(domain, Choice) else range(int(domain.low), int(domain.high) + 1)
        for value in values:
            yield from self._enumerate(rest, {**point, axis.name: value})

    def _count(self, parents: Point) -> int:
        """Points that agree with `parents` on the axes that decide which others are active."""
        free = (axis for axis in self.axes if axis.name not in parents and self.active(axis, parents))
        return math.prod(axis.domain.size or 1 for axis in free)

    def _count_whole(self, point: Point) -> int:
        return math.prod(axis.domain.size or 1 for axis in self.axes if axis.name in point)

    def _same(self, name: str) -> bool:
        """Whether the knob has one value, whatever the point: network-wide, or written and ruled for all stages."""
        if name == "stages" or not knob_named(name).staged:
            return True
        written = all(source is self.sources[name][0] for source in self.sources[name])
        return written and (name == "block" or self._same("block")) and all(
            rule.stage == 0 and all(c.stage or self._same(c.knob) for c in rule.when)
            for rule in self._rules.get(name, ()))

    def _fewest_stages(self) -> int:
        for axis in self.axes:
            if axis.knob == "stages":
                return min(int(value) for value in axis.domain.probe())
            if axis.knob.startswith(REGNET):
                return 1
        return self.most_stages


class _Known:
    """The knobs of a point after the rules, each worked out when it is first asked for.

    The point may still grow: axes are in such an order that what decides a knob is in it before the knob is asked for.
    """

    def __init__(self, space: SearchSpace, point: Mapping[str, Value]):
        self.space, self.point = space, point
        self._found: dict[str, list[Value]] = {}

    @property
    def count(self) -> int:
        """Stages."""
        return int(self.values("stages")[0])

    def values(self, name: str) -> list[Value]:
        """Of the knob, one a stage; one in all of a network-wide knob."""
        found = self._found.get(name)
        if found is None:
            sources, staged = self.space.sources[name], knob_named(name).staged
            alike = name in self.space._alike
            found = [source(self.point) for source in sources[:1 if alike else self.count]]
            for rule in self.space._rules.get(name, ()):
                found = [rule.value if self.applies(rule, index) else value for index, value in enumerate(found)]
            found = found * self.count if alike and staged else found
            self._found[name] = found
        return found

    def applies(self, rule: Rule, index: int) -> bool:
        """Whether `rule` sets its knob in stage `index`, counted from 0."""
        return rule.stage in (0, index + 1) and all(self._holds(condition, index) for condition in rule.when)

    def _holds(self, condition: Condition, index: int) -> bool:
        knob = knob_named(condition.knob)
        place = condition.stage - 1 if condition.stage else index if knob.staged else 0
        if condition.stage > self.count:
            return False
        value = self.values(condition.knob)[place]
        if value == OWN and knob.by_kind:
            value = written_out(knob, value, {"block": self.values("block")[place]})
        return condition.holds(value)

    def matters(self, axis: Axis) -> bool:
        """Whether the axis has an effect: in one of its stages at least, of one for the whole network in any."""
        knob, rules = knob_named(axis.knob), self.space._rules.get(axis.knob, ())
        places = [number - 1 for number in axis.stages or range(1, self.count + 1) if number <= self.count]
        for index in places[-1:] if self.space._alike.issuperset((axis.knob, *knob.uses)) else places:
            if knob.matters and not knob.matters(self._of_stage(knob, index)):
                continue
            if not any(self.applies(rule, index) for rule in rules):
                return True
        return False

    def _of_stage(self, knob: Knob, index: int) -> dict[str, Value]:
        return {"stage": index + 1, **{name: self.values(name)[index] for name in knob.uses}}


_NETWORK = tuple(knob.name for knob in NETWORK_KNOBS.values())
_KNOBS = len(STAGED)
_BY_KIND = tuple(index for index, knob in enumerate(STAGED) if knob.by_kind)
_BLOCK = [knob.name for knob in STAGED].index("block")


__all__ = [
    "COSTS", "Axis", "Choice", "Condition", "Judgement", "Limit", "Point", "Range", "Rule", "SearchSpace", "Source",
]
