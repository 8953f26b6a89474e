"""The block's formula y = post(P C + alpha g drop(T SE(sum of F))): against the papers, and with forced values.

Forced: without norms, the last convolution of each function is its bias, so that F is a constant, and s, alpha, gates
and gains are numbers. What comes out must be what the formula says, by hand.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from nas.architecture import Architecture
from nas.verify.claims import Check, Finding, Tier, exactly, near
from nas.verify.networks import SMALL, chain, force, module, noise, pyramid, unsettled
from nas.verify.papers import Reference

S, F = 3.0, 5.0     # the shortcut's and the function's forced values


def as_written(what: str, source: str, *networks: Architecture) -> Check:
    """The largest difference of our logits to those of the network written once more, from the papers."""
    def measure() -> Finding:
        worst = 0.0
        for seed, network in enumerate(networks):
            model = unsettled(network, seed=seed)
            x = noise(2, *SMALL, seed=seed, double=True)
            with torch.no_grad():
                ours, theirs = model(x), Reference(network, model.state_dict())(x)
            worst = max(worst, float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-9)))
        return near(0.0, worst, 1e-9)

    return Check(Tier.exact, f"{what}: logits as the paper's arithmetic, in float64", source, measure)


def sigmoid(x: float) -> float:
    """By hand."""
    return 1 / (1 + math.exp(-x))


def forced_block(*, shortcut: str = "B", drop_path: float = 0.0, **stage: Any) -> nn.Module:
    """A block of 8 channels with F = 5, in evaluation mode."""
    network = chain(1, stage=stage, norm="none", shortcut=shortcut, drop_path=drop_path)
    block = module(network).get_submodule("stage1.block1").eval()
    force(block, F)
    return block


@torch.no_grad()
def at(block: nn.Module, s: float = S) -> float:
    """What the block makes of `s` in the middle of a plane: of its first channel, the same in all where `same`."""
    return float(block(torch.full((1, 8, 7, 7), s))[0, 0, 3, 3])


@torch.no_grad()
def logits(block: nn.Module, **biases: float) -> nn.Module:
    """Forced gates: no weights, these biases."""
    for name, bias in biases.items():
        conv = block.get_submodule(f"gate.{name}")
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is not None
        nn.init.zeros_(conv.weight)
        nn.init.constant_(conv.bias, bias)
    return block


# --- alpha, branches --------------------------------------------------------------------------------------------------

def alphas() -> Finding:
    """y = s + alpha F for fixed alphas, and 1/sqrt(L) of one block."""
    values = (1.0, 0.1, 0.2, 0.3, 2.5)
    found = [at(forced_block(residual_scaling=alpha)) for alpha in values]
    return near([S + alpha * F for alpha in values], found, 1e-5)


def alpha_of_depth() -> Finding:
    """1/sqrt(L), L all blocks: of 3 stages of 3, 1/3."""
    model = module(pyramid(3, 8, 16, 16, stage={"residual_scaling": "1/sqrt(L)"}, norm="none")).eval()
    block = model.get_submodule("stage1.block1")
    force(block, F)
    return near(S + F / 3, at(block), 1e-5)


def branch_sum() -> Finding:
    """y = s + k F for k = 1, 2, 5, and s + sqrt(k) F where alpha = 1/sqrt(k)."""
    ks = (1, 2, 5)
    plain = [at(forced_block(branches=k)) for k in ks]
    kept = [at(forced_block(branches=k, residual_scaling="1/sqrt(k)")) for k in ks]
    return near([*(S + k * F for k in ks), *(S + math.sqrt(k) * F for k in ks)], [*plain, *kept], 1e-4)


def own_norms() -> Finding:
    """Of k branches of two convolutions: 4 C k norm weights a block."""
    block = module(chain(1, stage={"branches": 3})).get_submodule("stage1.block1.branch")
    return exactly(3 * 4 * 8, sum(p.numel() for p in block.parameters() if p.ndim == 1))


# --- gates ------------------------------------------------------------------------------------------------------------

def highway_gate() -> Finding:
    """y = (1 - T) s + T F between s and F, T = sigmoid(b)."""
    biases = (-3.0, -1.0, 0.0, 2.0)
    predicted = [(1 - sigmoid(b)) * S + sigmoid(b) * F for b in biases]
    return near(predicted, [at(logits(forced_block(gate="highway"), transform=b)) for b in biases], 1e-5)


def other_gates() -> Finding:
    """transform: s + T F. carry: C s + F. full: C s + T F. T = sigmoid(-1), C = sigmoid(2)."""
    t, c = sigmoid(-1.0), sigmoid(2.0)
    found = [at(logits(forced_block(gate="transform"), transform=-1.0)),
             at(logits(forced_block(gate="carry"), carry=2.0)),
             at(logits(forced_block(gate="full"), transform=-1.0, carry=2.0))]
    return near([S + t * F, c * S + F, c * S + t * F], found, 1e-5)


def gate_start() -> Finding:
    """T = sigmoid(b_T) at s = 0, where the gate's weights say nothing: y = T F."""
    biases = (-1.0, -2.0, -3.0)
    found = [at(forced_block(gate="highway", gate_bias=b), 0.0) for b in biases]
    return near([sigmoid(b) * F for b in biases], found, 1e-5)


