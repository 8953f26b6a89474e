"""The shipped search spaces, and random points of them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from nas.architecture import Architecture
from nas.space import Point, SearchSpace
from nas.study import load_study

SPACES = sorted((Path(__file__).parents[1] / "search_spaces").glob("*.yaml"), key=lambda path: path.stem)
SPACE_NAMES = [path.stem for path in SPACES]


@lru_cache
def space_named(name: str) -> SearchSpace:
    """A shipped search space."""
    return load_study(next(path for path in SPACES if path.stem == name)).space


def legal_points(name: str, count: int, seed: int = 0) -> Iterator[tuple[Point, Architecture]]:
    """`count` random points of a shipped space whose networks are legal."""
    space, rng = space_named(name), random.Random(seed)
    while count:
        point = space.sample(rng)
        architecture = space.decode(point)
        if architecture.conflict() is None:
            yield point, architecture
            count -= 1
