"""What holds of networks as they start: variances, gradients, linearity. Random weights, so with tolerances.

Most are measured in chains of ours of one place, where convolutions are matrices, at widths where the theory of
infinite width holds to a few per cent. Nothing is trained.
"""

from __future__ import annotations

import math
import statistics
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.diagnosis import effective_depth, gradient_correlation
from nas.diagnosis.patches import estimated_norms
from nas.report.style import BLUE, GREY, VERMILION, figure
from nas.verify.claims import Finding, monotone, near
from nas.verify.formula import F as FORCED
from nas.verify.formula import S, forced_block
from nas.verify.networks import POINT, chain, module, noise, pyramid, within

WIDE = 512


# --- looks-linear -----------------------------------------------------------------------------------------------------

LINEAR: dict[str, Any] = {"order": "pre", "activation": "crelu", "init": "looks_linear", "norm": "none"}


@torch.no_grad()
def linear_at_start() -> Finding:
    """f(x + y) + f(0) = f(x) + f(y), in float64, for three stages: the largest difference by the largest logit."""
    worst = 0.0
    for shortcut in ("B", "none"):
        model = module(pyramid(2, 8, 16, 32, shortcut=shortcut, **LINEAR)).double().eval()
        x, y = noise(2, 4, 3, 8, 8, double=True)
        both, apart = model(x + y) + model(0 * x), model(x) + model(y)
        worst = max(worst, float((both - apart).abs().max() / apart.abs().max()))
    return near(0.0, worst, 1e-12)


# --- variances --------------------------------------------------------------------------------------------------------

@torch.no_grad()
def variances(blocks: int, scale: float, *, norm: str = "none", seed: int = 0, width: int = WIDE,
              **stage: Any) -> list[float]:
    """Of what comes out of each block of a linear chain, for inputs of unit variance; batch statistics."""
    values = {"kernel": 1, "residual_scaling": scale, **stage}
    part = module(chain(blocks, width, stage=values, norm=norm, activation="identity"), POINT,
                  seed=seed).get_submodule("stage1").train()
    x = noise(256, width, 1, 1, seed=seed)
    x, found = x / x.std(), []
    for block in part.children():
        x = block(x)
        found.append(float(x.double().var()))
    return found


def variance_without_norms() -> Finding:
    """(1 + s^2)^L, L = 40: the factor of one block, 1 + s^2, at s = 1 and 0.1, and the whole at s = 0.1."""
    one, tenth = variances(40, 1.0), variances(40, 0.1)
    made = _variance_figure([("s = 1", one, [2.0**n for n in range(1, 41)]),
                             ("s = 0.1", tenth, [1.01**n for n in range(1, 41)])], log=True)
    return near([2.0, 1.01, 1.01**40], [one[-1] ** (1 / 40), tenth[-1] ** (1 / 40), tenth[-1]], 0.05, relative=True,
                figures=(made,))


def variance_with_norms() -> Finding:
    """1 + s^2 L, L = 20, where each branch ends in a norm: at s = 1 and 0.3."""
    one, third = variances(20, 1.0, norm="batch"), variances(20, 0.3, norm="batch")
    made = _variance_figure([("s = 1", one, [1.0 + n for n in range(1, 21)]),
                             ("s = 0.3", third, [1.0 + 0.09 * n for n in range(1, 21)])], log=False)
    return near([21.0, 1 + 0.09 * 20], [one[-1], third[-1]], 0.08, relative=True, figures=(made,))


def variance_of_branches() -> Finding:
    """k branches of unit variance: 1 + k L, and 1 + L where alpha is 1/sqrt(k); L = 10, k = 4."""
    summed = variances(10, 1.0, norm="batch", branches=4, width=128)[-1]
    kept = variances(10, "1/sqrt(k)", norm="batch", branches=4, width=128)[-1]      # type: ignore[arg-type]
    return near([41.0, 11.0], [summed, kept], 0.1, relative=True)


def variance_of_depth() -> Finding:
    """alpha = 1/sqrt(L): 2 with norms and e without, at any depth; L = 10 and 40."""
    found = [variances(depth, "1/sqrt(L)", norm=norm)[-1]      # type: ignore[arg-type]
             for norm in ("batch", "none") for depth in (10, 40)]
    return near([2.0, 2.0, 1.1**10, 1.025**40], found, 0.08, relative=True)


def variance_by_span(spans: int) -> float:
    """The factor of one block of n convolutions without norms, linear: what it adds does not depend on n."""
    return math.exp(math.log(variances(10, 1.0, shortcut_depth=spans)[-1]) / 10)


