"""Dominance, hypervolume and knee against closed forms and against slow exact references."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.front import Objective, hypervolume, knee, non_dominated

MAX_MIN = ["max", "min"]


def better_or_equal(a: float, b: float, direction: str) -> bool:
    return a >= b if direction == "max" else a <= b


def dominates(a: list[float], b: list[float], directions: list[str]) -> bool:
    """At least as good everywhere, and not the same."""
    return a != b and all(better_or_equal(x, y, d) for x, y, d in zip(a, b, directions, strict=True))


def slow_front(values: list[list[float]], directions: list[str]) -> list[int]:
    return [i for i, value in enumerate(values)
            if value not in values[:i] and not any(dominates(other, value, directions) for other in values)]


def slow_hypervolume(values: list[list[int]], reference: list[int]) -> Fraction:
    """Unit by unit on an integer grid, everything minimised: cells that some point dominates."""
    cells = product(*(range(min([r, *column]), r) for r, *column in zip(reference, *values, strict=True)))
    return Fraction(sum(any(all(v <= c for v, c in zip(value, cell, strict=True)) for value in values)
                        for cell in cells))


def grids(columns: int, most: int = 6, rows: int = 12) -> st.SearchStrategy[list[list[int]]]:
    return st.lists(st.lists(st.integers(0, most), min_size=columns, max_size=columns), max_size=rows)


def test_closed_form_front() -> None:
    assert non_dominated([[0.5, 10], [0.6, 20], [0.55, 30], [0.7, 30]], MAX_MIN) == [0, 1, 3]
    assert non_dominated([], MAX_MIN) == []
    assert non_dominated([[0.5], [0.7], [0.7]], ["max"]) == [1]


def test_first_of_duplicates_stands_for_all() -> None:
    assert non_dominated([[1, 1], [1, 1], [2, 2], [1, 1]], MAX_MIN) == [0, 2]


def test_nan_is_never_on_the_front() -> None:
    nan = float("nan")
    assert non_dominated([[nan, 1], [0.2, 5], [0.9, nan]], MAX_MIN) == [1]
    assert non_dominated([[nan, nan]], MAX_MIN) == []


@given(st.data(), st.integers(1, 4))
def test_front_equals_the_slow_one(data: st.DataObject, columns: int) -> None:
    values = data.draw(grids(columns))
    directions = data.draw(st.lists(st.sampled_from(["max", "min"]), min_size=columns, max_size=columns))
    found = non_dominated(values, directions)
    assert found == slow_front(values, directions)
    assert not any(dominates(other, values[i], directions) for i in found for other in values)


def test_closed_form_hypervolume() -> None:
    assert hypervolume([[0.5, 2], [0.75, 4]], MAX_MIN, [0, 10]) == pytest.approx(0.5 * 2 + 0.75 * 6)
    assert hypervolume([], MAX_MIN, [0, 10]) == 0
    assert hypervolume([[0.5, 10], [0, 1], [-1, 20], [float("nan"), 1]], MAX_MIN, [0, 10]) == 0
    assert hypervolume([[3]], ["min"], [10]) == 7


@given(st.integers(1, 3).flatmap(grids))
def test_hypervolume_equals_cell_counting(values: list[list[int]]) -> None:
    columns = len(values[0]) if values else 2
    directions, reference = ["min"] * columns, [5] * columns
    assert hypervolume(values, directions, reference) == pytest.approx(float(slow_hypervolume(values, reference)))


@given(grids(2), st.lists(st.integers(0, 6), min_size=2, max_size=2))
def test_hypervolume_never_falls_with_one_more_point(values: list[list[int]], point: list[int]) -> None:
    before, after = (hypervolume(v, MAX_MIN, [0, 7]) for v in (values, [*values, point]))
    assert after >= before - 1e-9


def test_knee_is_the_bend() -> None:
    values = [[0.1, 1e6], [0.8, 1e7], [0.85, 1e8], [0.9, 1e9], [0.3, 1e8]]
    assert knee(values, MAX_MIN) == 1
    assert knee([[a, cost * 1000] for a, cost in values], MAX_MIN) == 1        # units do not matter


def test_knee_of_small_fronts() -> None:
    assert knee([[0.5, 3]], MAX_MIN) == 0
    assert knee([[0.5, 3], [0.6, 9]], MAX_MIN) == 0
    assert knee([[0.5], [0.9], [0.7]], ["max"]) == 1
    with pytest.raises(ValueError, match="no point"):
        knee([], MAX_MIN)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(1, 1e9)), min_size=1, max_size=20))
def test_knee_is_on_the_front(points: list[tuple[float, float]]) -> None:
    values = [list(point) for point in points]
    assert knee(values, MAX_MIN) in non_dominated(values, MAX_MIN)


def test_direction_is_checked() -> None:
    with pytest.raises(ValueError, match="max or min"):
        Objective("accuracy", "up")
    with pytest.raises(ValueError, match="max or min"):
        non_dominated([[1.0]], ["up"])
