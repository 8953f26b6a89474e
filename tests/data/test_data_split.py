"""The stratified split: properties over random class counts, and the rules of its sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.data.split import Sizes, at_least_one, chosen_for_test, quotas, sizes, split
from nas.errors import InvalidInput
from nas.settings import Data

COUNTS = st.lists(st.integers(2, 60), min_size=2, max_size=8)


def labels_of(counts: list[int], seed: int) -> np.ndarray:
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(seed).permutation(labels)


@given(COUNTS, st.floats(0.01, 0.99), st.integers(0, 2**32 - 1))
def test_a_whole_split_is_disjoint_complete_seeded_and_stratified(
        counts: list[int], share: float, seed: int) -> None:
    labels = labels_of(counts, 0)
    classes, whole = len(counts), sum(counts)
    held = min(max(1, round(share * whole)), whole - classes)
    train, validation = split(labels, Sizes(whole - held, held), seed, classes)
    assert sorted([*train, *validation]) == list(range(whole))
    assert len(validation) == held
    again = split(labels, Sizes(whole - held, held), seed, classes)
    assert np.array_equal(train, again[0])
    assert np.array_equal(validation, again[1])
    assert np.bincount(labels[train], minlength=classes).min() >= 1
    exact = held * np.array(counts) / whole
    if np.all(exact <= np.array(counts) - 1):   # else keeping one image of every class to train on comes first
        assert np.all(np.abs(np.bincount(labels[validation], minlength=classes) - exact) <= 1)


@given(COUNTS, st.data())
def test_a_subset_is_disjoint_and_stratified_among_what_is_left(counts: list[int], data: st.DataObject) -> None:
    labels = labels_of(counts, 1)
    classes, whole = len(counts), sum(counts)
    held = data.draw(st.integers(1, whole - classes))
    used = data.draw(st.integers(classes, whole - held))
    train, validation = split(labels, Sizes(used, held), 7, classes)
    assert len(set(train) | set(validation)) == used + held == len(train) + len(validation)
    shares = np.bincount(labels[train], minlength=classes)
    assert shares.min() >= 1
    left = np.array(counts) - np.bincount(labels[validation], minlength=classes)
    exact = used * left / left.sum()
    if exact.min() >= 1:
        assert np.all(np.abs(shares - exact) < 1)


@given(COUNTS, st.data())
def test_quotas_add_up_and_stay_within_one(counts: list[int], data: st.DataObject) -> None:
    total = data.draw(st.integers(0, sum(counts)))
    shares = quotas(counts, total)
    assert sum(shares) == total
    assert all(share <= count for share, count in zip(shares, counts, strict=True))
    assert all(abs(share - total * count / sum(counts)) < 1 for share, count in zip(shares, counts, strict=True))


def test_at_least_one_takes_from_the_largest() -> None:
    assert at_least_one([0, 5, 0, 6]) == [1, 4, 1, 5]


def test_seeds_differ_and_larger_subsets_contain_smaller_ones() -> None:
    labels = labels_of([100, 100], 2)
    small, held = split(labels, Sizes(40, 20), 0, 2)
    large, _ = split(labels, Sizes(80, 20), 0, 2)
    assert set(small) <= set(large)
    assert set(held) != set(split(labels, Sizes(40, 20), 1, 2)[1])


def test_our_test_part_is_a_fifth_and_always_the_same() -> None:
    chosen = chosen_for_test([50, 25, 2])
    assert [len(ranks) for ranks in chosen] == [10, 5, 0]
    assert chosen == chosen_for_test([50, 25, 2])


@pytest.mark.parametrize(("train", "share", "expected"), [
    (None, 0.2, Sizes(40_000, 10_000)),
    (10_000, 0.2, Sizes(10_000, 5_000)),
    (30_000, 0.2, Sizes(30_000, 10_000)),
    (40_000, 0.2, Sizes(40_000, 10_000)),
    (33_333, 0.9, Sizes(33_333, 16_666)),
])
def test_sizes(train: int | None, share: float, expected: Sizes) -> None:
    assert sizes(Data(train=train, validation=share), 50_000, 10) == expected


@given(st.integers(20, 500), st.floats(0.01, 0.99), st.integers(10, 600))
def test_what_is_admitted_fits_and_the_largest_is_named(available: int, share: float, train: int) -> None:
    try:
        wanted = sizes(Data(train=train, validation=share), available, 2)
    except InvalidInput as error:
        most = int(str(error).rpartition(" ")[2])
        assert most < train
        best = sizes(Data(train=most, validation=share), available, 2)
        assert best.train + best.validation <= available
    else:
        assert wanted.train == train
        assert wanted.train + wanted.validation <= available
        assert wanted.validation >= 1


@pytest.mark.parametrize(("data", "said"), [
    (Data(train=50_000), "give at most 40000"),
    (Data(train=10), "one image for each of 100 classes"),
    (Data(validation=0.9999), "give at most 0.998"),
])
def test_impossible_sizes_are_one_line(data: Data, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        sizes(data, 50_000, 100)
    assert "\n" not in str(caught.value)
    assert "data." in str(caught.value)