# --- channel attention, gains -----------------------------------------------------------------------------------------

def excited() -> Finding:
    """y = s + sigmoid(e) F, e the bias of the excitation; behind the norm, so that a norm does not undo it."""
    found = []
    for norm in ("none", "batch"):
        block = module(chain(1, stage={"se_ratio": 0.5}, norm=norm)).get_submodule("stage1.block1").eval()
        if norm == "none":
            force(block, F)
        else:
            last = block.get_submodule("branch.norm2")
            assert isinstance(last, nn.BatchNorm2d)
            nn.init.zeros_(last.weight)
            nn.init.constant_(last.bias, F)
        excite = block.get_submodule("branch.se.excite")
        assert isinstance(excite, nn.Linear)
        nn.init.zeros_(excite.weight)
        nn.init.constant_(excite.bias, -2.0)
        found.append(at(block))
    return near([S + sigmoid(-2.0) * F] * 2, found, 1e-5)


def attended() -> Finding:
    """y = s + sigmoid(w F) F, w the middle weight of the ECA convolution, the others 0."""
    block = forced_block(attention="eca")
    weight = block.get_parameter("branch.eca.conv.weight")
    with torch.no_grad():
        weight.zero_()
        weight[0, 0, weight.shape[-1] // 2] = -0.3
    return near(S + sigmoid(-0.3 * F) * F, at(block), 1e-5)


def identity_at_start(gain: str) -> Check:
    """A stage of blocks whose branch starts at zero puts out what it takes."""
    def measure() -> Finding:
        stage = module(chain(4, stage={"gain": gain})).get_submodule("stage1").eval()
        x = noise(2, 8, 8, 8).abs()
        with torch.no_grad():
            return exactly(0.0, float((stage(x) - x).abs().max()))

    return Check(Tier.exact, f"{gain}: at initialisation a stage is the identity map: largest difference",
                 {"zero_gamma": "Goyal et al. 2017", "skipinit": "De and Smith 2020; Bachlechner et al. 2021"}[gain],
                 measure)


def skipinit_learns() -> Finding:
    """y = s + g F with the gain set to 0.5: one number a block."""
    block = forced_block(gain="skipinit")
    nn.init.constant_(block.get_parameter("branch.gain.factor"), 0.5)
    return near([S + 0.5 * F, 1], [at(block), block.get_parameter("branch.gain.factor").numel()], 1e-5)


def layerscale() -> Finding:
    """y = s + 10^-4 F at the start in each of C channels; then channel by channel."""
    block = forced_block(gain="layerscale", gain_init=1e-4)
    factor = block.get_parameter("branch.gain.factor")
    started = at(block)
    with torch.no_grad():
        factor.copy_(torch.arange(factor.numel()))
        y = block(torch.full((1, 8, 7, 7), S))[0, :, 3, 3].tolist()
    return near([S + 1e-4 * F, *(S + c * F for c in range(8))], [started, *y], 1e-5)


def whole_formula() -> Finding:
    """y = C s + alpha g T sigmoid(e) k F with every factor forced, k = 3 and 0.2, 0.5, sigmoid(-1), ..."""
    block = logits(forced_block(branches=3, residual_scaling=0.2, gain="skipinit", se_ratio=0.5, gate="full"),
                   transform=-1.0, carry=2.0)
    nn.init.constant_(block.get_parameter("branch.gain.factor"), 0.5)
    nn.init.zeros_(block.get_parameter("branch.se.excite.weight"))
    nn.init.constant_(block.get_parameter("branch.se.excite.bias"), 0.7)
    predicted = sigmoid(2.0) * S + 0.2 * 0.5 * sigmoid(-1.0) * sigmoid(0.7) * 3 * F
    return near(predicted, at(block), 1e-5)


# --- shortcuts --------------------------------------------------------------------------------------------------------

@torch.no_grad()
def padded_shortcut() -> Finding:
    """A: every other place, zeros in the new channels, no weights. The branch is forced to 0."""
    block = module(pyramid(1, 4, 8, shortcut="A", norm="none")).get_submodule("stage2.block1").eval()
    force(block, 0.0)
    x = noise(1, 4, 6, 6).abs()
    y = block(x)
    differences = [float((y[:, :4] - x[:, :, ::2, ::2]).abs().max()), float(y[:, 4:].abs().max())]
    weights = sum(p.numel() for name, p in block.named_parameters() if name.startswith("shortcut"))
    return exactly([0.0, 0.0, 0], [*differences, weights])


def projections() -> Finding:
    """Projections of two stages of 3 blocks: none in A, one in B, six in C; plain networks have no shortcut."""
    found = []
    for shortcut in ("A", "B", "C", "none"):
        model = module(pyramid(3, 8, 16, shortcut=shortcut))
        found.append(sum(name.endswith("shortcut.conv.weight") for name, _ in model.named_parameters()))
    return exactly([0, 1, 6, 0], found)


def negative_passes() -> Finding:
    """Pre-activation: no ReLU after the sum, so that -3 + 0 passes a block; post-activation rectifies it."""
    found = []
    for order in ("pre", "post"):
        block = module(chain(1, order=order, norm="none")).get_submodule("stage1.block1").eval()
        force(block, 0.0)
        found.append(at(block, -S))
    return exactly([-S, 0.0], found)


# --- while training ---------------------------------------------------------------------------------------------------

def drop_rates() -> Finding:
    """Block l of L is left out at rate p l / L: shares of 4,000 images over 4 blocks, p = 0.8."""
    stage = module(chain(4, norm="none", drop_path=0.8)).get_submodule("stage1")
    rates = []
    for block in stage.children():
        force(block, F)
        rates.append(float((_trained(block) == S).double().mean()))
    return near([0.2, 0.4, 0.6, 0.8], rates, 0.03)


def drop_values() -> Finding:
    """What is kept is s + F / (1 - p), p = 0.5, and s + F when evaluated: the expectation is the same."""
    block = forced_block(drop_path=0.5)
    values = sorted({round(float(v), 4) for v in _trained(block)})
    return near([S, S + F / 0.5, S + F], [*values, at(block.eval())], 1e-4)


@torch.no_grad()
def _trained(block: nn.Module) -> torch.Tensor:
    """What the block makes of S in training mode, of shape (4000,)."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found: torch.Tensor = block.train()(torch.full((4000, 8, 1, 1), S))[:, 0, 0, 0]
    return found


@torch.no_grad()
def dropout_place() -> Finding:
    """Shares of zeros that a block's two convolutions take in, without rectifiers: 0 and the rate; evaluated, 0.

    And what the second takes in is as large in the mean as without dropout: by how much the elements kept are larger.
    """
    stage = {"dropout": 0.3}
    block = module(chain(1, stage=stage, norm="none", activation="identity")).get_submodule("stage1.block1")
    taken: list[torch.Tensor] = []
    for name in ("conv1", "conv2"):
        block.get_submodule(f"branch.{name}").register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        block.train()(noise(200, 8, 8, 8))
        block.eval()(noise(200, 8, 8, 8))
    zeros = [float((x == 0).double().mean()) for x in taken]
    kept = taken[1] != 0
    grown = float((taken[1][kept] / taken[3][kept]).median())
    return near([0.0, 0.3, 0.0, 0.0, 1 / 0.7], [*zeros, grown], 0.01)


