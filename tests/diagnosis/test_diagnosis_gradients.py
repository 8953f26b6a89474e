"""Paths, effective depth and correlation of gradients against closed forms and full enumeration."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from typing import Any

import pytest
import torch
from diagnosis_cases import CLASSES, chain, images, network
from torch import nn
from torch.nn import functional as F

from nas.diagnosis import (
    Undefined,
    effective_depth,
    gradient_correlation,
    length_distribution,
    path_gradient,
    path_gradients,
)
from nas.diagnosis.correlation import mean_cosine
from nas.model.layers import Residual


def whole_gradient(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    x = x.clone().requires_grad_(True)
    return torch.autograd.grad(F.cross_entropy(model(x), y, reduction="sum"), x)[0]


@pytest.mark.parametrize("kind", [
    {}, {"order": "pre"}, {"stage": {"gate": "highway"}}, {"stage": {"gate": "full", "se_ratio": 0.5}},
    {"shortcut": "A", "stage": {"share": "stage", "branches": 2}}, {"norm": "none", "order": "pre"}])
def test_the_gradients_of_all_paths_add_up_to_the_whole_gradient(kind: dict[str, Any]) -> None:
    model, (x, y) = network(depth=2, **kind), images(6)
    paths = [path_gradient(model, x, y, branches) for branches in itertools.product((False, True), repeat=4)]
    assert all(path.abs().sum() > 0 for path in paths)
    torch.testing.assert_close(sum(paths), whole_gradient(model, x, y), rtol=1e-4, atol=1e-6)


def test_a_path_of_a_chain_has_the_product_of_its_factors() -> None:
    betas = (0.5, 3.0, 0.25)
    model, (x, y) = chain(*betas), images(6)
    around = path_gradient(model, x, y, [False] * 3)
    for branches in itertools.product((False, True), repeat=3):
        factor = math.prod(beta for beta, one in zip(betas, branches, strict=True) if one)
        torch.testing.assert_close(path_gradient(model, x, y, branches), factor * around)


def test_path_gradients_of_a_chain_fall_as_a_power() -> None:
    beta, n = 0.3, 6
    model, (x, y) = chain(*[beta] * n), images()
    found = path_gradients(model, x, y, draws=4)
    assert found.sampled == (1, 4, 4, 4, 4, 4, 1)
    assert [norm / found.norm[0] for norm in found.norm] == pytest.approx([beta**k for k in range(n + 1)], rel=1e-4)
    # share times norm is binomial again, with odds beta: the mean length is n beta / (1 + beta)
    assert found.effective_length == pytest.approx(n * beta / (1 + beta), rel=1e-4)
    assert found.mean_length == n / 2
    assert sum(found.contribution) == pytest.approx(1)


def test_lengths_between_are_drawn_as_straight_lines_of_the_logarithm() -> None:
    beta, n = 0.5, 9
    model, (x, y) = chain(*[beta] * n), images()
    found = path_gradients(model, x, y, draws=2, lengths=3)
    assert [length for length, count in enumerate(found.sampled) if count] == [0, 3, 6, 9]
    assert [norm / found.norm[0] for norm in found.norm] == pytest.approx([beta**k for k in range(n + 1)], rel=1e-4)


def test_branches_of_zeros_bring_no_gradient() -> None:
    model, (x, y) = chain(0.0, 0.0), images()
    found = path_gradients(model, x, y)
    assert found.norm[1:] == (0.0, 0.0)
    assert found.effective_length == 0


def test_the_distribution_of_lengths_is_binomial() -> None:
    assert length_distribution(4) == [1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16]
    assert sum(length_distribution(54)) == pytest.approx(1)
    counted = [0] * 6
    for branches in itertools.product((0, 1), repeat=5):
        counted[sum(branches)] += 1
    assert length_distribution(5) == [count / 32 for count in counted]


@pytest.mark.parametrize("betas", [[0.3] * 5, [1.0] * 8, [0.1, 2.0, 0.5]])
def test_the_effective_depth_of_a_chain(betas: list[float]) -> None:
    """|dloss/dx| is a product of 1 + t beta: d ln / d ln t at t = 1 is the sum of beta / (1 + beta)."""
    found = effective_depth(chain(*betas), *images())
    parts = [beta / (1 + beta) for beta in betas]
    assert found.whole == pytest.approx(sum(parts), abs=1e-3)
    assert found.effective == pytest.approx([sum(parts[i:]) for i in range(len(parts))], abs=1e-3)
    assert found.depth == tuple(range(len(betas), 0, -1))


def test_the_effective_depth_is_the_mean_length_of_signed_paths() -> None:
    """g(t) is the sum of t^r g_r over lengths r, by enumeration: the derivative is <g, g'> / |g|^2."""
    model, (x, y) = network(depth=2), images(5)
    by_length = torch.zeros(5, *x.shape)
    for branches in itertools.product((False, True), repeat=4):
        by_length[sum(branches)] += path_gradient(model, x, y, branches)
    g, slope = by_length.sum(0).flatten(1), sum(r * by_length[r] for r in range(5)).flatten(1)     # type: ignore[union-attr]
    expected = float(((g * slope).sum(1) / g.square().sum(1)).mean())
    assert effective_depth(model, x, y).whole == pytest.approx(expected, rel=0.01)


