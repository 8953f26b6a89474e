"""What `nas inspect` says of a study before anything is spent: counts, shares, costs, conflicts, time. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from nas.architecture import Architecture
from nas.cost import COSTS
from nas.data import DataInfo, describe
from nas.errors import NasError
from nas.feasibility import Extremes, Survey, check_limits, extremes, judged, survey
from nas.levels import levels_line, mean_savings
from nas.measure import Speed, recorded_speed
from nas.nodes import Shape
from nas.search.effort import Effort
from nas.search.halving import rungs
from nas.settings import Recipe
from nas.study import Study
from nas.units import human_count, human_seconds, many

_T = TypeVar("_T")
_BINS, _BAR = 8, 30     # of a histogram: rows, and the longest bar in characters


@dataclass(frozen=True)
class Inspection:
    """Everything `nas inspect` found. Costs are of one image."""

    study: Study
    info: DataInfo
    points: int | None              # None: an axis is continuous
    exact: bool
    survey: Survey
    extremes: Extremes | None
    speed: Speed | None
    trial_seconds: float | None     # of a trial of median cost, early stopping counted in

    def to_dict(self) -> dict[str, Any]:
        """For --json. `params`, `macs` and `activations` are the network's where it is one, else min, median, max."""
        names = ("smallest", "largest")
        ends = dict(zip(names, self.extremes, strict=True)) if self.extremes else {}
        return {
            "name": self.study.name, "about": self.study.about,
            "points": self.points, "points_exact": self.exact, "axes": self._axes(),
            "feasible_share": self.survey.share, "drawn": self.survey.drawn, "broken": self.survey.broken,
            "axes_without_effect": list(self.survey.idle), "cautions": self._cautions(),
            **{name: self._cost(name) for name in COSTS},
            **{name: {"point": point, **cost._asdict()} for name, (point, cost) in ends.items()},
            "data": {"name": self.info.name, "resolution": self.info.resolution, "channels": self.info.channels,
                     "classes": self.info.n_classes, "train": self.info.n_train, "validation": self.info.n_validation},
            "seconds_per_trial": self.trial_seconds, "trials_in_budget": self._trials_in_budget(),
            "saved_macs": self._levels(mean_savings)[0] if self.study.recipe.levels else 0.0,
        }

    def lines(self) -> list[str]:
        """For people."""
        study, info = self.study, self.info
        data = (f"data: {info.name}, {info.channels}x{info.resolution}x{info.resolution}, {info.n_classes} classes, "
                f"{info.n_train:,} training images")
        lines = self._of_many(data) if study.space.axes else self._of_one(data)
        if study.recipe.levels:
            lines += ["", f"multi-level: {self._levels(levels_line)}"]
        return [*lines, "", self._time_line()]

    def _of_one(self, data: str) -> list[str]:
        costs = ", ".join(f"{self._cost(name):,} {name}" for name in COSTS)
        line = self.study.space.decode({}).line()
        said = self.study.about.removeprefix(f"{line}; ")      # as an exported folder begins
        about = [f"about: {said}"] if said else []
        return [f"{self.study.name}: {costs}", data, "", line, *about, *(f"caution: {one}" for one in self._cautions())]

    def _cautions(self) -> dict[str, float]:
        return self.survey.cautions(self.study.recipe.levels)

    def _of_many(self, data: str) -> list[str]:
        study = self.study
        count = "continuous points" if self.points is None else \
            f"{'' if self.exact else 'about '}{many(self.points, 'point')}"
        lines = [
            f"{study.name}: {many(len(study.space.axes), 'axis')}, {count}, {self.survey.share:.1%} feasible "
            f"(of {self.survey.drawn:,} drawn)", data, "",
        ]
        for name, axis in self._axes().items():
            lines.append(f"  {name:<20} {axis}")
        if self.survey.broken:
            broken = ", ".join(f"{name} {n / self.survey.drawn:.1%}" for name, n in self.survey.broken.items())
            lines += ["", f"infeasible by: {broken}"]
        for sentence, share in self._cautions().items():
            lines += ["", f"caution: {sentence} ({share:.0%} of the networks)"]
        if self.survey.idle:
            lines += ["", f"without effect: {', '.join(self.survey.idle)}"]
        for name in ("macs", "params"):
            lines += ["", f"{name} of the feasible networks", *_histogram(self._values(name))]
        if self.extremes:
            lines.append("")
            for word, (point, cost) in zip(("smallest", "largest"), self.extremes, strict=True):
                line = study.space.decode(point).line()
                lines.append(f"{word}: {human_count(cost.macs)} MACs, {human_count(cost.params)} params  {line}")
        return lines

    def _axes(self) -> dict[str, str]:
        found = {}
        for axis in self.study.space.axes:
            domain = axis.domain
            values = getattr(domain, "values", None)
            found[axis.name] = ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values) if values \
                else f"{domain.low:g} to {domain.high:g}{' (log)' if domain.log else ''}"  # type: ignore[union-attr]
        return found

    def _values(self, name: str) -> list[int]:
        return sorted(getattr(judged.cost, name) for _, judged in self.survey.feasible)

    def _cost(self, name: str) -> Any:
        values = self._values(name)
        if not values:
            return None
        if not self.study.space.axes:
            return values[0]
        return {"min": values[0], "median": values[len(values) // 2], "max": values[-1]}

    def _levels(self, told: Callable[[list[Architecture], Recipe, Shape, int], _T]) -> _T:
        info = self.info
        return told(self.survey.architectures, self.study.recipe, (info.channels, info.resolution, info.resolution),
                    info.n_classes)

    def _trials_in_budget(self) -> int | None:
        time = self.study.budget.time
        return int(time / self.trial_seconds) if time and self.trial_seconds else self.study.budget.trials

    def _time_line(self) -> str:
        if self.speed is None or self.trial_seconds is None:
            return "time: no speed measured on this machine yet; the first nas run measures it"
        budget = self.study.budget
        about = f"time: about {human_seconds(self.trial_seconds)} a trial on one {self.speed.device} worker"
        if budget.time:
            fit = many(self._trials_in_budget() or 0, "trial")
            return f"{about}; about {fit} in {human_seconds(budget.time)} for each worker"
        if not self.study.space.axes:
            return about
        count = many(budget.trials or 0, "trial")
        take = f"{count} {'takes' if budget.trials == 1 else 'take'}"
        return f"{about}; {take} about {human_seconds((budget.trials or 0) * self.trial_seconds)}"


def inspect_study(study: Study, progress: Callable[[str], None] | None = None, draws: int = 2000) -> Inspection:
    """Judge a sample of the study's space by its exact costs. Raises `NasError` where nothing is feasible."""
    with study.blamed():
        info = describe(study.data, progress)
        shape, classes = (info.channels, info.resolution, info.resolution), info.n_classes
        drawn = judged(study.space, shape, classes, draws if study.space.axes else 1)
        check_limits(study.space, shape, classes, drawn)
    points, exact = study.space.size([point for point, _ in drawn])
    seen = survey(study.space, shape, classes, drawn=drawn)
    if not seen.feasible:
        broken = ", ".join(f"{name} {count}" for name, count in seen.broken.items())
        raise NasError(f"none of {seen.drawn} points drawn is feasible (broken: {broken}); widen the limits")
    speed = recorded_speed()
    seconds = _trial_seconds(study, info, seen, speed) if speed is not None else None
    ends = extremes(study.space, shape, classes, within=True, drawn=drawn)
    return Inspection(study, info, points, exact, seen, ends, speed, seconds)


def _trial_seconds(study: Study, info: DataInfo, seen: Survey, speed: Speed) -> float:
    """A trial of mean cost; early stopping lets one in eta pass each rung."""
    settings, whole = study.search.early_stopping, study.recipe.epochs
    effort = Effort(study.recipe, (info.channels, info.resolution, info.resolution), info.n_classes)
    networks = [(judgement.architecture, judgement.cost.macs) for _, judgement in seen.feasible if judgement.cost]
    total, share, before = 0.0, 1.0, 0.0
    for rung in (*rungs(settings, whole), whole):
        until = rung * sum(effort.mean(network, macs, rung) for network, macs in networks) / len(networks)
        total += share * (until - before)
        share, before = share / settings.eta, until
    return total * (info.n_train + info.n_validation / 3) / speed.macs_per_second


def _histogram(values: Sequence[int]) -> list[str]:
    """Bars over bins of equal width in the log."""
    low, high = math.log(values[0]), math.log(values[-1])
    if high - low < 1e-9:
        return [f"  {human_count(values[0]):>7}  all of them"]
    edges = [math.exp(low + (high - low) * i / _BINS) for i in range(_BINS + 1)]
    counts = [0] * _BINS
    for value in values:
        counts[min(_BINS - 1, int((math.log(value) - low) / (high - low) * _BINS))] += 1
    longest = max(counts)
    bars = ["█" * math.ceil(_BAR * count / longest) for count in counts]
    return [f"  {human_count(edges[i]):>7} to {human_count(edges[i + 1]):<7} {bars[i]:<{_BAR}} {count}"
            for i, count in enumerate(counts)]
