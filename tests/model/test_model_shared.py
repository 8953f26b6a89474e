"""Networks that share weights, remember, or gate are modules like any other: copied, stored, cast and laid out anew."""

from __future__ import annotations

import copy
import random

import pytest
import torch
from model_cases import drawn
from safetensors.torch import load, save

from nas.architecture import Architecture, Stage
from nas.model import build, layers
from nas.plan import plan

SHARED = Architecture((Stage(3, 8, share="stage"), Stage(4, 16, share="stage")), stem_width=8, memory=5)
SHAPE = (3, 8, 8)
X = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(0))


def test_each_tensor_is_in_the_state_once() -> None:
    model = build(plan(SHARED, SHAPE, 10), 0)
    state = model.state_dict()
    assert len({value.data_ptr() for value in state.values() if value.numel() > 1}) == sum(
        value.numel() > 1 for value in state.values())
    assert [name for name in state if ".conv1.weight" in name] == [
        "memory.stage1.block1.branch.conv1.weight",      # of all three
        "memory.stage2.block1.branch.conv1.weight", "memory.stage2.block2.branch.conv1.weight"]
    assert {name: value.shape for name, value in load(save(state)).items()} == {
        name: value.shape for name, value in state.items()}


def test_gradients_of_shared_weights_are_sums_over_steps() -> None:
    """Against a network of blocks that are each other's copies, whose gradients are added."""
    stage = Stage(3, 8)
    apart = build(plan(Architecture((stage,), stem_width=8), SHAPE, 10), 0).train()
    shared = build(plan(Architecture((Stage(3, 8, share="stage"),), stem_width=8), SHAPE, 10), 0).train()
    apart.load_state_dict({**shared.state_dict(), **{
        f"stage1.block{n}.branch.conv{m}.weight": shared.state_dict()[f"stage1.block1.branch.conv{m}.weight"]
        for n in (2, 3) for m in (1, 2)}})
    for model in (apart, shared):
        model(X).square().sum().backward()
    for m in (1, 2):
        terms = [getattr(block.branch, f"conv{m}").weight.grad for block in apart.stage1]
        torch.testing.assert_close(getattr(shared.stage1.block1.branch, f"conv{m}").weight.grad, sum(terms))


def test_a_copy_has_lenders_of_its_own() -> None:
    model = build(plan(SHARED, SHAPE, 10), 0).eval()
    other = copy.deepcopy(model)
    with torch.no_grad():
        torch.testing.assert_close(other(X), model(X))
        before = model(X)
        other.memory.stage1.block1.branch.conv1.weight.zero_()
        assert torch.equal(model(X), before)
        assert not torch.equal(other(X), before)
    lent = [layer.lender[0] for layer in other.modules() if isinstance(layer, layers.Borrowed)]
    assert len(lent) == 2 * 2 + 2 * 2
    assert all(any(lender is own for own in other.modules()) for lender in lent)


def test_weights_assigned_to_a_network_on_no_device() -> None:
    model = build(plan(SHARED, SHAPE, 10), 0).eval()
    other = build(plan(SHARED, SHAPE, 10), device="meta").eval()
    other.load_state_dict(load(save(model.state_dict())), assign=True)
    with torch.no_grad():
        assert torch.equal(other(X), model(X))


@pytest.mark.parametrize("seed", range(12))
def test_channels_last_and_bfloat16(seed: int) -> None:
    architecture = drawn(random.Random(seed))
    model = build(plan(architecture, (3, 16, 16), 10), seed).eval()
    x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        expected = model(x)
        model.to(memory_format=torch.channels_last)
        found = model(x.contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = model(x.contiguous(memory_format=torch.channels_last))
    assert rough.isfinite().all()
    assert float((rough.float() - expected).norm() / (expected.norm() + 1e-6)) < 0.3
