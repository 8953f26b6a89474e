"""Warm-up, rounds and what is said to be noise, on a clock that only the timed step moves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nas.latency.rounds import Neighbours, Rounds, timed


class Machine:
    """Its steps take what `took(number)` says, in milliseconds; nothing else takes any time."""

    def __init__(self, took: Callable[[int], float]):
        self.now, self.steps, self.took = 0.0, 0, took

    def step(self) -> None:
        self.now += self.took(self.steps) / 1000
        self.steps += 1

    def rounds(self, others: float | None = 0.0, seconds: float = 1.0) -> Rounds:
        class Beside(Neighbours):
            def cores(self) -> float | None:
                return others

        return timed(self.step, 1, seconds, lambda: self.now, Beside)


def rounds(*milliseconds: float, stable: bool = True, others: float | None = 0.0) -> Rounds:
    return Rounds(tuple(one / 1000 for one in milliseconds), stable, others, 1)


def test_slow_first_steps_are_no_rounds() -> None:
    found = Machine(lambda step: 10 + 200 * 0.7**step).rounds()
    assert found.stable
    assert max(found.seconds) < 1.2 * min(found.seconds)
    assert found.noise() == []


def test_what_never_settles_is_said_to_be_so() -> None:
    found = Machine(lambda step: 100 if step // 5 % 2 else 50).rounds()
    assert not found.stable
    assert found.noise()[0] == "not stable after 2 s of warm-up"


@pytest.mark.parametrize(("took", "count"), [(10, 100), (400, 20)])
def test_rounds_take_the_time_they_are_given_and_are_twenty_at_least(took: float, count: int) -> None:
    found = Machine(lambda step: took).rounds()
    assert len(found.seconds) == pytest.approx(count, abs=1)
    assert (found.median, found.p95) == pytest.approx((took / 1000, took / 1000))


def test_the_figures_are_those_of_the_textbook() -> None:
    found = rounds(*range(1, 102))
    assert (1000 * found.median, 1000 * found.p95, 1000 * found.undisturbed) == pytest.approx((51, 96, 11))
    assert [1000 * one for one in found.quartiles] == pytest.approx([26, 76])


@pytest.mark.parametrize(("found", "said"), [
    (rounds(*[10.0] * 40), ""),
    (rounds(*[10.0, 10.9] * 20), ""),
    (rounds(*[10.0, 12.0] * 20), "the middle half of the rounds spreads over 18% of the median"),
    (rounds(*[10.0] * 20, *[10.8] * 20), "the second half was 8% slower than the first"),
    (rounds(*[10.8] * 20, *[10.0] * 20), "the second half was 8% faster than the first"),
    (rounds(*[10.0] * 40, others=1.05), ""),
    (rounds(*[10.0] * 40, others=1.4), "other processes used 1.4 cores, and 1 were free"),
    (rounds(*[10.0] * 40, others=None), ""),
    (rounds(*[10.0] * 38, 900.0, 900.0), ""),        # two bursts of something else change neither median nor quartiles
])
def test_noise_is_flagged_with_its_reason(found: Rounds, said: str) -> None:
    assert found.noise() == ([said] if said else [])
