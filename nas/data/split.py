"""Seeded, stratified splits: how many images of which class go where, and which ones.

Pure arithmetic on class counts and labels; it neither reads nor holds images. A split depends on the labels,
the sizes and the seed alone, so it is the same on every machine and under every worker count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas.data.values import Labels
from nas.errors import InvalidInput, NasError, Problem, one_line, shown
from nas.settings import Data

TEST_SHARE = 0.2
TEST_SEED = 20_161_117
"""Our own test part is the same for every `data.seed`, so that no search can reach it by reseeding."""

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Images to train on and to validate on."""

    train: int
    validation: int


def sizes(data: Data, available: int, classes: int) -> Sizes:
    """How `available` images of the training part, of `classes` classes, are used.

    The validation split is `data.validation` of the training part, but at most half as many images as
    `data.train` where that is given: 10,000 images of 50,000 are validated on 5,000, not on 10,000. At least
    one image per class is left to train on. Raises `InvalidInput` where that does not go.
    """
    validation = max(1, round(data.validation * available))
    if data.train is None:
        if validation > available - classes:
            raise InvalidInput([Problem("", "data.validation", value=data.validation, rule=(
                f"leaves fewer than one training image for each of {classes} classes, of {available} images"),
                remedy=f"give at most {(available - classes) / available:.3g}")])
        return Sizes(available - validation, validation)
    if data.train < classes:
        raise InvalidInput([Problem("", "data.train", value=data.train, rule=(
            f"is less than one image for each of {classes} classes"), remedy=f"give at least {classes}")])
    largest = max(available - validation, (2 * available + 1) // 3)
    if data.train > largest:
        raise InvalidInput([Problem("", "data.train", value=data.train, rule=(
            f"more than there is: the training part has {available} images, some held out for validation"),
            remedy=f"give at most {largest}")])
    return Sizes(data.train, min(validation, data.train // 2))


def quotas(counts: Sequence[int], total: int, keep: int = 0) -> list[int]:
    """Share `total` among classes of `counts` images in proportion, by largest remainder, ties to the lower
    index.

    Every quota is within one of its exact share, and leaves at least `keep` images of its class where the
    exact share does. Requires `total <= sum(max(0, count - keep))`.
    """
    whole = sum(counts)
    base = [min(total * count // whole, max(0, count - keep)) for count in counts]
    order = sorted(range(len(counts)), key=lambda i: (-(total * counts[i] % whole), i))
    missing = total - sum(base)
    assert total <= sum(max(0, count - keep) for count in counts), "more asked for than there is"
    while missing:
        for i in order:
            if missing and base[i] < counts[i] - keep:
                base[i] += 1
                missing -= 1
    return base


def at_least_one(shares: list[int]) -> list[int]:
    """`shares` with zeros raised to one, at the cost of the largest. Requires as many in all as classes."""
    shares = list(shares)
    for i in [i for i, share in enumerate(shares) if share == 0]:
        largest = max(range(len(shares)), key=lambda j: shares[j])
        shares[largest] -= 1
        shares[i] = 1
    return shares


def split(labels: Labels, wanted: Sizes, seed: int, classes: int) -> tuple[Indices, Indices]:
    """Indices, ascending, of the training and of the validation images among `labels` of shape (N,).

    Disjoint and stratified; complete where `wanted` adds up to N. With one seed, a larger `wanted.train` goes
    on where a smaller one ended, class by class. Raises `NasError` if a class has fewer than two images.
    """
    counts = [int(count) for count in np.bincount(labels, minlength=classes)]
    held = quotas(counts, wanted.validation, keep=1)
    left = [count - taken for count, taken in zip(counts, held, strict=True)]
    used = at_least_one(quotas(left, wanted.train))
    random = np.random.Generator(np.random.PCG64(seed))
    train, validation = [], []
    for label in range(classes):
        order = random.permutation(np.flatnonzero(labels == label))
        validation.append(order[: held[label]])
        train.append(order[len(order) - used[label]:])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(validation))


def enough(counts: Sequence[int], classes: Sequence[str], name: str) -> None:
    """Raises `NasError` unless every class has an image to train on and one to validate on."""
    for count, label in zip(counts, classes, strict=True):
        if count < 2:
            found = "no readable image" if count == 0 else "one readable image"
            raise NasError(one_line(
                f"{name}: class {shown(label)}: {found} to train on; at least two are needed (one is held out for "
                "validation): add images or remove the class"))


def chosen_for_test(counts: Sequence[int]) -> list[frozenset[int]]:
    """Which of the images of each class, by their rank in the class, are held out as our own test part.

    A fifth, stratified, by a fixed seed; two images of every class at least stay for training and validation.
    """
    spare = sum(max(0, count - 2) for count in counts)
    shares = quotas(counts, min(round(TEST_SHARE * sum(counts)), spare), keep=2)
    random = np.random.Generator(np.random.PCG64(TEST_SEED))
    return [frozenset(int(i) for i in random.permutation(count)[:share])
            for count, share in zip(counts, shares, strict=True)]
