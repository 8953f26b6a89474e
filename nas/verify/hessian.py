"""The Hessian of deep linear networks at zero (Li et al. 2016): why a shortcut over two convolutions is the right one.

Blocks of ours, y = x + W_n ... W_1 x, one place, no norms, no rectifier, in float64; the mean squared error to a linear
map of whitened inputs, by all weights of the blocks, all of them zero.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from nas.report.style import BLUE, GREEN, VERMILION, figure
from nas.verify.claims import Finding, exactly, monotone, near
from nas.verify.networks import POINT, chain, module, noise

D, SAMPLES = 4, 64


def shortcut_of_two() -> Finding:
    """n = 2, at 4, 8 and 12 convolutions: cond(Sigma_yx - Sigma_xx), whatever the depth."""
    wanted = float(np.linalg.cond(_target() - np.eye(D)))
    return near([wanted] * 3, [condition(2, layers) for layers in (4, 8, 12)], 1e-6, relative=True)


def shortcut_of_one() -> Finding:
    """n = 1, at 2, 4 and 6 convolutions: it grows. The closed form: blocks A of I x Sigma_xx, and one of the error."""
    layers = (2, 4, 6)
    found = [condition(1, count) for count in layers]
    made = figure(300, xaxis={"title": {"text": "convolutions"}},
                  yaxis={"title": {"text": "condition number"}, "type": "log"})
    for name, spans, depths, colour in (("n = 1", 1, layers, VERMILION), ("n = 2", 2, (4, 8, 12), GREEN)):
        made.add_scatter(x=list(depths), y=[condition(spans, one) for one in depths], name=name,
                         mode="lines+markers", line={"color": colour})
    made.add_scatter(x=list(layers), y=[closed_form_of_one(one) for one in layers], name="closed form, n = 1",
                     mode="markers", marker={"color": BLUE, "symbol": "x"})
    made.update_layout(showlegend=True)
    predicted = [closed_form_of_one(count) for count in layers]
    rises = monotone(found, rising=True).passed
    agrees = near(predicted, found, 1e-6, relative=True)
    return Finding(predicted, found, "± 1e-4 %, rises", bool(agrees.passed and rises), (made,))


def shortcut_of_three() -> Finding:
    """n = 3 and 4: every entry of the Hessian is zero."""
    return exactly([0.0, 0.0], [float(hessian(spans, 2 * spans).abs().max()) for spans in (3, 4)])


def condition(spans: int, layers: int) -> float:
    """Largest by least absolute eigenvalue."""
    values = torch.linalg.eigvalsh(hessian(spans, layers)).abs()
    return float(values.max() / values.min())


def hessian(spans: int, layers: int) -> Tensor:
    """By all weights of `layers` convolutions with a shortcut over every `spans`, at zero; of shape (P, P)."""
    stage = module(chain(layers // spans, D, stage={"kernel": 1, "shortcut_depth": spans}, norm="none",
                         activation="identity"), POINT).get_submodule("stage1").double()
    names = [name for name, _ in stage.named_parameters() if name.endswith("weight")]
    constants = {name: torch.zeros_like(p) for name, p in stage.named_parameters()}
    x, target = _whitened()

    def loss(flat: Tensor) -> Tensor:
        weights = dict(zip(names, flat.view(len(names), D, D, 1, 1), strict=True))
        return (_run(stage, {**constants, **weights}, x) - target).square().sum() / (2 * SAMPLES)

    found: Tensor = torch.autograd.functional.hessian(  # type: ignore[no-untyped-call]
        loss, torch.zeros(len(names) * D * D, dtype=torch.float64))
    return found


def _run(stage: nn.Module, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
    y: Tensor = functional_call(stage, dict(weights), (x[:, :, None, None],))
    return y[:, :, 0, 0]


def closed_form_of_one(layers: int) -> float:
    """The condition number for n = 1 from Sigma_xx = I and the error E = Sigma_yx - I, by hand.

    With vec(W) by rows, d2 loss / dW_i dW_j is I x I for every pair, and - <E, W_j W_i> for i before j besides.
    """
    error = _target() - np.eye(D)
    eye = np.eye(D)
    # sum E_ac W_j[a, b] W_i[b, c]: between W_j (a, b) and W_i (b', c) the entry E_ac where b = b'
    cross = np.einsum("ac,bk->abkc", error, eye).reshape(D * D, D * D)
    whole = np.block([[np.eye(D * D) - (0 if i == j else (cross.T if i < j else cross))
                       for j in range(layers)] for i in range(layers)])
    values = np.abs(np.linalg.eigvalsh(whole))
    return float(values.max() / values.min())


def _target() -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Sigma_yx: the linear map to learn."""
    return noise(D, D, seed=3, double=True).numpy()


def _whitened() -> tuple[Tensor, Tensor]:
    """Inputs x of shape (SAMPLES, D) with mean x x^T = I, and what is wanted, (Sigma_yx x)."""
    x = torch.linalg.qr(noise(SAMPLES, D, seed=4, double=True))[0] * SAMPLES**0.5
    return x, x @ torch.from_numpy(_target()).T
