"""What the network computes, against a slow reference written from the papers and against closed forms."""

from __future__ import annotations

import itertools
import math
import random

import pytest
import torch
from model_cases import drawn, unsettled
from torch import Tensor, nn

from nas.architecture import ORDERS, SHORTCUTS, Architecture, Stage
from nas.model import build, layers
from nas.plan import plan
from nas.verify.papers import Reference


@pytest.mark.parametrize("seed", [*range(40), *(pytest.param(n, marks=pytest.mark.slow) for n in range(40, 240))])
def test_network_computes_what_the_papers_say(seed: int) -> None:
    rng = random.Random(seed)
    architecture = drawn(rng)
    shape = (rng.choice([1, 3]), rng.choice([6, 9]), rng.choice([7, 8]))
    model = unsettled(plan(architecture, shape, 5), seed)
    x = torch.randn(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        torch.testing.assert_close(model(x), Reference(architecture, model.state_dict())(x), rtol=1e-9, atol=1e-9)


# --- layers in closed form ------------------------------------------------------------------------------------------

class Times(nn.Module):
    """Multiplies by a number."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


def gate(kind: str, logit: float) -> layers.Gate:
    """A gate of one channel whose transform logit is `logit` everywhere, its carry logit minus that."""
    def constant(bias: float) -> nn.Module:
        conv = layers.conv(1, 1, 1, bias=True, bias_init=bias)
        nn.init.zeros_(conv.weight)
        return conv

    return layers.Gate(kind, None if kind == "carry" else constant(logit),
                       constant(-logit) if kind in {"carry", "full"} else None)


SIGMOID = 1 / (1 + math.exp(2.0))       # of -2


@pytest.mark.parametrize(("kind", "expected"), [
    ("highway", 3 * (1 - SIGMOID) + 5 * SIGMOID),
    ("transform", 3 + 5 * SIGMOID),
    ("carry", 3 * (1 - SIGMOID) + 5),
    ("full", 3 * (1 - SIGMOID) + 5 * SIGMOID),
])
def test_gate_of_a_constant(kind: str, expected: float) -> None:
    s, f = torch.full((1, 1, 2, 2), 3.0), torch.full((1, 1, 2, 2), 5.0)
    torch.testing.assert_close(gate(kind, -2.0)(s, f), torch.full((1, 1, 2, 2), expected))


def test_gate_reads_the_shortcut() -> None:
    transform = layers.conv(1, 1, 1, bias=True)
    nn.init.ones_(transform.weight)
    s, f = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2), torch.tensor([4.0, 4.0]).view(1, 1, 1, 2)
    t = 1 / (1 + math.exp(-1))
    expected = torch.tensor([2.0, 1 * (1 - t) + 4 * t]).view(1, 1, 1, 2)
    torch.testing.assert_close(layers.Gate("highway", transform)(s, f), expected)


def test_gates_start_open_for_the_shortcut() -> None:
    stage = Stage(1, 8, gate="full", gate_bias=-2.0)
    state = build(plan(Architecture((stage,), stem_width=8), (3, 8, 8), 2), 0).state_dict()
    assert state["stage1.block1.gate.transform.bias"].unique().tolist() == [-2.0]
    assert state["stage1.block1.gate.carry.bias"].unique().tolist() == [2.0]


@pytest.mark.parametrize("alpha", [1.0, 0.1, 2.5])
def test_residual_scales_the_branch_alone(alpha: float) -> None:
    x = torch.tensor([[-1.0, 2.0]])
    block = layers.Residual(Times(3.0), Times(-1.0), Times(2.0), nn.ReLU(), scale=alpha)
    torch.testing.assert_close(block(x), torch.relu(-2 * x + alpha * 6 * x))


def test_residual_without_shortcut_is_the_branch() -> None:
    x = torch.tensor([[-1.0, 2.0]])
    torch.testing.assert_close(layers.Residual(Times(3.0), scale=0.5)(x), 1.5 * x)


def test_input_of_a_block_is_left_as_it_was() -> None:
    """Activations work in place: never on the tensor that the shortcut, or another branch, still needs."""
    for order, shortcut, norm, branches in itertools.product(ORDERS, SHORTCUTS, ["batch", "none"], [1, 2]):
        stage = Stage(2, 8, branches=branches)
        architecture = Architecture((stage, stage), stem_width=8, order=order, shortcut=shortcut, norm=norm)
        model = build(plan(architecture, (3, 8, 8), 2), 0).eval()
        for block in (model.stage1.block1, model.stage1.block2, model.stage2.block2):
            x = torch.randn(1, 8, 8, 8, generator=torch.Generator().manual_seed(1))
            kept = x.clone()
            with torch.no_grad():
                block(x)
            assert torch.equal(x, kept), (order, shortcut, norm, branches)


def test_squeeze_excitation_in_closed_form() -> None:
    layer = layers.SqueezeExcitation(2, 1)
    with torch.no_grad():
        layer.squeeze.weight.copy_(torch.tensor([[1.0, 2.0]]))
        layer.squeeze.bias.fill_(-1.0)
        layer.excite.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        layer.excite.bias.copy_(torch.tensor([0.0, 0.5]))
    x = torch.tensor([[[[1.0, 3.0]], [[0.0, 1.0]]]])        # means 2 and 0.5; hidden relu(2 + 1 - 1) = 2
    first, second = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(1.5))
    torch.testing.assert_close(layer(x), torch.tensor([[[[first, 3 * first]], [[0.0, second]]]]))


def test_squeeze_excitation_rectifies_its_hidden_layer() -> None:
    layer = layers.SqueezeExcitation(2, 1)
    with torch.no_grad():
        layer.squeeze.bias.fill_(-1e6)
        layer.excite.bias.zero_()
    x = torch.randn(2, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(layer(x), x / 2)


def test_pad_shortcut_samples_and_pads() -> None:
    x = torch.arange(1.0, 19.0).view(1, 2, 3, 3)
    expected = torch.zeros(1, 5, 2, 2)
    expected[0, 0] = torch.tensor([[1.0, 3.0], [7.0, 9.0]])
    expected[0, 1] = torch.tensor([[10.0, 12.0], [16.0, 18.0]])
    assert torch.equal(layers.PadShortcut(2, 3)(x), expected)


def test_head_is_the_mean_and_a_linear_layer() -> None:
    head = layers.Head(2, 3)
    x = torch.randn(2, 2, 3, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(head(x), head.linear(x.flatten(2).mean(2)))


@pytest.mark.parametrize("groups", [1, 4])
def test_sampled_convolution_is_the_strided_one(groups: int) -> None:
    """Networks use it in place of torch's own where that is wrong on CPUs; the two must be one function."""
    sampled = layers.conv(4, 8, 1, stride=2, groups=groups, bias=True, bias_init=0.25)
    assert isinstance(sampled, layers.SampledConv)
    x = torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    plain = nn.functional.conv2d(x, sampled.weight, sampled.bias, stride=2, groups=groups)
    torch.testing.assert_close(sampled(x), plain)


# --- wiring -----------------------------------------------------------------------------------------------------------

def test_pre_activation_shares_norm_where_shapes_change() -> None:
    """He et al. 2016: the first norm-ReLU of a block that changes shape feeds branch and projection."""
    model = build(plan(Architecture((Stage(2, 16), Stage(2, 32)), order="pre"), (3, 8, 8), 10), 0)
    first, second = model.stage2.block1, model.stage2.block2
    assert (first.pre is not None, second.pre is None) == (True, True)
    assert [name for name, _ in first.branch.named_children()] == ["conv1", "norm2", "act2", "conv2"]
    assert [name for name, _ in second.branch.named_children()] == ["norm1", "act1", "conv1", "norm2", "act2", "conv2"]
    assert [name for name, _ in first.shortcut.named_children()] == ["conv"]        # no norm on the projection
    assert isinstance(second.shortcut, nn.Identity)
    assert isinstance(model.stage1.block1.shortcut, nn.Identity)                    # 16 channels in and out
    assert [name for name, _ in model.named_children()] == ["stem", "stage1", "stage2", "final", "head"]
    assert all(block.post is None for stage in (model.stage1, model.stage2) for block in stage)


def test_plain_network_has_no_shortcut() -> None:
    for order in ORDERS:
        model = build(plan(Architecture((Stage(2, 16), Stage(2, 32)), order=order, shortcut="none"), (3, 8, 8), 10), 0)
        blocks = [block for block in model.modules() if isinstance(block, layers.Residual)]
        assert [(block.shortcut, block.pre) for block in blocks] == [(None, None)] * 4


def test_plain_network_forgets_its_input_where_the_branch_is_zero() -> None:
    architecture = Architecture((Stage(1, 8),), stem_width=8, shortcut="none")
    model = build(plan(architecture, (3, 8, 8), 4), 0).eval()
    nn.init.zeros_(model.stage1.block1.branch.norm2.weight)
    a, b = torch.randn(2, 1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(model(a), model(b))


def test_branch_at_zero_leaves_the_shortcut() -> None:
    architecture = Architecture((Stage(3, 8),), stem_width=8)
    model = build(plan(architecture, (3, 8, 8), 4), 0).eval()
    for block in model.stage1:
        nn.init.zeros_(block.branch.norm2.weight)
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model(x), model.head(model.stem(x)))


@pytest.mark.parametrize(("stride_in", "striding"), [("conv3x3", "conv2"), ("conv1x1", "conv1")])
def test_bottleneck_strides_where_told(stride_in: str, striding: str) -> None:
    stage = Stage(1, 16, "bottleneck", shortcut_depth=4)
    model = build(plan(Architecture((stage, stage), stride_in=stride_in), (3, 8, 8), 10), 0)
    strides = {n: c.stride for n, c in model.stage2.block1.branch.named_children() if isinstance(c, nn.Conv2d)}
    assert [name for name, stride in strides.items() if stride == (2, 2)] == [striding]
    assert all(m.stride == (1, 1) for m in model.stage1.modules() if isinstance(m, nn.Conv2d))


def test_convolutions_start_as_he_et_al_say() -> None:
    conv = layers.conv(64, 128, 3)
    assert conv.bias is None
    assert conv.weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)


# --- seeds ------------------------------------------------------------------------------------------------------

SMALL = plan(Architecture((Stage(1, 8, gate="highway", se_ratio=0.25), Stage(1, 16))), (3, 8, 8), 4)


def test_build_with_a_seed_is_deterministic_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    one, two, other = (build(SMALL, seed).state_dict() for seed in (5, 5, 6))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert not torch.equal(one["stem.conv.weight"], other["stem.conv.weight"])


def test_seed_does_not_depend_on_the_generator() -> None:
    torch.manual_seed(1)
    one = build(SMALL, 5).state_dict()
    torch.manual_seed(2)
    two = build(SMALL, 5).state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_build_without_a_seed_draws_from_the_generator() -> None:
    assert not torch.equal(build(SMALL).state_dict()["stem.conv.weight"], build(SMALL).state_dict()["stem.conv.weight"])


def test_gradients_reach_every_weight() -> None:
    stages = (Stage(2, 8, gate="full", se_ratio=0.5), Stage(2, 16, "bottleneck", shortcut_depth=3, cardinality=2))
    for order in ORDERS:
        model = build(plan(Architecture(stages, stem_width=8, order=order), (3, 8, 8), 4), 0).train()
        model(torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))).square().sum().backward()
        assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
