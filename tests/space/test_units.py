"""Human quantities: what people write, exactly, and what they may not."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.units import human_count, human_seconds, many, parse_count, parse_duration, parse_number


@pytest.mark.parametrize(("text", "count"), [
    ("60M", 60_000_000), ("1.5G", 1_500_000_000), ("20k", 20_000), ("20K", 20_000), ("2T", 2 * 10**12), ("7", 7),
    (" 60 M ", 60_000_000), (250_000, 250_000), (0, 0), (1e6, 1_000_000), ("0.001k", 1), ("1.1M", 1_100_000),
    ("0.3G", 300_000_000), (10**18, 10**18)])
def test_counts(text: object, count: int) -> None:
    assert parse_count(text) == count
    assert isinstance(parse_count(text), int)


def test_one_is_not_many() -> None:
    assert [many(n, "axis") for n in (0, 1, 2)] == ["0 axes", "1 axis", "2 axes"]
    assert [many(n, "point") for n in (1, 1000)] == ["1 point", "1,000 points"]


@pytest.mark.parametrize("text", [
    "60MB", "M", "", "-1", -1, "1,000", "1e6M", True, None, [], {}, 1.5, "1.5", "1.0005k", math.inf, -math.inf,
    math.nan, "9" * 100, "9" * 5000, 10**19, 1e300, "٣", "½", "60m", "0x10", "1_000"])
def test_what_is_no_count(text: object) -> None:
    with pytest.raises(ValueError, match="count"):
        parse_count(text)


@given(st.integers(0, 10**9), st.sampled_from(["", "k", "M", "G"]))
def test_count_round_trip(number: int, letter: str) -> None:
    factor = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}[letter]
    assert parse_count(f"{number}{letter}") == number * factor


@given(st.integers(0, 10**15))
def test_human_count_is_near(number: int) -> None:
    assert parse_count(human_count(number)) == pytest.approx(number, rel=0.006, abs=0.5)


@pytest.mark.parametrize(("number", "text"), [
    (0, "0"), (812, "812"), (999, "999"), (1000, "1k"), (40_551_040, "40.6M"), (1_730_714, "1.73M"), (999_999, "1M"),
    (4_089_184_256, "4.09G")])
def test_human_counts(number: int, text: str) -> None:
    assert human_count(number) == text


@pytest.mark.parametrize(("text", "seconds"), [
    ("90s", 90), ("30m", 1800), ("12h", 43_200), ("2d", 172_800), ("1h30m", 5400), ("1h 30m", 5400), ("0.5h", 1800),
    (90, 90), (0.5, 0.5), (" 5m ", 300)])
def test_durations(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds
    assert isinstance(parse_duration(text), float)


@pytest.mark.parametrize("text", [
    "", "30", "m", "30 minutes", "1h-30m", "-5m", 0, "0s", -1, True, None, [], math.inf, math.nan, "9" * 400 + "s",
    10**400, "11574d 2h", "1:30", "30M"])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_duration(text)


@pytest.mark.parametrize(("text", "number"), [
    ("1/16", 0.0625), ("1 / 4", 0.25), (3, 3), (0.5, 0.5), ("0/5", 0.0), ("4/2", 2.0)])
def test_numbers(text: object, number: float) -> None:
    assert parse_number(text) == number


@pytest.mark.parametrize("text", [
    "1/0", "0.5", "1/-4", "1/4/2", "/", "", True, None, [], math.inf, -math.inf, math.nan, "9" * 400 + "/1",
    "1/" + "9" * 400, "٣/٤"])
def test_what_is_no_number(text: object) -> None:
    with pytest.raises(ValueError, match="number"):
        parse_number(text)


@pytest.mark.parametrize(("seconds", "text"), [
    (0.41, "0.4s"), (9.94, "9.9s"), (9.99, "10s"), (52, "52s"), (200, "3m 20s"), (7500, "2h 05m"), (0, "0.0s")])
def test_human_seconds(seconds: float, text: str) -> None:
    assert human_seconds(seconds) == text
