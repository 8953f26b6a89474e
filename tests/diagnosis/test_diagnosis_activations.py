"""Residual norms, estimation errors, gates and excitations against what is computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diagnosis_cases import chain, images, network
from torch import nn

from nas.diagnosis import Undefined, blocks_of, excitations, gate_values, iterative_estimation, residual_norms
from nas.diagnosis.gates import QUANTILES
from nas.model.layers import ChannelAttention, SqueezeExcitation


def test_residual_norms_of_a_chain_are_its_factors() -> None:
    found = residual_norms(chain(0.5, 2.0, 0.0), images(150)[0])
    assert [one.ratio for one in found] == pytest.approx([0.5, 2.0, 0.0], rel=1e-5)
    assert [one.spread for one in found] == pytest.approx([0, 0, 0], abs=1e-5)
    assert [one.block for one in found] == ["stage1.block1", "stage1.block2", "stage1.block3"]


@pytest.mark.parametrize("alpha", [1.0, 0.25])
def test_residual_norms_are_of_the_scaled_branch_before_the_activation(alpha: float) -> None:
    model, (x, _) = network(stage={"residual_scaling": alpha}), images(100)
    found = residual_norms(model, x)
    assert [one.same_shape for one in found] == [True, True, False, True]
    with torch.no_grad():
        given = model.get_submodule("stem")(x)
        for one, block in zip(found, blocks_of(model, x), strict=True):
            module = block.module
            added, shortcut = alpha * module.branch(given), module.shortcut(given)      # type: ignore[misc]
            ratios = added.flatten(1).norm(dim=1) / shortcut.flatten(1).norm(dim=1)
            assert (one.ratio, one.spread) == pytest.approx((float(ratios.mean()), float(ratios.std(correction=0))),
                                                            rel=1e-4)
            given = module(given)


def test_estimation_errors_by_hand() -> None:
    model, (x, _) = network(depth=3), images(130)
    found = iterative_estimation(model, x)
    with torch.no_grad():
        at, outputs = model.get_submodule("stem")(x), []
        for block in blocks_of(model, x):
            at = block.module(at)
            outputs.append(at.double().numpy())
    for stage, three in zip(found, (outputs[:3], outputs[3:]), strict=True):
        errors = [a - three[-1] for a in three[:-1]]
        assert stage.std == pytest.approx([np.std(e) / np.std(three[-1]) for e in errors], rel=1e-5)
        assert stage.mean == pytest.approx([np.mean(e) / np.std(three[-1]) for e in errors], rel=1e-4)
        assert stage.falls is bool(np.std(errors[1]) < np.std(errors[0]))
    assert found[1].at == ("stage2.block1", "stage2.block2")


def test_estimates_that_come_nearer() -> None:
    (found,) = iterative_estimation(chain(0.1, 0.1, 0.1), images()[0])
    assert found.std == pytest.approx([1 - 1.1**-2, 1 - 1.1**-1], rel=1e-5)
    assert found.falls


def test_gates_that_are_constant() -> None:
    model, (x, _) = network(stage={"gate": "full", "gate_bias": -2.0}), images(80)
    with torch.no_grad():
        for block in blocks_of(model, x):
            assert block.module.gate is not None
            for conv in (block.module.gate.transform, block.module.gate.carry):
                assert isinstance(conv, nn.Conv2d)
                conv.weight.zero_()
    found = gate_values(model, x)
    assert [(one.block, one.part) for one in found[:3]] == [
        ("stage1.block1", "T"), ("stage1.block1", "C"), ("stage1.block2", "T")]
    low, high = float(torch.sigmoid(torch.tensor(-2.0))), float(torch.sigmoid(torch.tensor(2.0)))
    for one in found:
        assert [one.mean, *one.quantiles] == pytest.approx([high if one.part == "C" else low] * 6, rel=1e-5)


def test_a_highway_gate_carries_what_it_does_not_transform() -> None:
    model, (x, _) = network(stage={"gate": "highway"}), images(80)
    found = gate_values(model, x)
    assert [one.part for one in found] == ["T", "C"] * 4
    for transform, carry in zip(found[::2], found[1::2], strict=True):
        assert transform.mean + carry.mean == pytest.approx(1, abs=1e-5)
        assert transform.quantiles == pytest.approx([1 - q for q in reversed(carry.quantiles)], abs=1e-5)
        assert transform.quantiles[0] < transform.mean < transform.quantiles[-1]


def test_transform_and_carry_gates_have_one_part() -> None:
    x = images()[0]
    assert {one.part for one in gate_values(network(stage={"gate": "transform"}), x)} == {"T"}
    assert {one.part for one in gate_values(network(stage={"gate": "carry"}), x)} == {"C"}


def test_excitations_by_hand() -> None:
    model, (x, _) = network(stage={"se_ratio": 0.5}), images(100)
    with torch.no_grad():
        for one in model.modules():
            if isinstance(one, SqueezeExcitation):
                one.excite.weight.normal_(0, 2, generator=torch.Generator().manual_seed(3))
    seen: list[torch.Tensor] = []
    module = next(one for one in model.modules() if isinstance(one, SqueezeExcitation))
    hook = module.excite.register_forward_hook(lambda m, i, output: seen.append(torch.sigmoid(output).double()))
    found = excitations(model, x)[0]
    hook.remove()
    weights = torch.cat(seen[1:])       # the first is of the image that shows where the blocks are
    assert found.mean == pytest.approx(float(weights.mean()), rel=1e-4)
    assert found.over_channels == pytest.approx(float(weights.mean(0).std(correction=0)), rel=1e-3)
    assert found.over_images == pytest.approx(float(weights.std(0, correction=0).mean()), rel=1e-3)
    at = torch.quantile(weights.flatten(), torch.tensor(QUANTILES, dtype=torch.float64))
    assert found.quantiles == pytest.approx(at.tolist(), rel=1e-3)


def test_excitations_of_eca_and_of_dead_channels() -> None:
    model, (x, _) = network(stage={"attention": "eca"}), images(40)
    with torch.no_grad():
        for one in model.modules():
            if isinstance(one, ChannelAttention):
                one.conv.weight.zero_()
        first = blocks_of(model, x)[0].module.branch.get_submodule("norm2")
        first.weight[2], first.bias[2] = 0.0, 0.0      # type: ignore[index, operator]
    found = excitations(model, x)
    assert len(found) == 4
    for one in found:
        assert (one.mean, one.over_channels, one.over_images) == pytest.approx((0.5, 0, 0), abs=1e-6)


def test_what_is_not_there_is_undefined() -> None:
    x = images()[0]
    for measure, model, why in (
            (gate_values, network(), "no block has a gate"), (excitations, network(), "weighs its channels"),
            (residual_norms, network(shortcut="none"), "plain"), (iterative_estimation, network(depth=1), "one block")):
        with pytest.raises(Undefined, match=why):
            measure(model, x)      # type: ignore[operator]
