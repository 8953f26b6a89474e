"""The counts of the literature, and of random points: our cost, the module's weights and torch's counter agree."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from model_cases import CIFAR, PUBLISHED, Published, counted, drawn
from shipped import SPACE_NAMES, legal_points, space_named

from nas.architecture import Architecture, Stage
from nas.cost import cost
from nas.plan import plan


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts(name: str) -> None:
    network = PUBLISHED[name]
    built = plan(network.architecture, network.shape, network.classes)
    assert cost(built)[:2] == (network.params, network.macs)


DEEP = [name for name, network in PUBLISHED.items() if sum(stage.depth for stage in network.architecture.stages) > 30]
SHALLOW = [name for name in PUBLISHED if name not in DEEP]


@pytest.mark.parametrize("name", [*SHALLOW, *(pytest.param(name, marks=pytest.mark.slow) for name in DEEP)])
def test_published_counts_as_torch_counts(name: str) -> None:
    network = PUBLISHED[name]
    built = plan(network.architecture, network.shape, network.classes)
    assert counted(built) == cost(built)


@pytest.mark.parametrize("name", PUBLISHED)
def test_other_classes_change_the_head_alone(name: str) -> None:
    network = PUBLISHED[name]
    width, more = network.architecture.stages[-1].width, 90
    found = cost(plan(network.architecture, network.shape, network.classes + more))
    assert found[:2] == (network.params + more * (width + 1), network.macs + more * width)


def test_100_classes_as_torch_counts() -> None:
    built = plan(PUBLISHED["ResNet-20 B"].architecture, CIFAR, 100)
    assert cost(built) == counted(built)


def test_no_published_network_breaks_a_rule() -> None:
    assert [name for name, network in PUBLISHED.items() if network.architecture.conflict()] == []
    assert len({network.architecture.id for network in PUBLISHED.values()}) == len(PUBLISHED)


@pytest.mark.parametrize(("a", "b", "weights"), [
    (64, 1, 69_632), (40, 2, 69_760), (24, 4, 69_888), (14, 8, 71_456), (4, 32, 70_144)])
def test_equal_complexity_of_resnext_blocks(a: int, b: int, weights: int) -> None:
    """Xie et al. 2017, table 2: the convolution weights of one block of 256 channels."""
    stage = Stage(2, 256, "bottleneck", bottleneck_ratio=a * b / 256, cardinality=b, shortcut_depth=3)
    one, two = (cost(plan(Architecture((replace(stage, depth=depth),), stem_width=256), CIFAR, 10)) for depth in (1, 2))
    norms = 2 * (2 * a * b + 256)
    assert two.params - one.params - norms == weights


def test_flops_are_two_for_each_multiply_add() -> None:
    network: Published = PUBLISHED["resnet18"]
    assert cost(plan(network.architecture, network.shape, network.classes)).flops == 2 * network.macs


def agree(name: str, count: int) -> None:
    rng = random.Random(name)
    for point, architecture in legal_points(name, count, seed=count):
        shape = (rng.choice([1, 3]), rng.choice([8, 16, 17, 28, 32]), rng.choice([8, 9, 16, 28, 32]))
        built = plan(architecture, shape, rng.choice([2, 10, 100]))
        assert cost(built) == counted(built), (point, shape)


@pytest.mark.parametrize("name", SPACE_NAMES)
def test_random_points_as_torch_counts(name: str) -> None:
    agree(name, 2)


FIRST = ("highway", "resnet", "resnext", "se_resnet", "wide_resnet")     # 500 points of the others' union: _points.py


@pytest.mark.slow
@pytest.mark.parametrize("name", SPACE_NAMES)
def test_many_random_points_as_torch_counts(name: str) -> None:
    agree(name, 50 if name in FIRST else 15)


def test_random_networks_of_every_knob_as_torch_counts() -> None:
    rng = random.Random(3)
    for _ in range(15):
        architecture = drawn(rng)
        built = plan(architecture, (3, rng.choice([7, 8, 16]), rng.choice([8, 9])), 10)
        assert cost(built) == counted(built), architecture


def test_cost_does_not_depend_on_what_was_counted_before() -> None:
    """Parts are remembered: the order in which networks are counted must not matter."""
    space = space_named("resnext")
    rng = random.Random(5)
    points = [space.sample(rng) for _ in range(200)]
    first = [space.judge(point, CIFAR, 10).cost for point in points]
    rng.shuffle(order := list(range(200)))
    assert [space.judge(points[index], CIFAR, 10).cost for index in order] == [first[index] for index in order]
