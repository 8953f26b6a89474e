"""Finding blocks wherever they lie, and putting back whatever was changed."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diagnosis_cases import chain, images, network, scaling
from torch import nn

from nas import diagnosis
from nas.diagnosis import Undefined, blocks_of
from nas.diagnosis.patches import error_rate, estimated_norms, evaluating, replaced
from nas.model.layers import Head, Residual

KINDS: dict[str, dict[str, Any]] = {
    "classic": {},
    "shared, memory, ECA, k = 2, LayerScale, dropout, drop path": {
        "stage": {"share": "stage", "attention": "eca", "branches": 2, "gain": "layerscale", "gain_init": 0.3,
                  "dropout": 0.3}, "memory": 8, "drop_path": 0.5},
    "pre, highway, SE": {"stage": {"gate": "highway", "se_ratio": 0.25}, "order": "pre"},
    "pre, no norm": {"order": "pre", "norm": "none"},
    "plain": {"shortcut": "none"},
    "convnext": {"stage": {"block": "convnext", "bottleneck_ratio": 4.0}, "norm": "layer", "order": "pre"},
}
MEASURES: dict[str, Callable[[nn.Module, torch.Tensor, torch.Tensor], object]] = {
    "lesions": lambda m, x, y: diagnosis.lesions(m, x, y, calibration=x, draws=1),
    "reorderings": lambda m, x, y: diagnosis.reorderings(m, x, y, calibration=x, draws=1),
    "path_gradients": lambda m, x, y: diagnosis.path_gradients(m, x, y, draws=1),
    "effective_depth": diagnosis.effective_depth,
    "gradient_correlation": lambda m, x, y: diagnosis.gradient_correlation(m, x, y, estimate_norms=True),
    "residual_norms": lambda m, x, y: diagnosis.residual_norms(m, x),
    "iterative_estimation": lambda m, x, y: diagnosis.iterative_estimation(m, x),
    "gate_values": lambda m, x, y: diagnosis.gate_values(m, x),
    "excitations": lambda m, x, y: diagnosis.excitations(m, x),
    "hessian_eigenvalues": lambda m, x, y: diagnosis.hessian_eigenvalues(m, x, y, count=1),
}


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("kind", [
    "classic", *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS if kind != "classic")])
def test_a_measure_leaves_the_network_as_it_was(kind: str, measure: str) -> None:
    model, (x, y) = network(depth=3, **KINDS[kind]), images()
    before, logits = {name: value.clone() for name, value in model.state_dict().items()}, model(x).detach()
    model.train()
    next(model.parameters()).requires_grad_(False)
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    with contextlib.suppress(Undefined):
        MEASURES[measure](model, x, y)
    assert all(module.training for module in model.modules())
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()] == hooks
    assert [p.requires_grad for p in model.parameters()] == [False] + [True] * (len(list(model.parameters())) - 1)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any("forward" in vars(module) for module in model.modules())
    assert torch.equal(model.eval()(x), logits)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_put_back_after_an_error(kind: str) -> None:
    model, (x, _) = network(**KINDS[kind]), images()
    before, logits = {name: value.clone() for name, value in model.state_dict().items()}, model(x)
    block = blocks_of(model, x)[0].module
    with pytest.raises(RuntimeError, match="meant"), replaced([(block, lambda x: x)]), estimated_norms(model, x), \
            evaluating(model):
        raise RuntimeError("meant")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(model(x), logits)


def test_blocks_by_name_stage_shape_and_shortcut() -> None:
    found = blocks_of(network(), images()[0])
    assert [(b.name, b.stage, b.shape, b.out, b.shortcut) for b in found] == [
        ("stage1.block1", "stage1", (8, 8, 8), (8, 8, 8), "identity"),
        ("stage1.block2", "stage1", (8, 8, 8), (8, 8, 8), "identity"),
        ("stage2.block1", "stage2", (8, 8, 8), (16, 4, 4), "projection"),
        ("stage2.block2", "stage2", (16, 4, 4), (16, 4, 4), "identity"),
    ]
    assert [b.same_shape for b in found] == [b.removable for b in found] == [True, True, False, True]
    plain = blocks_of(network(shortcut="none"), images()[0])
    assert {b.shortcut for b in plain} == {"none"}
    assert [b.removable for b in plain] == [True, True, False, True]
    assert not any(b.removable for b in blocks_of(network(shortcut="C"), images()[0]))


def test_a_memory_is_no_obstacle() -> None:
    found = blocks_of(network(memory=8), images()[0])
    assert [b.name.rpartition("stage")[2] for b in found] == ["1.block1", "1.block2", "2.block1", "2.block2"]
    assert len({b.stage for b in found}) == 2


def test_a_block_within_a_block_is_a_part_of_it() -> None:
    inner = Residual(branch=scaling(3, 2.0), shortcut=nn.Identity())
    outer = Residual(branch=nn.Sequential(OrderedDict(inner=inner)), shortcut=nn.Identity())
    model = nn.Sequential(OrderedDict(stage1=nn.Sequential(OrderedDict(block1=outer)), head=Head(3, 4)))
    assert [b.name for b in blocks_of(model, images()[0])] == ["stage1.block1"]


def test_a_network_without_blocks_has_nothing_to_diagnose() -> None:
    with pytest.raises(Undefined, match="no residual block"):
        blocks_of(nn.Sequential(scaling(3, 1.0), Head(3, 4)), images()[0])


def test_error_rate_counts_wrong_answers_and_estimates_norms() -> None:
    model, (x, y) = chain(0.5), images(300)
    with torch.no_grad():
        wrong = int((model(x).argmax(1) != y).sum())
    assert error_rate(model, x, y) == wrong / 300
    settled, other = network(), 5 + 3 * images(200)[0]
    with torch.no_grad():
        expected = network().train()(other).argmax(1)       # norms of these very images
    assert error_rate(settled, other, expected) > 0.2, "the statistics are of other images"
    assert error_rate(settled, other, expected, calibration=other) < 0.1
