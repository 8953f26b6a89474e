"""How a search space is written: the `network`, `rules` and `limits` of a YAML file, read into a `SearchSpace`.

Four forms and nothing else: a bare value is fixed; a list is a choice; `{from: 1, to: 4}` (with `step` or `log`) is a
range; any of them goes under `per_stage:` (each stage its own) or `first:` with `growth:` (tied). Mistakes are
collected, with the place of each.
"""

from __future__ import annotations

import difflib
import graphlib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas import regnet
from nas.architecture import KNOBS, STAGES, knob_named
from nas.cost import COSTS
from nas.errors import NasError, Problem
from nas.knobs import OPTION, Knob, Value
from nas.own_block import CODE
from nas.own_block import found as own_block
from nas.space import Axis, Choice, Condition, Fixed, Limit, Range, Rule, SearchSpace, Source
from nas.units import parse_count, parse_number
from nas.yamlfile import Document

_FORMS = "a value, a list of choices, {from, to, step | log}, {per_stage: ...} or {first: ..., growth: ...}"
_RANGE_KEYS = {"from", "to", "step", "log"}
_DOTTED = ("stem", "regnet", "options")     # knobs that are written as a mapping of their own
_TIED_BY_REGNET = ("stages", "depth", "width", "cardinality", "bottleneck_ratio", "base_width")
_MOST_CHOICES = 1000
_STAGE_KEYS = frozenset("12345678")
_STAGE = re.compile(r"stage[0-9]{1,9}")
_Place = tuple[str | int, ...]


def read_space(document: Document, problems: list[Problem], trusted: bool = False) -> SearchSpace | None:
    """The space that `document` describes; what is wrong with it is added to `problems`, and then there is none.

    trusted: it was read before; users' blocks need not be there, as long as no network is built.
    """
    before = len(problems)
    reader = _Reader(document, problems, trusted)
    network = document.values.get("network")
    if isinstance(network, dict):
        reader.network(network)
    else:
        problems.append(document.problem(("network",), "is missing" if network is None else "must be a mapping",
                                         "write 'network:' and knobs such as depth and width under it", network))
        reader.most_stages = int(STAGES.most)      # so that the rules are not blamed for it
    rules = reader.rules(document.values.get("rules"))
    limits = reader.limits(document.values.get("limits"))
    if len(problems) > before:
        return None
    ordered = _ordered(reader.axes, rules, document, problems)
    if ordered is None:
        return None
    space = SearchSpace(ordered[0], reader.sources, ordered[1], limits, reader.most_stages)
    if any(name.startswith(OPTION) for name in space.sources) and not space.own_blocks():
        problems.append(document.problem(("network", "options"), "are knobs of a block of your own, and there is none",
                                         "write block: module:function, or remove them"))
        return None
    return space


def closest(word: object, known: Any) -> str:
    """`write X` for the known word nearest to `word`, or the list of them."""
    names = sorted(str(k) for k in known)
    near = difflib.get_close_matches(str(word), names, 1, 0.6)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(names)}"