def test_paths_are_undefined_in_plain_networks_and_with_projections_everywhere() -> None:
    x, y = images()
    for measure in (path_gradients, effective_depth):
        for shortcut, why in (("none", "plain"), ("C", "every shortcut is a projection")):
            with pytest.raises(Undefined, match=why):
                measure(network(shortcut=shortcut), x, y)      # type: ignore[operator]


def test_mean_cosine_against_a_loop() -> None:
    rows = torch.randn(7, 3, 4, generator=torch.Generator().manual_seed(0))
    slow = [float(F.cosine_similarity(rows[i].flatten(), rows[j].flatten(), dim=0))
            for i in range(7) for j in range(7) if i != j]
    assert mean_cosine(rows) == pytest.approx(sum(slow) / len(slow), abs=1e-6)
    assert mean_cosine(torch.ones(3, 5)) == pytest.approx(1)


def rectified(layers: int, beta: float | None) -> nn.Module:
    """y = x + beta W relu(norm(x)), or y = W relu(norm(x)) without a beta, 1x1 convolutions of 512 channels."""
    torch.manual_seed(2)
    blocks: dict[str, nn.Module] = {}
    for number in range(1, layers + 1):
        conv = nn.Conv2d(512, 512, 1, bias=False)
        nn.init.kaiming_normal_(conv.weight)
        branch = nn.Sequential(nn.BatchNorm2d(512), nn.ReLU(), conv)
        blocks[f"block{number}"] = Residual(branch) if beta is None else Residual(branch, nn.Identity(), scale=beta)
    head = nn.Sequential(nn.Flatten(), nn.Linear(512, CLASSES))
    return nn.Sequential(OrderedDict(stage1=nn.Sequential(OrderedDict(blocks)), head=head))


@pytest.mark.parametrize(("beta", "expected", "tolerance"), [
    (None, 2.0**-8, 0.002), (1.0, (1 + 8) ** -0.5, 0.06), (0.1, (1 + 0.08) ** -0.5, 0.01)])
def test_the_correlation_of_untrained_networks(beta: float | None, expected: float, tolerance: float) -> None:
    """Balduzzi et al. 2017: 2^-L in a plain network with norms, (1 + beta^2 L)^-1/2 in a residual one. L = 8."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(96, 512, 1, 1, generator=generator), torch.randint(0, CLASSES, (96,), generator=generator)
    found = gradient_correlation(rectified(8, beta), x, y, estimate_norms=True)
    assert found.first == pytest.approx(expected, abs=tolerance)
    assert len(found.at) == len(found.output) == len(found.loss) == 8


def test_the_correlation_of_a_linear_network_is_one() -> None:
    found = gradient_correlation(network(activation="crelu", init="looks_linear", order="pre"), *images())
    assert found.output == pytest.approx([1.0] * 4, abs=1e-5)
    assert found.loss[0] < 0.9, "images of other classes want other changes"
