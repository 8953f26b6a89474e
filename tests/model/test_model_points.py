"""Random points of the whole family: costs, gradients and identity hold of every one, whatever its knobs."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator

import pytest
import torch
from model_cases import counted
from shipped import legal_points, space_named
from torch import nn
from torch.nn import functional as F

from nas.architecture import Architecture
from nas.cost import cost
from nas.diagram import text
from nas.model import build
from nas.network_yaml import network_section
from nas.plan import plan
from nas.space import Point
from nas.study import study_from_spec

SHAPE, CLASSES = (3, 8, 8), 5
POINTS = 10                         # of each seed: 500 in all
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 50))]


@pytest.mark.parametrize("seed", SEEDS)
def test_costs_are_the_modules_and_torchs(seed: int) -> None:
    for point, architecture in legal_points("residual_family", POINTS, seed):
        built = plan(architecture, SHAPE, CLASSES)
        assert counted(built) == cost(built), point


@pytest.mark.parametrize("seed", SEEDS)
def test_every_parameter_gets_a_gradient(seed: int) -> None:
    """Gains that start at zero moved off it: their branches would get none in the first step."""
    for point, architecture in legal_points("residual_family", POINTS, seed):
        model = _moved(build(plan(architecture, SHAPE, CLASSES), seed=0)).train()
        generator, seen = torch.Generator().manual_seed(0), defaultdict(float)
        for _ in range(4):      # stochastic depth leaves a branch out in some
            x = torch.randn(6, *SHAPE, generator=generator)
            model.zero_grad()
            F.cross_entropy(model(x), torch.arange(6) % CLASSES).backward()
            for name, parameter in model.named_parameters():
                assert parameter.grad is not None, (name, point)
                assert parameter.grad.isfinite().all(), (name, point)
                seen[name] += float(parameter.grad.abs().sum())
            if min(seen.values()) > 0:
                break
        assert [name for name, size in seen.items() if size == 0] == [], point


def _moved(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and float(parameter.abs().max()) < 0.05:
                parameter.fill_(2.0 if name.endswith("squeeze.bias") else 0.3)
            elif name.endswith("squeeze.bias"):
                parameter.fill_(2.0)        # a hidden unit that is never on has no gradient
            elif name.endswith("squeeze.weight"):
                parameter.mul_(0.01)        # nor one that a large input turns off
    return model


@pytest.mark.parametrize("seed", SEEDS)
def test_equal_ids_are_equal_plans(seed: int) -> None:
    texts, ids = defaultdict(set), defaultdict(set)
    for _, architecture in legal_points("residual_family", POINTS, seed):
        for spelled in (architecture, architecture.canonical()):
            seen = text(plan(spelled, (3, 64, 64), CLASSES))
            texts[spelled.id].add(seen)
            ids[seen].add(spelled.id)
    assert all(len(found) == 1 for found in texts.values())
    assert all(len(found) == 1 for found in ids.values())


def neighbours(point: Point) -> Iterator[Architecture]:
    """The legal networks one step along one axis from `point`."""
    space = space_named("residual_family")
    for axis in space.axes:
        for value in axis.domain.probe() if axis.name in point else ():
            moved = space.decode(space.with_value(point, axis.name, value))
            if moved.conflict() is None:
                yield moved


@pytest.mark.parametrize("seed", SEEDS)
def test_equal_ids_are_equal_plans_among_neighbours(seed: int) -> None:
    """Points drawn at random never meet the network that differs from them in a knob without effect."""
    (point, _), = legal_points("residual_family", 1, seed)
    texts, ids = defaultdict(set), defaultdict(set)
    for one in neighbours(point):
        seen = text(plan(one, (3, 64, 64), CLASSES))
        texts[one.id].add(seen)
        ids[seen].add(one.id)
    assert [found for found in (*texts.values(), *ids.values()) if len(found) > 1] == []


@pytest.mark.parametrize("seed", SEEDS)
def test_spellings_come_back(seed: int) -> None:
    for point, architecture in legal_points("residual_family", POINTS, seed):
        canonical = architecture.canonical()
        assert canonical.canonical() == canonical, point
        assert canonical.conflict() is None, point
        assert Architecture.from_dict(json.loads(json.dumps(architecture.to_dict()))) == architecture
        section = json.loads(json.dumps(network_section(architecture)))
        assert study_from_spec({"name": "one", "network": section}).space.decode({}).id == architecture.id, point