class _Reader:
    def __init__(self, document: Document, problems: list[Problem], trusted: bool):
        self.document, self.problems, self.trusted = document, problems, trusted
        self.axes: list[Axis] = []
        self.sources: dict[str, tuple[Source, ...]] = {}
        self.most_stages = 3
        self._place: dict[str, _Place] = {}

    # --- network

    def network(self, network: Mapping[Any, Any]) -> None:
        written: dict[str, tuple[_Place, Any]] = {}
        for key, raw in network.items():
            if key in _DOTTED and isinstance(raw, dict):
                written |= {f"{key}.{inner}": (("network", key, inner), value) for inner, value in raw.items()}
            else:
                written[str(key)] = (("network", key), raw)
        for name, (place, _) in list(written.items()):
            if not self._is_knob(name) or (name == place[-1] and "." in name):
                self._unknown(name, place)
                del written[name]
        if not network:
            self._problem(("network",), "holds no knob", f"known: {', '.join(k for k in KNOBS if '.' not in k)}, stem")
        if isinstance(network.get("regnet"), dict):
            self._regnet(written)
        else:
            self._knob(STAGES, *written.pop("stages", (("network",), STAGES.default)))
        own = [knob_named(name) for name in written if name.startswith(OPTION)]
        for knob in (*KNOBS.values(), *own):
            if knob.name not in self.sources:
                place, raw = written.get(knob.name, (("network",), None))
                if raw is None and knob.name not in written:
                    self.sources[knob.name] = (Fixed(knob.unwritten),) * (self.most_stages if knob.staged else 1)
                else:
                    self._knob(knob, place, raw)

    def _is_knob(self, name: str) -> bool:
        return name in KNOBS or name in regnet.KNOBS or (
            name.startswith(OPTION) and name.removeprefix(OPTION).isidentifier() and name != OPTION + CODE)

    def _unknown(self, name: str, place: _Place) -> None:
        forms = {"stem": "stem is written {kind: ..., width: ...}", "options": "options are written {name: value, ...}",
                 "regnet": "regnet is written {depth: ..., w_0: ..., w_a: ..., w_m: ..., group_width: ...}"}
        known = {*_DOTTED, *(k for k in KNOBS if "." not in k)}
        if name.startswith(regnet.PREFIX):
            known = {k.removeprefix(regnet.PREFIX) for k in regnet.KNOBS}
        self._problem(place, "is not a knob", forms.get(name) or closest(name.removeprefix(regnet.PREFIX), known))

    def _regnet(self, written: dict[str, tuple[_Place, Any]]) -> None:
        """Stages, depths, widths and groups from RegNet's few numbers; its block unless another one is written."""
        for name in _TIED_BY_REGNET:
            if name in written:
                self._problem(written.pop(name)[0], "is decided by regnet", "remove one of the two")
        numbers = [self._form(knob, knob.name, (), *written.pop(knob.name, (("network", "regnet"), knob.default)))
                   for knob in regnet.KNOBS.values()]
        self.most_stages = regnet.MOST_STAGES

        def stages(point: Mapping[str, Value]) -> tuple[tuple[int, int, int], ...]:
            depth, w_0, w_a, w_m, group_width = (source(point) for source in numbers)
            return regnet.stages(int(depth), int(w_0), float(w_a), float(w_m), int(group_width))

        def of_stage(index: int, part: int) -> Source:
            return lambda point: (stages(point)[index:] or ((1, 8, 1),))[0][part]

        every = range(self.most_stages)
        self.sources |= {
            "stages": (lambda point: len(stages(point)),), "depth": tuple(of_stage(i, 0) for i in every),
            "width": tuple(of_stage(i, 1) for i in every), "cardinality": tuple(of_stage(i, 2) for i in every),
            "bottleneck_ratio": (Fixed(1.0),) * self.most_stages}
        if "block" not in written:
            self.sources["block"] = (Fixed("bottleneck"),) * self.most_stages

    def _knob(self, knob: Knob, place: _Place, raw: Any) -> None:
        if isinstance(raw, dict) and knob.staged and "per_stage" in raw:
            sources = self._per_stage(knob, place, raw)
        elif isinstance(raw, dict) and knob.staged and raw.keys() & {"first", "growth"}:
            sources = self._tied(knob, place, raw)
        elif isinstance(raw, dict) and raw.keys() & {"per_stage", "first", "growth"}:
            self._problem(place, "is one knob for the whole network, not one a stage",
                          "write a value, a list of choices or {from, to, step | log}", raw)
            sources = (Fixed(knob.default),)
        else:
            every = tuple(range(1, self.most_stages + 1)) if knob.staged else ()
            source = self._form(knob, knob.name, every, place, raw)
            sources = (source,) * (self.most_stages if knob.staged else 1)
        self.sources[knob.name] = sources
        if knob.name == "stages":
            axis = next((a for a in self.axes if a.knob == "stages"), None)
            top = max(axis.domain.probe()) if axis else sources[0]({})
            self.most_stages = int(top)

    def _per_stage(self, knob: Knob, place: _Place, raw: Mapping[Any, Any]) -> tuple[Source, ...]:
        self._only_keys(place, raw, {"per_stage"})
        inner, at = _by_number(raw["per_stage"]), (*place, "per_stage")
        forms = dict.fromkeys(range(1, self.most_stages + 1), inner)
        if isinstance(inner, dict) and inner and all(isinstance(key, int) for key in inner):
            missing = [n for n in forms if n not in inner]
            extra = [n for n in inner if n not in forms]
            if missing or extra:
                self._problem(at, f"must give stages 1 to {self.most_stages}", (
                    f"add {missing[0]}" if missing else f"remove {extra[0]}"))
            forms = {number: inner.get(number, knob.default) for number in forms}
            return tuple(self._form(knob, f"stage{n}.{knob.name}", (n,), (*at, n), form) for n, form in forms.items())
        return tuple(self._form(knob, f"stage{n}.{knob.name}", (n,), at, form, report=n == 1)
                     for n, form in forms.items())

    def _tied(self, knob: Knob, place: _Place, raw: Mapping[Any, Any]) -> tuple[Source, ...]:
        self._only_keys(place, raw, {"first", "growth"})
        if not raw.keys() >= {"first", "growth"}:
            self._problem(place, "needs both first and growth", "write {first: 32, growth: 2}")
            return (Fixed(knob.default),) * self.most_stages
        if knob.choices or knob.odd:
            what = "holds words, which cannot grow" if knob.choices else "must be odd, so it cannot grow"
            self._problem(place, what, "use per_stage")
            return (Fixed(knob.default),) * self.most_stages
        every = tuple(range(1, self.most_stages + 1))
        first = self._form(knob, f"{knob.name}.first", every, (*place, "first"), raw["first"])
        rate = Knob(knob.name, float, 1.0, "growth from stage to stage", 0.1, 16)
        later = every[1:] or every      # where growth has an effect
        growth = self._form(rate, f"{knob.name}.growth", later, (*place, "growth"), raw["growth"])
        return tuple(_grown(first, growth, number - 1, knob) for number in every)

    def _form(
        self, knob: Knob, name: str, stages: tuple[int, ...], place: _Place, raw: Any, report: bool = True
    ) -> Source:
        """The source for a bare value, a list or a range; makes the axis where there is one."""
        before = len(self.problems)
        domain = self._domain(knob, place, raw)
        if not report:
            del self.problems[before:]
        if domain is None:
            return Fixed(knob.default)
        if domain.size == 1:
            return Fixed(domain.probe()[0])
        self.axes.append(Axis(name, knob.name, stages, domain))
        unwritten = knob.unwritten
        return lambda point: point.get(name, unwritten)

    def _domain(self, knob: Knob, place: _Place, raw: Any) -> Choice | Range | None:
        if isinstance(raw, list):
            return self._choice(knob, place, raw)
        if isinstance(raw, dict):
            return self._range(knob, place, raw)
        value = self._value(knob, place, raw)
        return None if value is None else Choice((value,))

    def _choice(self, knob: Knob, place: _Place, raw: list[Any]) -> Choice | None:
        if not raw:
            self._problem(place, "is an empty list of choices", "give at least one", raw)
            return None
        if len(raw) > _MOST_CHOICES:
            self._problem(place, f"holds more than {_MOST_CHOICES} choices", "write a range")
            return None
        values = [self._value(knob, (*place, index), item) for index, item in enumerate(raw)]
        for index, value in enumerate(values):
            if value is not None and value in values[:index]:
                self._problem((*place, index), "is given twice among the choices", "remove one", raw[index])
        return None if None in values else Choice(tuple(value for value in values if value is not None))

    def _range(self, knob: Knob, place: _Place, raw: Mapping[Any, Any]) -> Choice | Range | None:
        if knob.choices or not raw.keys() & {"from", "to"}:
            self._problem(place, "is none of the forms of a knob", f"write {_FORMS}", raw)
            return None
        self._only_keys(place, raw, _RANGE_KEYS)
        if not raw.keys() >= {"from", "to"}:
            self._problem(place, "needs both from and to", "write {from: 1, to: 4}", raw)
            return None
        low = self._value(knob, (*place, "from"), raw["from"])
        high = self._value(knob, (*place, "to"), raw["to"])
        if low is None or high is None:
            return None
        log, step = raw.get("log", False), raw.get("step")
        if low > high:  # type: ignore[operator]
            self._problem(place, "is an empty range: from is above to", "swap them", raw)
        elif not isinstance(log, bool):
            self._problem((*place, "log"), "must be true or false", "write log: true", log)
        elif log and (step is not None or not float(low) > 0):
            self._problem(place, "log goes with neither step nor a start at zero", "leave one out", raw)
        elif step is not None:
            return self._stepped(knob, place, float(low), float(high), step)
        elif knob.odd and low != high:
            self._problem(place, "passes even numbers, and must be odd", "add step: 2", raw)
        else:
            return Choice((low,)) if low == high else Range(float(low), float(high), knob.kind is int, log)
        return None

    def _stepped(self, knob: Knob, place: _Place, low: float, high: float, raw: Any) -> Choice | None:
        try:
            step = parse_number(raw)
        except ValueError as error:
            self._problem((*place, "step"), str(error), "write step: 1", raw)
            return None
        count = (high - low) / step if step > 0 else math.inf
        whole = knob.kind is float or step == int(step)
        if not count < _MOST_CHOICES or not whole or abs(count - round(count)) > 1e-9:
            self._problem((*place, "step"), f"does not lead from {low:g} to {high:g} in whole steps",
                          f"choose a step that divides the range into fewer than {_MOST_CHOICES}", raw)
            return None
        if knob.odd and step % 2:
            self._problem((*place, "step"), "passes even numbers, and must be odd", "write step: 2", raw)
            return None
        numbers = [round(low + index * step, 10) for index in range(round(count) + 1)]
        return Choice(tuple(int(n) if knob.kind is int else n for n in numbers))

    def _value(self, knob: Knob, place: _Place, raw: Any) -> Value | None:
        try:
            value = knob.check(raw)
        except ValueError as error:
            self._problem(place, str(error), _instead(knob, raw), raw if raw is not None else "null")
            return None
        if knob.odd and int(value) % 2 == 0:
            self._problem(place, "must be odd", "write 3, 5 or 7", raw)
            return None
        if knob.name == "block" and ":" in str(value) and not self.trusted:
            try:
                own_block(str(value), Path(self.document.name).parent)
            except NasError as error:
                said = str(error).removeprefix(f"block {value}: ")
                self._problem(place, said, "see 'Your own block' in the README", raw)
                return None
        return value

    # --- rules and limits

    def rules(self, raw: Any) -> tuple[Rule, ...]:
        if raw is None:
            return ()
        if not isinstance(raw, list):
            self._problem(("rules",), "must be a list", "write '- when: {gate: highway}' and 'set: {...}' under it")
            return ()
        found: list[Rule] = []
        for index, item in enumerate(raw):
            place: _Place = ("rules", index)
            whole = isinstance(item, dict) and all(isinstance(item.get(k), dict) and item[k] for k in ("when", "set"))
            if not whole:
                self._problem(place, "must have when: {knob: value} and set: {knob: value}",
                              "write '- when: {gate: highway}' and 'set: {residual_scaling: 1.0}' under it")
                continue
            self._only_keys(place, item, {"when", "set"})
            found += self._rule(place, item)
        return tuple(found)

    def _rule(self, place: _Place, item: Mapping[str, Any]) -> list[Rule]:
        before = len(self.problems)
        when = []
        for key, raw in item["when"].items():
            at = (*place, "when", key)
            target = self._target(at, key)
            if target:
                when.append(self._condition(at, *target, raw))
        rules = []
        for key, raw in item["set"].items():
            at = (*place, "set", key)
            target = self._target(at, key)
            value = self._value(target[0], at, raw) if target else None
            if target and target[0].name == "stages":
                self._problem(at, "is decided before any rule", "make it a choice under network", raw)
            elif target and value is not None:
                knob, stage = target
                if not knob.staged and any(knob_named(c.knob).staged and not c.stage for c in when if c):
                    self._problem(at, "is network-wide, but a condition holds stage by stage",
                                  "name the stage in the condition, e.g. stage1.gate")
                rules.append(Rule(tuple(c for c in when if c), knob.name, stage, value))
        return rules if len(self.problems) == before else []

    def _target(self, place: _Place, key: object) -> tuple[Knob, int] | None:
        prefix, _, rest = str(key).partition(".")
        stage = int(prefix[5:]) if _STAGE.fullmatch(prefix) else 0
        name = rest if stage else str(key)
        knob = knob_named(name) if name in KNOBS or (name in self.sources and name.startswith(OPTION)) else None
        if knob is None or (stage and not knob.staged):
            self._problem(place, "is not a knob", closest(rest if stage else key, KNOBS))
            return None
        if stage > self.most_stages:
            self._problem(place, f"names a stage beyond {self.most_stages}", "correct the number")
            return None
        return knob, stage

    def _condition(self, place: _Place, knob: Knob, stage: int, raw: Any) -> Condition | None:
        if isinstance(raw, dict) and raw.keys() == {"from", "to"}:
            low, high = (self._value(knob, (*place, key), raw[key]) for key in ("from", "to"))
            if isinstance(low, str) or isinstance(high, str):
                self._problem(place, "holds words, which have no range", "write a list of them", raw)
            elif low is not None and high is not None:
                if low > high:
                    self._problem(place, "is an empty range: from is above to", "swap them", raw)
                return Condition(knob.name, stage, bounds=(float(low), float(high)))
            return None
        items = raw if isinstance(raw, list) else [raw]
        if not items or len(items) > _MOST_CHOICES:
            self._problem(place, f"must be from 1 to {_MOST_CHOICES} values", "write a value, or a list of them")
            return None
        values = [self._value(knob, place, item) for item in items]
        return Condition(knob.name, stage, tuple(value for value in values if value is not None))

    def limits(self, raw: Any) -> tuple[Limit, ...]:
        if raw is None:
            return ()
        if not isinstance(raw, dict):
            self._problem(("limits",), "must be a mapping", "write macs: {to: 60M} under it")
            return ()
        found = []
        for name, bounds in raw.items():
            place: _Place = ("limits", name)
            if name not in COSTS:
                self._problem(place, "is not a cost", closest(name, COSTS))
            elif not isinstance(bounds, dict) or all(bound is None for bound in bounds.values()):
                self._problem(place, "must be {from: ..., to: ...}, one of them at least", "write {to: 60M}", bounds)
            else:
                self._only_keys(place, bounds, {"from", "to"})
                low, high = (self._count((*place, key), bounds.get(key)) for key in ("from", "to"))
                if low is not None and high is not None and low > high:
                    self._problem(place, "is empty: from is above to", "swap them", bounds)
                if high == 0:
                    self._problem((*place, "to"), "leaves no network", "raise it", bounds["to"])
                found.append(Limit(str(name), low, high))
        return tuple(found)

    def _count(self, place: _Place, raw: Any) -> int | None:
        if raw is None:
            return None
        try:
            return parse_count(raw)
        except ValueError as error:
            self._problem(place, str(error), "write e.g. 60M", raw)
            return None

    def _only_keys(self, place: _Place, raw: Mapping[Any, Any], known: set[str]) -> None:
        for key in raw:
            if key not in known:
                self._problem((*place, key), "is not known here", closest(key, known))

    def _problem(self, place: _Place, rule: str, remedy: str = "", value: Any = None) -> None:
        self.problems.append(self.document.problem(place, rule, remedy, value))


