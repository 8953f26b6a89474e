"""A network written in the language of search spaces reads back as the same network."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.architecture import ACTIVATIONS, BLOCKS, GATES, ORDERS, SHORTCUTS, STEMS, STRIDES_IN, Architecture, Stage
from nas.network_yaml import network_section
from nas.studies import yaml_text
from nas.study import load_study, study_from_text

SPACES = sorted((Path(__file__).parents[2] / "search_spaces").glob("*.yaml"))

odd = st.sampled_from([1, 3, 5, 7])
stages = st.builds(
    Stage, depth=st.integers(1, 1000), width=st.integers(1, 16_384), block=st.sampled_from(list(BLOCKS)), kernel=odd,
    bottleneck_ratio=st.floats(1 / 64, 8), cardinality=st.sampled_from([1, 2, 4]), shortcut_depth=st.integers(1, 16),
    residual_scaling=st.floats(0.001, 10), gate=st.sampled_from(GATES), gate_bias=st.floats(-10, 10),
    gate_kernel=odd, se_ratio=st.floats(0, 1))
architectures = st.builds(
    Architecture, st.lists(stages, min_size=1, max_size=8).map(tuple), st.sampled_from(STEMS), st.integers(1, 4096),
    st.sampled_from(ORDERS), st.sampled_from(SHORTCUTS), st.sampled_from(ACTIVATIONS), st.sampled_from(STRIDES_IN))


def read_back(architecture: Architecture) -> Architecture:
    space = study_from_text(yaml_text({"network": network_section(architecture)})).space
    assert not space.axes
    return space.decode({})


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_points_of_shipped_spaces_keep_their_id(path: Path):
    space, rng = load_study(path).space, random.Random(0)
    for _ in range(10):
        architecture = space.decode(space.sample(rng))
        if architecture.conflict() is None:
            assert read_back(architecture).id == architecture.id


@settings(max_examples=50, deadline=None)
@given(architectures.filter(lambda a: a.conflict() is None))
def test_any_legal_network_keeps_its_id(architecture: Architecture):
    assert read_back(architecture).id == architecture.id


def test_says_no_more_than_the_network():
    stage = Stage(depth=2, width=16)
    assert network_section(Architecture((stage, Stage(depth=3, width=32)))) == {
        "stem": {"kind": "conv3x3", "width": 16}, "stages": 2, "block": "basic",
        "depth": {"per_stage": {1: 2, 2: 3}}, "width": {"per_stage": {1: 16, 2: 32}},
    }


def test_writes_ratios_as_fractions():
    stage = Stage(depth=1, width=48, block="bottleneck", bottleneck_ratio=1 / 3, shortcut_depth=3, se_ratio=1 / 16)
    section = network_section(Architecture((stage,)))
    assert (section["bottleneck_ratio"], section["se_ratio"]) == ("1/3", 0.0625)


def test_a_ratio_that_rounding_took_out_of_its_bounds_comes_back_in():
    stage = Stage(depth=1, width=84, block="bottleneck", bottleneck_ratio=1 / 64, shortcut_depth=3)
    assert read_back(Architecture((stage,))).id == Architecture((stage,)).id
