"""Paths and gradients in closed form: what shortcuts make of a network of linear blocks, and sums over shared steps."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.architecture import Architecture
from nas.diagnosis import effective_depth, path_gradient, path_gradients
from nas.model.layers import Residual
from nas.report.style import BLUE, GREY, figure
from nas.verify.claims import Finding, near
from nas.verify.networks import POINT, chain, module, noise, pyramid, within

BLOCKS, BETA = 6, 0.3


@torch.no_grad()
def linear_chain(blocks: int, beta: float = 1.0) -> nn.Module:
    """Blocks of ours, y = x + beta x: one convolution each, forced to the identity map; the head as it starts."""
    stage = {"kernel": 1, "shortcut_depth": 1, "residual_scaling": beta}
    model = within(module(chain(blocks, 4, stage=stage, norm="none", activation="identity"), POINT))
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.copy_(torch.eye(4)[:, :, None, None])
    return model


@torch.no_grad()
def path_lengths() -> Finding:
    """n blocks with t on their branches put out sum_r c_r t^r x: c_r, the number of paths of r branches, C(n, r)."""
    stage = linear_chain(BLOCKS).get_submodule("stage1").double()
    x = noise(1, 4, 1, 1, double=True)
    values = []
    for t in range(BLOCKS + 1):
        for block in stage.children():
            assert isinstance(block, Residual)
            block.scale = float(t)
        values.append(float((stage(x) / x).mean()))
    found = np.linalg.solve(np.vander(range(BLOCKS + 1), increasing=True), np.array(values)).round(6).tolist()
    predicted = [float(math.comb(BLOCKS, r)) for r in range(BLOCKS + 1)]
    made = figure(280, xaxis={"title": {"text": "branches on the path"}}, yaxis={"title": {"text": "paths"}})
    made.add_bar(x=list(range(BLOCKS + 1)), y=found, name="found", marker={"color": BLUE, "opacity": 0.7})
    made.add_scatter(x=list(range(BLOCKS + 1)), y=predicted, mode="markers", name="C(n, r)",
                     marker={"color": GREY, "symbol": "line-ew-open", "size": 22})
    made.update_layout(showlegend=True)
    return near([*predicted, 2.0**BLOCKS], [*found, sum(found)], 1e-4, figures=(made,))


def path_sum() -> Finding:
    """The gradients of all 2^n paths of a nonlinear network, n = 4, add up to the gradient: the largest difference."""
    model = module(pyramid(2, 8, 16, order="pre")).double().eval()
    x, y = noise(4, 3, 8, 8, double=True), torch.arange(4)
    paths = [path_gradient(model, x, y, branches) for branches in product((False, True), repeat=4)]
    whole = _gradient(model, x, y)
    return near([0.0, 16], [float((torch.stack(paths).sum(0) - whole).abs().max() / whole.abs().max()),
                            sum(bool(path.abs().sum() > 0) for path in paths)], 1e-6)


def _gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    x = x.clone().requires_grad_(True)
    return torch.autograd.grad(F.cross_entropy(model(x), y, reduction="sum"), x)[0]


def gradient_lengths() -> Finding:
    """Paths weigh beta^r: the mean length of those that bring the gradient is n beta / (1 + beta)."""
    model, x = linear_chain(BLOCKS, BETA), noise(6, 4, 1, 1)
    y = torch.arange(6) % 5
    found = path_gradients(model, x, y, draws=4)
    return near(BLOCKS * BETA / (1 + BETA), found.effective_length, 1e-3, relative=True)


def depth_of_chain() -> Finding:
    """d ln |gradient| / d ln t at t = 1 of (1 + t beta)^n, by n: beta / (1 + beta)."""
    betas = (0.1, 0.3, 1.0)
    y = torch.arange(6) % 5
    found = [effective_depth(linear_chain(BLOCKS, beta), noise(6, 4, 1, 1), y).share for beta in betas]
    return near([beta / (1 + beta) for beta in betas], found, 1e-3)


def likeliest_length() -> Finding:
    """argmax_r C(p-1, r-1) beta^r / p at p = 2,000 tends to beta / (1 + beta): of the paths through p - 1 blocks.

    Measured as the likeliest length of the paths of a chain of ours, whose path of r branches has the gradient beta^r.
    """
    betas, found = (0.1, 0.3, 1.0), []
    y = torch.arange(3)
    for beta in betas:
        norms = path_gradients(linear_chain(BLOCKS, beta), noise(3, 4, 1, 1), y, draws=2).norm
        each = math.log(norms[-1] / norms[0]) / BLOCKS      # of one branch, as measured
        p = 2000
        weights = [math.lgamma(p) - math.lgamma(r) - math.lgamma(p - r + 1) + r * each for r in range(1, p + 1)]
        found.append((1 + max(range(p), key=weights.__getitem__)) / p)
    return near([beta / (1 + beta) for beta in betas], found, 0.002)


# --- weights that are shared over steps -------------------------------------------------------------------------------

def _unshared_copy(shared: nn.Module, architecture: Architecture) -> nn.Module:
    """The same function with weights of its own in each step."""
    copy = module(architecture).double()
    state = {name: shared.state_dict().get(name, shared.state_dict().get(
        ".".join(["stage1.block1", *name.split(".")[2:]]))) for name in copy.state_dict()}
    copy.load_state_dict(state)
    return copy


def shared_gradients() -> Finding:
    """Of 4 steps against a copy whose steps have weights of their own: differences of logits, and of the gradient of
    the shared convolutions to the sum over steps.
    """
    shared = module(chain(4, stage={"share": "stage"})).double()
    apart = _unshared_copy(shared, chain(4))
    x, y = noise(6, 3, 8, 8, double=True), torch.arange(6) % 5
    outputs = [model(x) for model in (shared, apart)]
    for output in outputs:
        F.cross_entropy(output, y).backward()     # type: ignore[no-untyped-call]
    worst = 0.0
    for conv in ("conv1", "conv2"):
        steps = [apart.get_parameter(f"stage1.block{n}.branch.{conv}.weight").grad for n in range(1, 5)]
        whole = shared.get_parameter(f"stage1.block1.branch.{conv}.weight").grad
        assert whole is not None
        summed = torch.stack([one for one in steps if one is not None]).sum(0)
        worst = max(worst, float((whole - summed).abs().max() / summed.abs().max()))
    return near([0.0, 0.0], [float((outputs[0] - outputs[1]).detach().abs().max()), worst], 1e-9)


# --- the mixed network ------------------------------------------------------------------------------------------------

@torch.no_grad()
def mixing_dilations() -> Finding:
    """Where an impulse goes when every kernel takes its left neighbour alone: a 1 + 2, b 2 + 1, and halves that swapped
    1 + 1 and 2 + 2. Places with something in them: of the first half of the channels, of the second.
    """
    mixing = _mixing(lambda kernel: kernel[:, :, 1, 0].copy_(torch.eye(4)))
    x = torch.zeros(1, 4, 1, 13)
    x[..., 6] = 1
    y = mixing(x)[0, :, 0]
    first, second = (sorted(set(part.nonzero()[:, 1].tolist())) for part in (y[:2], y[2:]))
    return near([9, 8, 10], [*map(float, first), *map(float, second)], 0)


@torch.no_grad()
def mixing_swaps() -> Finding:
    """Kernels that multiply by 2, 3 (a1, b1) and 5, 7 (a2, b2): 2x5 + 3x7 in the half that stays, 2x7 + 3x5 else."""
    factors = iter((2.0, 3.0, 5.0, 7.0))
    mixing = _mixing(lambda kernel: kernel[:, :, 1, 1].copy_(next(factors) * torch.eye(4)))
    y = mixing(torch.ones(1, 4, 1, 5))[0, :, 0, 2].tolist()
    return near([31.0, 31.0, 29.0, 29.0], y, 1e-5)


def _mixing(fill: object) -> nn.Module:
    stage = {"mixing": "dilated"}
    model = module(chain(1, 4, stage=stage, norm="none", activation="identity"))
    mixing = model.get_submodule("stage1.block1.branch.mixing")
    for layer in mixing.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.zero_()
            assert callable(fill)
            fill(layer.weight)
    return mixing


VALUES, WIDTH = 4, 16      # of an input, and channels


@torch.no_grad()
def grid_ranks() -> Finding:
    """The grid tensor of a unit over 4 inputs of 4 values each (4^4 entries), as a matrix of 2 by 2 inputs in the split
    of each tree, for either tree and the mixed network; kernels take two places each, as in the paper.

    A tree of (1, 2) puts out f(x0, x1) + g(x2, x3): of rank 2 in its own split; (2, 1) has the other split. The least
    rank over both splits: 2 and 2, and more for the mixed network.
    """
    torch.manual_seed(0)
    model = module(chain(1, WIDTH, stage={"mixing": "dilated"}, norm="none")).double()
    mixing = model.get_submodule("stage1.block1.branch.mixing")
    for layer in mixing.modules():
        if isinstance(layer, nn.Conv2d):
            kept = layer.weight[:, :, 1, :2].clone()       # this place and the one before
            layer.weight.zero_()
            layer.weight[:, :, 1, :2] = kept
            assert layer.bias is not None
            layer.bias.copy_(noise(WIDTH, seed=1))
    templates = noise(VALUES, WIDTH, seed=2, double=True)
    grid = torch.tensor(list(product(range(VALUES), repeat=4)))
    x = templates[grid].permute(0, 2, 1)[:, :, None]       # (4^4, channels, 1, 4)
    steps = list(mixing.children())
    outputs = [steps[2](steps[0](x)), steps[3](steps[1](x)), mixing(x)]
    ranks = [[_rank(one[:, 0, 0, 3], split) for split in ((0, 1, 2, 3), (0, 2, 1, 3))] for one in outputs]
    least = [min(one) for one in ranks]
    made = figure(280, yaxis={"title": {"text": "rank of the matrix, at most 16"}})
    for index, (name, colour) in enumerate((("split 01|23", BLUE), ("split 02|13", GREY))):
        made.add_bar(x=["tree (1, 2)", "tree (2, 1)", "mixed"], y=[one[index] for one in ranks], name=name,
                     marker={"color": colour})
    made.update_layout(showlegend=True, barmode="group")
    return Finding("2, 2, above 2", [*map(float, least)], "exact", least[:2] == [2, 2] and least[2] > 2, (made,))


def _rank(values: Tensor, split: tuple[int, ...]) -> int:
    tensor = values.reshape(VALUES, VALUES, VALUES, VALUES).permute(*split)
    return int(torch.linalg.matrix_rank(tensor.reshape(VALUES**2, VALUES**2), rtol=1e-9))