def _instead(knob: Knob, raw: object) -> str:
    """What to write in place of `raw`, which is no value of the knob."""
    if isinstance(raw, dict | list):
        return f"write {_FORMS}"
    own = ":".join(str(raw).rsplit(".", 1))         # as one writes a function in Python
    if knob.free and re.fullmatch(knob.free, own):
        return f"write {own}"
    if not knob.choices:
        return knob.about
    near = closest(raw, knob.choices)       # or the choices, which the rule has said
    return near if near.endswith("?") else "your own is written module:function" if knob.free else ""


def _by_number(raw: Any) -> Any:
    """Keys that JSON made of stage numbers are numbers again."""
    if not isinstance(raw, dict):
        return raw
    return {int(key) if key in _STAGE_KEYS else key: value for key, value in raw.items()}


def _grown(first: Source, growth: Source, steps: int, knob: Knob) -> Source:
    def source(point: Mapping[str, Value]) -> Value:
        number = min(max(float(first(point)) * float(growth(point)) ** steps, knob.least), knob.most)
        return int(number + 0.5) if knob.kind is int else number
    return source


def _ordered(
    axes: list[Axis], rules: tuple[Rule, ...], document: Document, problems: list[Problem]
) -> tuple[tuple[Axis, ...], tuple[Rule, ...]] | None:
    """Axes and rules so that what decides whether one applies comes before it."""
    graph: dict[str, set[str]] = {axis.knob: {"stages", *knob_named(axis.knob).uses} for axis in axes}
    for rule in rules:
        graph.setdefault(rule.knob, set()).update(condition.knob for condition in rule.when)
    graph.setdefault("stages", set()).discard("stages")
    try:
        # sorted: the order of a set of words is another one in every process, and a search must be the same in all
        order = list(graphlib.TopologicalSorter({k: sorted(graph[k]) for k in sorted(graph)}).static_order())
    except graphlib.CycleError as error:
        knobs = " -> ".join(error.args[1])
        problems.append(document.problem(("rules",), f"decide each other in a circle: {knobs}", "remove a rule"))
        return None
    table = [*regnet.KNOBS, *KNOBS, *sorted(axis.knob for axis in axes if axis.knob.startswith(OPTION))]
    depends = {knob for knob, needs in graph.items() if needs - {"stages"}}

    def rank(axis: Axis) -> tuple[bool, int, int, tuple[int, ...]]:
        late = axis.knob in depends
        return late, order.index(axis.knob) if late else 0, table.index(axis.knob), axis.stages

    return tuple(sorted(axes, key=rank)), tuple(sorted(rules, key=lambda rule: order.index(rule.knob)))
