"""What is claimed and what was found: a check, its finding, and the few ways to compare. Nothing is measured here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import plotly.graph_objects as go

Value: TypeAlias = float | int | str | Sequence["float | int | str"]


class Tier(StrEnum):
    """exact: in seconds. init: of networks as they start, in minutes. trained: of networks that are trained here."""

    exact = "exact"
    init = "init"
    trained = "trained"


@dataclass(frozen=True, slots=True)
class Finding:
    """predicted, measured: numbers, or words. passed: None where nothing is asserted."""

    predicted: Value
    measured: Value
    tolerance: str
    passed: bool | None
    figures: tuple[go.Figure, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Check:
    """One claim. source: where it is made. measure: without arguments, but those of trained networks take a `Lab`."""

    tier: Tier
    claim: str
    source: str
    measure: Callable[..., Finding]


def exactly(predicted: Value, measured: Value) -> Finding:
    """Equal to the last digit."""
    return Finding(predicted, measured, "exact", predicted == measured)


def near(predicted: float | Sequence[float], measured: float | Sequence[float], tolerance: float, *,
         relative: bool = False, figures: tuple[go.Figure, ...] = ()) -> Finding:
    """Within `tolerance`, of each number; relative: a share of what is predicted."""
    wanted, found = _numbers(predicted), _numbers(measured)
    passed = len(wanted) == len(found) and all(
        abs(m - p) <= tolerance * (abs(p) if relative else 1) for p, m in zip(wanted, found, strict=True))
    return Finding(predicted, measured, f"± {100 * tolerance:g} %" if relative else f"± {tolerance:g}", passed, figures)


def between(low: float, high: float, measured: float | Sequence[float], predicted: Value = "", *,
            figures: tuple[go.Figure, ...] = ()) -> Finding:
    """From `low` to `high`, each number."""
    passed = all(low <= one <= high for one in _numbers(measured))
    bounds = f"< {high:g}" if low == -math.inf else f"> {low:g}" if high == math.inf else f"{low:g} to {high:g}"
    return Finding(predicted or bounds, measured, bounds, passed, figures)


def monotone(measured: Sequence[float], *, rising: bool, predicted: Value = "", least: float = 0.0,
             figures: tuple[go.Figure, ...] = ()) -> Finding:
    """Each number above (or below) the one before, by more than `least`."""
    passed = all((b - a if rising else a - b) > least for a, b in pairwise(measured))
    word = "rises" if rising else "falls"
    return Finding(predicted or word, measured, f"{word} at each step", passed, figures)


def broken(error: Exception) -> Finding:
    """A check that could not be made: the network does not run, or lacks what the claim speaks of."""
    return Finding("runs", f"{type(error).__name__}: {error}".splitlines()[0][:200], "", False)


def shown(value: Value) -> str:
    """For people: four digits, integers whole."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(shown(one) for one in value)


def _numbers(value: float | Sequence[float]) -> Sequence[float]:
    return [value] if isinstance(value, float | int) else value