def variance_of_spans() -> Finding:
    """Without norms a block doubles the variance, whatever the number n of convolutions that its shortcut spans."""
    return near([2.0] * 4, [variance_by_span(spans) for spans in (1, 2, 3, 4)], 0.05, relative=True)


def _variance_figure(curves: list[tuple[str, list[float], list[float]]], log: bool) -> Any:
    made = figure(320, xaxis={"title": {"text": "blocks"}},
                  yaxis={"title": {"text": "variance"}, "type": "log" if log else "linear"})
    for (name, found, theory), colour in zip(curves, (VERMILION, BLUE), strict=True):
        places = list(range(1, len(found) + 1))
        made.add_scatter(x=places, y=found, name=name, mode="markers", marker={"color": colour, "size": 6})
        made.add_scatter(x=places, y=theory, name=f"theory, {name}", mode="lines",
                         line={"color": colour, "width": 1.5, "dash": "dash"})
    made.update_layout(showlegend=True)
    return made


# --- gradients --------------------------------------------------------------------------------------------------------

def correlation(blocks: int, beta: float, *, shortcut: str = "B", norm: str = "batch", **network: Any) -> float:
    """Of input gradients over 96 inputs of unit variance, of a chain of one rectified layer a block."""
    stage = {"kernel": 1, "shortcut_depth": 1, "residual_scaling": beta}
    architecture = chain(blocks, WIDE, stage=stage, shortcut=shortcut, norm=norm, **{"order": "pre", **network})
    model = within(module(architecture, POINT))
    x = noise(96, WIDE, 1, 1)
    return gradient_correlation(model, x, torch.arange(96) % 5, estimate_norms=True).first


def correlations() -> Finding:
    """L = 8: plain 2^-L, residual (1 + beta^2 L)^-1/2 at beta 1 and 0.1, looks-linear 1."""
    predicted = [2.0**-8, 9**-0.5, 1.08**-0.5, 1.0]
    found = [correlation(8, 1.0, shortcut="none"), correlation(8, 1.0), correlation(8, 0.1), looks_linear()]
    limits = (0.003, 0.06, 0.01, 1e-4)
    passed = all(abs(a - b) <= limit for a, b, limit in zip(predicted, found, limits, strict=True))
    made = figure(320, yaxis={"title": {"text": "correlation of gradients"}, "range": [0, 1.05]})
    names = ["plain", "residual, β = 1", "residual, β = 0.1", "looks-linear"]
    made.add_bar(x=names, y=found, name="measured", marker={"color": BLUE, "opacity": 0.75})
    made.add_scatter(x=names, y=predicted, name="theory", mode="markers",
                     marker={"symbol": "line-ew-open", "size": 40, "color": VERMILION})
    made.update_layout(showlegend=True)
    return Finding(predicted, found, "± .003, .06, .01, 1e-4", passed, (made,))


def looks_linear() -> float:
    """Of the whole network, from the first block."""
    model = module(chain(8, 32, **LINEAR))
    return gradient_correlation(model, noise(32, 3, 8, 8), torch.arange(32) % 5).first


def correlation_by_depth() -> Finding:
    """Residual networks, beta = 1: it falls as (1 + L)^-1/2, and in a plain one it is halved by each layer."""
    depths = (2, 4, 8)
    plain = [correlation(depth, 1.0, shortcut="none") for depth in depths]
    residual = [correlation(depth, 1.0) for depth in depths]
    made = figure(320, xaxis={"title": {"text": "layers"}}, yaxis={"title": {"text": "correlation"}, "type": "log"})
    for name, found, theory, colour in (("plain", plain, [2.0**-n for n in depths], VERMILION),
                                        ("residual", residual, [(1 + n)**-0.5 for n in depths], BLUE)):
        made.add_scatter(x=depths, y=found, name=name, mode="markers", marker={"color": colour, "size": 9})
        made.add_scatter(x=depths, y=theory, name=f"theory, {name}", mode="lines",
                         line={"color": colour, "dash": "dash"})
    made.update_layout(showlegend=True)
    return near([*(2.0**-n for n in depths), *((1 + n)**-0.5 for n in depths)], [*plain, *residual], 0.08,
                figures=(made,))


