"""Intervals against published ones, definitions and closed forms."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from nas.intervals import mean_interval, wilson


def test_wilson() -> None:
    """Newcombe 1998, table I, method 3; and the definition: where the share is 1.96 deviations away."""
    for right, images, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611),
                                     (1, 29, 0.0061, 0.1718), (29, 29, 0.8830, 1)):
        assert wilson(right, images) == pytest.approx((low, high), abs=5e-5)
    for right, images in ((3, 7), (500, 1000), (99_999, 100_000)):
        for edge in wilson(right, images):
            assert abs(right / images - edge) / math.sqrt(edge * (1 - edge) / images) == pytest.approx(1.96, abs=1e-3)
    assert wilson(1, 1)[1] == 1


def test_the_interval_of_a_mean() -> None:
    found = mean_interval([0.1, 0.3, 0.2])
    half = stats.t.ppf(0.975, 2) * 0.1 / math.sqrt(3)
    assert (found.estimate, found.low, found.high) == pytest.approx((0.2, 0.2 - half, 0.2 + half))
    two = mean_interval([0.500, 0.502])     # with two, Student's is a Cauchy's
    assert two.high - two.low == pytest.approx(2 * math.tan(0.475 * math.pi) * 0.001)
    assert mean_interval([0.1]).low is None
    assert mean_interval([]) is None
