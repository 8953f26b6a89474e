"""Points: exactly the active axes, all of them with an effect; counts of points against listing them one by one."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from space_cases import CLASSES, SHAPE, SPACES, names, space

from nas.architecture import KNOBS
from nas.cost import cost
from nas.diagram import text
from nas.nodes import Cost
from nas.plan import plan
from nas.space import Choice, Point, Range, SearchSpace
from nas.study import load_study

MADE = {
    "conditions": space("{stages: 2, block: [basic, bottleneck], cardinality: [1, 2], bottleneck_ratio: [0.5, 1]}"),
    "conditions by stage": space(
        "{stages: 2, block: {per_stage: [basic, bottleneck]}, cardinality: {per_stage: [1, 2, 4]}, depth: [1, 2]}"),
    "shared condition": space("{stages: 2, block: {per_stage: [basic, bottleneck]}, cardinality: [1, 2]}"),
    "stages": space("{stages: [1, 2, 3], depth: {per_stage: [1, 2]}, width: {first: [8, 16], growth: [1, 2]}}"),
    "gates": space(
        "{stages: 2, gate: {per_stage: [none, highway, full]}, gate_bias: {from: -3, to: -1, step: 1}, "
        "gate_kernel: [1, 3], residual_scaling: {per_stage: [0.1, 0.5, 1]}}",
        "[{when: {gate: highway}, set: {residual_scaling: 1.0}}]"),
    "chain of rules": space(
        "{stages: 1, order: [post, pre], gate: [none, full], width: [8, 16], depth: {from: 1, to: 3}, "
        "se_ratio: [0, 1/4]}",
        "[{when: {width: 16}, set: {depth: 1}}, {when: {gate: full, order: pre}, set: {width: 16}}, "
        "{when: {depth: {from: 2, to: 3}}, set: {se_ratio: 1/2}}]"),
    "network-wide": space(
        "{stages: [1, 2], shortcut: [A, B, C], gate: {per_stage: [none, full]}, activation: [relu, silu]}",
        "[{when: {stage2.gate: full}, set: {shortcut: B}}, {when: {stages: 1}, set: {activation: relu}}]"),
    "rule of one stage": space(
        "{stages: 3, depth: {per_stage: [1, 2]}, width: {per_stage: [8, 16]}}",
        "[{when: {stage1.depth: 2}, set: {stage3.width: 24}}]"),
    "rule makes a bottleneck": space(
        "{stages: 2, order: [post, pre], block: {per_stage: [basic, bottleneck]}, cardinality: {per_stage: [1, 2]}}",
        "[{when: {order: pre}, set: {stage2.block: bottleneck}}]"),
    "rule in only one stage that may be missing": space(
        "{stages: [1, 2], width: [8, 16], depth: [1, 2]}", "[{when: {stage2.width: 8}, set: {depth: 3}}]"),
}
SHIPPED = {path.stem: load_study(path).space for path in SPACES}
ALL = MADE | SHIPPED


def listed(found: SearchSpace, done: Point | None = None, left: int = 0) -> Iterator[Point]:
    """Every point, one by one, straight from the definition: an axis takes each value where it is active."""
    done = done or {}
    if left == len(found.axes):
        yield done
        return
    axis = found.axes[left]
    if not found.active(axis, done):
        yield from listed(found, done, left + 1)
        return
    for value in values(axis.domain):
        yield from listed(found, {**done, axis.name: value}, left + 1)


def values(domain: Choice | Range) -> list[object]:
    return list(domain.values) if isinstance(domain, Choice) else list(range(int(domain.low), int(domain.high) + 1))


@pytest.mark.parametrize("name", MADE)
def test_size_is_the_number_of_points(name: str) -> None:
    points = [tuple(point.items()) for point in listed(MADE[name])]
    assert len(set(points)) == len(points)
    assert MADE[name].size() == (len(points), True)


@pytest.mark.parametrize(("network", "points"), [
    ("{depth: 1}", 1), ("{depth: [1, 2]}", 2), ("{depth: {from: 1, to: 10}}", 10),
    ("{depth: {per_stage: {from: 1, to: 4}}}", 64), ("{stages: [1, 3], depth: {per_stage: [1, 2]}}", 10),
    ("{block: [basic, bottleneck], cardinality: [1, 2, 4]}", 4),
    ("{stages: 2, block: {per_stage: [basic, bottleneck]}, cardinality: [1, 2, 4]}", 10)])
def test_size_in_closed_form(network: str, points: int) -> None:
    assert space(network).size() == (points, True)


def test_size_of_a_continuous_space_is_none() -> None:
    assert space("{residual_scaling: {from: 0.1, to: 1}}").size() == (None, True)
    assert space("{gate: [none, full], residual_scaling: {from: 0.1, to: 1, log: true}}").size() == (None, True)


def test_size_is_estimated_where_listing_is_too_long() -> None:
    found = space("{stages: 4, block: {per_stage: [basic, bottleneck]}, cardinality: {per_stage: [1, 2, 4]}, "
                  "kernel: {per_stage: [1, 3, 5, 7]}, gate: {per_stage: [none, highway, transform, carry, full]}, "
                  "gate_bias: {per_stage: [-1, -2]}}", "[{when: {kernel: 7}, set: {depth: 1}}]")
    points, exact = found.size()
    assert not exact
    assert points == pytest.approx((4 * 4 * 9) ** 4, rel=0.35)     # a stage: block 1 + 3, kernel 4, gate 1 + 4 x 2


@pytest.mark.parametrize("name", ALL)
def test_points_hold_exactly_the_active_axes(name: str) -> None:
    found, rng = ALL[name], random.Random(1)
    for _ in range(60):
        point = found.sample(rng)
        assert set(point) == {axis.name for axis in found.axes if found.active(axis, point)}
        assert all(axis.domain.holds(point[axis.name]) for axis in found.axes if axis.name in point)
        assert list(point) == [axis.name for axis in found.axes if axis.name in point]


@pytest.mark.parametrize("name", ALL)
def test_values_of_inactive_axes_have_no_effect(name: str) -> None:
    found, rng = ALL[name], random.Random(2)
    for _ in range(30):
        point = found.sample(rng)
        stray = {axis.name: axis.domain.sample(rng) for axis in found.axes if axis.name not in point}
        assert found.decode({**stray, **point}).id == found.decode(point).id


@pytest.mark.parametrize("name", MADE)
def test_every_active_axis_has_an_effect(name: str) -> None:
    """Some move along it makes another network: no two points of a listing differ in dead weight alone."""
    found = MADE[name]
    ids = Counter(found.decode(point).id for point in listed(found))
    assert set(ids.values()) == {1}, ids.most_common(1)


EVERY = space(
    "{stages: [1, 2, 3], stem: {kind: [conv3x3, patch2], width: [8, 16]}, depth: {per_stage: [1, 2, 3]}, "
    "width: {first: [8, 16], growth: [1, 2]}, block: {per_stage: [basic, bottleneck, inverted, convnext]}, "
    "kernel: {per_stage: [1, 3, 5]}, bottleneck_ratio: [0.5, 1], cardinality: [0, 1, 2], shortcut_depth: [2, 3, 4], "
    "base_width: [0, 64, 128], residual_scaling: [1, 0.5, 1/sqrt(L), 1/sqrt(k)], "
    "gate: {per_stage: [none, highway, full]}, gate_bias: [-1, -2], "
    "gate_kernel: [1, 3], se_ratio: [0, 1/4], attention: [se, eca], dilation: [1, 2], "
    "mixing: [none, dilated], branches: [1, 2], gain: {per_stage: [none, zero_gamma, skipinit, layerscale]}, "
    "gain_init: [0.1, 0.01], dropout: [0, 0.1], share: [none, stage], order: [post, pre], shortcut: [A, B, C, none], "
    "activation: [relu, crelu, identity], stride_in: [conv3x3, conv1x1], norm: [batch, group, none], "
    "init: [he, xavier], drop_path: [0, 0.1], memory: [0, 8]}")
# whether these have an effect hangs on what is decided after them; points that come to one network have one id
LATER = {"block", "order", "residual_scaling", "share", "shortcut"}


def test_every_active_axis_of_every_knob_changes_the_plan() -> None:
    """Some other value of it makes another plan, at every legal point; equal plans have equal ids."""
    assert {axis.knob for axis in EVERY.axes} == set(KNOBS)
    rng, without, with_effect = random.Random(0), set(), set()
    for point in filter(wired, (EVERY.sample(rng) for _ in range(60))):
        for axis in (axis for axis in EVERY.axes if axis.name in point):
            others = set(axis.domain.probe()) - {point[axis.name]}
            found = [wired(EVERY.with_value(point, axis.name, value)) for value in others]
            here = wired(point)
            assert all((one.id == here.id) == (one.text == here.text) for one in found if one)
            if any(found):
                (with_effect if any(one and one.text != here.text for one in found) else without).add(axis.knob)
    assert with_effect == set(KNOBS)
    assert without <= LATER


class Wired(NamedTuple):
    id: str
    text: str


def wired(point: Point) -> Wired | None:
    """The network of a point of EVERY; None where it is not legal."""
    network = EVERY.decode(point)
    return None if network.conflict() else Wired(network.id, text(plan(network, SHAPE, CLASSES)))


def test_stride_in_is_an_axis_of_bottlenecks_that_stride() -> None:
    assert names(space("{block: basic, stride_in: [conv3x3, conv1x1]}")) == ["stride_in"]
    for network, points in (("block: basic", 1), ("block: convnext", 1), ("block: bottleneck", 2),
                            ("block: inverted", 2), ("block: [basic, bottleneck]", 3),
                            ("stages: 1, block: bottleneck", 1),
                            ("block: {per_stage: {1: bottleneck, 2: basic, 3: basic}}", 1)):
        assert space(f"{{{network}, stride_in: [conv3x3, conv1x1]}}").size() == (points, True)


@pytest.mark.parametrize("name", ALL)
def test_with_value_moves_along_one_axis(name: str) -> None:
    found, rng = ALL[name], random.Random(3)
    for _ in range(20):
        point = found.sample(rng)
        for axis in found.axes:
            if axis.name not in point:
                continue
            for value in axis.domain.probe():
                moved = found.with_value(point, axis.name, value)
                assert moved[axis.name] == value
                assert set(moved) == {other.name for other in found.axes if found.active(other, moved)}
                assert all(moved[key] == point[key] for key in moved if key in point and key != axis.name)


def test_with_value_starts_new_axes_at_their_first_value() -> None:
    found = MADE["conditions"]
    assert found.with_value({"block": "basic"}, "block", "bottleneck") == {
        "block": "bottleneck", "cardinality": 1, "bottleneck_ratio": 0.5}
    back = found.with_value({"block": "bottleneck", "cardinality": 2, "bottleneck_ratio": 1.0}, "block", "basic")
    assert back == {"block": "basic"}


@pytest.mark.parametrize("name", ALL)
def test_judgement_is_the_cost_of_the_network(name: str) -> None:
    found, rng = ALL[name], random.Random(4)
    for _ in range(20):
        point = found.sample(rng)
        judged = found.judge(point, SHAPE, CLASSES)
        assert judged.architecture == found.decode(point)
        conflict = judged.architecture.conflict()
        if conflict is not None:
            assert (judged.cost, judged.broken, judged.reason) == (None, {conflict[0]: 1.0}, conflict[1])
            continue
        assert judged.cost == cost(plan(judged.architecture, SHAPE, CLASSES))
        outside = {limit.cost for limit in found.limits if not inside(judged.cost, limit.low, limit.high, limit.cost)}
        assert set(judged.broken) == outside


def inside(found: Cost, low: int | None, high: int | None, name: str) -> bool:
    value = getattr(found, name)
    return (low is None or value >= low) and (high is None or value <= high)


def test_limits_include_their_bounds() -> None:
    exact = space("{depth: 1}").judge({}, SHAPE, CLASSES).cost
    assert exact is not None
    for low, high, broken in ((0, 0, False), (1, 0, True), (0, -1, True)):
        limits = f"{{macs: {{from: {exact.macs + low}, to: {exact.macs + max(high, low)}}}}}" if low else \
            f"{{macs: {{to: {exact.macs + high}}}}}"
        judged = space("{depth: 1}", limits=limits).judge({}, SHAPE, CLASSES)
        assert (judged.broken != {}) == broken
        assert ("outside its limit" in judged.reason) == broken


def test_samples_are_seeded_and_spread() -> None:
    found = SHIPPED["resnext"]
    one, two = ([found.sample(random.Random(seed)) for seed in range(20)] for _ in range(2))
    assert one == two
    assert len({found.decode(point).id for point in one}) > 15


# --- domains --------------------------------------------------------------------------------------------------------

def test_choices_are_drawn_evenly() -> None:
    rng = random.Random(0)
    drawn = Counter(Choice(("a", "b", "c")).sample(rng) for _ in range(3000))
    assert all(abs(count - 1000) < 120 for count in drawn.values())
    assert set(drawn) == {"a", "b", "c"}


@pytest.mark.parametrize("log", [False, True])
def test_whole_ranges_reach_both_ends(log: bool) -> None:
    rng = random.Random(0)
    drawn = Counter(Range(1, 6, True, log).sample(rng) for _ in range(3000))
    assert set(drawn) == {1, 2, 3, 4, 5, 6}
    assert all(type(value) is int for value in drawn)
    if not log:
        assert all(abs(count - 500) < 110 for count in drawn.values())
    else:
        assert drawn[1] > drawn[3] > drawn[6]


def test_log_ranges_are_even_in_the_log() -> None:
    rng = random.Random(0)
    drawn = [Range(0.01, 1, False, True).sample(rng) for _ in range(3000)]
    assert sum(value < 0.1 for value in drawn) == pytest.approx(1500, abs=150)      # type: ignore[operator]


@settings(max_examples=60, deadline=None)
@given(st.floats(0.001, 10), st.floats(0.001, 10), st.booleans(), st.integers(0, 10**6))
def test_ranges_hold_what_they_draw(a: float, b: float, log: bool, seed: int) -> None:
    low, high = min(a, b), max(a, b)
    for integer in (False, True):
        if integer:
            low, high = math.ceil(low), math.ceil(high)
        domain = Range(low, high, integer, log)
        assert domain.holds(domain.sample(random.Random(seed)))
        assert all(domain.holds(value) for value in domain.probe())
    assert domain.size == high - low + 1


def test_ranges_hold_nothing_else() -> None:
    assert not Range(1, 4, True).holds(2.5)
    assert not Range(1, 4, True).holds(5)
    assert not Range(1, 4, True).holds("2")
    assert not Choice((1, 2)).holds(3)
    assert Choice((1, 2.5)).ordered
    assert not Choice((1, "a")).ordered


def test_spaces_are_values() -> None:
    found = SHIPPED["resnet"]
    assert replace(found, limits=()).limits == ()
    assert found.limits != ()


def test_axes_are_in_one_order_in_every_process() -> None:
    """Whatever the hashes of words: a search that goes on in another process draws as it did."""
    shipped = sorted((Path(__file__).parents[2] / "search_spaces").glob("*.yaml"))
    code = ("import sys; from nas.study import load_study\n"
            "for path in sys.argv[1:]: print([axis.name for axis in load_study(path).space.axes])")
    said = {subprocess.run([sys.executable, "-c", code, *map(str, shipped)], check=True, capture_output=True,
                           env={**os.environ, "PYTHONHASHSEED": seed}).stdout for seed in ("1", "2", "3")}
    assert len(said) == 1