def depth_share() -> Finding:
    """Effective depth by depth at 6, 12 and 24 blocks, mean of three seeds: it falls."""
    depths, found = (6, 12, 24), []
    for blocks in depths:
        shares = []
        for seed in range(3):
            model = module(pyramid(blocks // 3, 16, 32, 64), (3, 16, 16), seed=seed)
            x = noise(48, 3, 16, 16, seed=seed)
            with estimated_norms(model, x):
                shares.append(effective_depth(model, x, torch.arange(48) % 5).share)
        found.append(statistics.fmean(shares))
    made = figure(300, xaxis={"title": {"text": "blocks"}},
                  yaxis={"title": {"text": "effective depth / depth"}, "range": [0, 1]})
    made.add_scatter(x=depths, y=found, name="measured", mode="lines+markers", line={"color": BLUE})
    made.add_scatter(x=depths, y=(0.6, 0.5, 0.4), name="specification", mode="markers",
                     marker={"symbol": "x", "color": GREY})
    made.update_layout(showlegend=True)
    return monotone(found, rising=False, predicted="falls (0.60, 0.50, 0.40)", least=0.03, figures=(made,))


def memory_gradient() -> Finding:
    """Norm of the loss's gradient by the first block's weights with an LSTM of 32 units over that without, all other
    weights the same; geometric means of 8 seeds. Of a residual network of 18 blocks with norms, where it hardly
    matters, and of a plain one without, whose gradient vanishes on its way through blocks, but not through the LSTM.
    """
    residual = _memory_ratio()
    plain = _memory_ratio(shortcut="none", norm="none", init="xavier")
    return Finding("above 1; plain without norms: far above", [residual, plain], "> 1, > 3",
                   residual > 1 and plain > 3)


def _memory_ratio(**network: Any) -> float:
    ratios = []
    for seed in range(8):
        without, memory = (module(pyramid(6, 8, 16, 32, memory=units, **network), (3, 16, 16), seed=seed)
                           for units in (0, 32))
        _give(without, memory)
        ratios.append(math.log(_first(memory, "memory.stage1.block1", seed) / _first(without, "stage1.block1", seed)))
    return math.exp(statistics.fmean(ratios))


@torch.no_grad()
def _give(without: nn.Module, memory: nn.Module) -> None:
    """The weights of a network to the same one with a memory, whose classifier takes in the states besides."""
    state = {f"memory.{name}" if name.startswith("stage") else name: value
             for name, value in without.state_dict().items() if name != "head.linear.weight"}
    memory.load_state_dict(state, strict=False)
    common = without.get_parameter("head.linear.weight")
    memory.get_parameter("head.linear.weight")[:, :common.shape[1]] = common


def _first(model: nn.Module, block: str, seed: int) -> float:
    x, y = noise(64, 3, 16, 16, seed=seed), torch.arange(64) % 5
    F.cross_entropy(model.train()(x), y).backward()     # type: ignore[no-untyped-call]
    found = [p.grad for p in model.get_submodule(block).parameters() if p.grad is not None]
    return float(torch.cat([one.flatten() for one in found]).norm())


# --- gates, gains, drops ----------------------------------------------------------------------------------------------

@torch.no_grad()
def gates_at_start() -> Finding:
    """The mean of T over units and images of a highway network whose gates see unit variance: near sigmoid(b)."""
    biases, found = (-3.0, -2.0, -1.0), []
    for bias in biases:
        block = module(chain(1, 64, stage={"gate": "highway", "gate_bias": bias})).get_submodule("stage1.block1")
        found.append(float(torch.sigmoid(block.get_submodule("gate.transform")(0.3 * noise(16, 64, 8, 8))).mean()))
    return near([1 / (1 + math.exp(-bias)) for bias in biases], found, 0.05)


def drop_expectation() -> Finding:
    """Stochastic depth, p = 0.5: the mean over 20,000 images of what a block puts out in training, and its variance."""
    block = forced_block(drop_path=0.5).train()
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(1)
        y = block(torch.full((20_000, 8, 1, 1), S))[:, 0, 0, 0].double()
    return near([S + FORCED, FORCED**2], [float(y.mean()), float(y.var())], 0.02, relative=True)


def gain_variance() -> Finding:
    """Without norms a gain that starts small keeps the variance: SkipInit 1, LayerScale of 0.1 1.01^L; L = 40."""
    found = [variances(40, 1.0, gain="skipinit")[-1], variances(40, 1.0, gain="layerscale", gain_init=0.1)[-1]]
    return near([1.0, 1.01**40], found, 0.05, relative=True)


def se_at_start() -> Finding:
    """The excitation starts near sigmoid(0) = 1/2 in each channel: mean weight over channels and images."""
    model = module(chain(1, 64, stage={"se_ratio": 1 / 16})).eval()
    return near(0.5, _scale(model, "se"), 0.08)


def eca_at_start() -> Finding:
    """ECA, too."""
    return near(0.5, _scale(module(chain(1, 64, stage={"attention": "eca"})).eval(), "eca"), 0.08)


@torch.no_grad()
def _scale(model: nn.Module, name: str) -> float:
    x: Tensor = noise(16, 64, 8, 8)
    return float((model.get_submodule(f"stage1.block1.branch.{name}")(x) / x).mean())


