"""Helpers of the search spaces' tests: spaces from a few words of YAML, and what is wrong with them, line by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.errors import InvalidInput
from nas.space import Axis, Choice, Range, SearchSpace
from nas.study import Study, study_from_text

SPACES = sorted((Path(__file__).parents[2] / "search_spaces").glob("*.yaml"), key=lambda path: path.stem)
SHAPE, CLASSES = (1, 8, 8), 10


def study(network: str, more: str = "") -> Study:
    """The study of a `network` section in flow style and more sections."""
    return study_from_text(f"network: {network}\n{more}", "s.yaml")


def space(network: str, rules: str = "[]", limits: str = "null") -> SearchSpace:
    """The space of three sections in flow style."""
    return study(network, f"rules: {rules}\nlimits: {limits}\n").space


def axis(found: SearchSpace, name: str) -> Axis:
    """The axis of that name."""
    return next(axis for axis in found.axes if axis.name == name)


def domain(found: SearchSpace, name: str) -> Choice | Range:
    """What the axis of that name ranges over."""
    return axis(found, name).domain


def names(found: SearchSpace) -> list[str]:
    """The names of the axes in the order in which they are decided."""
    return [axis.name for axis in found.axes]


def mistakes(text: str) -> list[str]:
    """What is wrong with a file of that text, a line each."""
    with pytest.raises(InvalidInput) as caught:
        study_from_text(text, "s.yaml")
    return str(caught.value).splitlines()


def mistake(text: str) -> str:
    """The one thing that is wrong with a file of that text."""
    found = mistakes(text)
    assert len(found) == 1, found
    return found[0]
