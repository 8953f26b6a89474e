"""What is said of a few seeds, against closed forms and by hand."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from scipy import stats

from nas.confirm.statistics import Spread, non_dominated_probability, rank_correlation

GROUPS = [[0.90, 0.92, 0.91], [0.80, 0.84], [0.7]]


def test_the_spread_is_pooled() -> None:
    squares = 2 * statistics.variance(GROUPS[0]) + statistics.variance(GROUPS[1])
    spread = Spread.of(GROUPS)
    assert spread.freedom == 3
    assert spread.std == pytest.approx(math.sqrt(squares / 3))


def test_intervals_are_students() -> None:
    spread = Spread.of(GROUPS)
    found = spread.interval(GROUPS[0])
    half = stats.t.ppf(0.975, 3) * spread.std / math.sqrt(3)
    assert (found.estimate, found.low, found.high) == pytest.approx((0.91, 0.91 - half, 0.91 + half))
    assert spread.interval(GROUPS[2]).high == pytest.approx(0.7 + half * math.sqrt(3))


def test_one_seed_each_gives_no_interval() -> None:
    spread = Spread.of([[0.9], [0.8]])
    found = spread.interval([0.9])
    assert (found.estimate, found.low, found.high) == (0.9, None, None)
    assert non_dominated_probability([[0.9], [0.8]], [[1], [2]], spread) == [None, None]


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = random.Random(0)
    held = 0
    for _ in range(1000):
        groups = [[rng.gauss(0.8, 0.01) for _ in range(3)] for _ in range(5)]
        found = Spread.of(groups).interval(groups[0])
        held += found.low <= 0.8 <= found.high
    assert 930 <= held <= 970


@pytest.mark.parametrize(("groups", "costs", "wanted"), [
    ([[0.9, 0.91], [0.9, 0.91]], [[1], [2]], [1.0, 0.5]),          # as good and cheaper: the other is ahead by half
    ([[0.9, 0.91], [0.9, 0.91]], [[1], [1]], [0.5, 0.5]),          # of equal cost one is ahead
    ([[0.5, 0.501], [0.9, 0.901]], [[1], [2]], [1.0, 1.0]),        # dearer and better
    ([[0.9, 0.901], [0.5, 0.501]], [[1], [2]], [1.0, 0.0]),        # dearer and worse
    ([[0.9, 0.91]] * 3, [[1], [1], [1]], [1 / 3] * 3),
    ([[0.9, 0.91], [0.9, 0.91]], [[1, 2], [2, 1]], [1.0, 1.0]),    # each is cheaper in one cost
])
def test_the_probability_of_being_on_the_front(groups: list[list[float]], costs: list[list[int]],
                                               wanted: list[float]) -> None:
    found = non_dominated_probability(groups, costs, Spread.of(groups))
    assert found == pytest.approx(wanted, abs=0.02)


def test_the_probability_of_a_difference_is_students() -> None:
    """Of two networks of equal cost: P(T > -d / (s sqrt(2 / n))), with the pooled degrees of freedom."""
    groups = [[0.90, 0.92, 0.91], [0.89, 0.91, 0.90]]
    spread = Spread.of(groups)
    wanted = stats.t.cdf(0.01 / (spread.std * math.sqrt(2 / 3)), spread.freedom)
    assert non_dominated_probability(groups, [[1], [1]], spread)[0] == pytest.approx(wanted, abs=0.01)


def test_rank_correlation_is_spearmans() -> None:
    one, other = [0.1, 0.4, 0.2, 0.9, 0.5], [0.3, 0.35, 0.2, 0.8, 0.9]
    found = rank_correlation(one, other)
    assert found.estimate == pytest.approx(stats.spearmanr(one, other).statistic)
    assert found.low < found.estimate < found.high
    assert rank_correlation([1, 2, 3, 4], [10, 20, 30, 40]).estimate == pytest.approx(1)
    assert rank_correlation([1, 2], [1, 2]) is None
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None
