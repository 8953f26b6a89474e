"""Eigenvalues of the Hessian against the whole matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diagnosis_cases import CLASSES, images, network
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from nas.diagnosis import hessian_eigenvalues
from nas.model.layers import Head


def whole_hessian(model: nn.Module, x: Tensor, y: Tensor) -> np.ndarray:
    """Of the mean cross-entropy by all parameters, entry by entry."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    sizes = [p.numel() for p in parameters]

    def loss(flat: Tensor) -> Tensor:
        parts = {name: part.view_as(p) for name, part, p in
                 zip(names, torch.split(flat, sizes), parameters, strict=True)}
        return F.cross_entropy(functional_call(model, parts, (x,)), y)

    start = torch.cat([p.detach().flatten() for p in parameters])
    return torch.autograd.functional.hessian(loss, start).double().numpy()


class Logistic(nn.Module):
    """A linear classifier: its loss is convex."""

    def __init__(self, inputs: int):
        super().__init__()
        self.linear = nn.Linear(inputs, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1))


def test_a_logistic_model_against_its_whole_hessian() -> None:
    torch.manual_seed(0)
    model, (x, y) = Logistic(3 * 16), images(40, side=4)
    expected = np.linalg.eigvalsh(whole_hessian(model, x, y))
    found = hessian_eigenvalues(model, x, y, count=5, tolerance=1e-4)
    assert found.largest == pytest.approx(expected[::-1][:5], rel=1e-3)
    assert found.smallest is not None
    assert found.smallest > -1e-3 * expected[-1], "a convex loss"
    assert found.parameters == len(expected) == 3 * 16 * CLASSES + CLASSES
    assert found.loss == pytest.approx(float(F.cross_entropy(model(x), y).detach()))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [{}, {"stage": {"gate": "highway", "se_ratio": 0.5}, "order": "pre"}])
def test_a_residual_network_against_its_whole_hessian(kind: dict) -> None:
    model, (x, y) = network(depth=1, widths=(4,), stem_width=4, **kind), images(12)
    expected = np.linalg.eigvalsh(whole_hessian(model, x, y))
    found = hessian_eigenvalues(model, x, y, count=3, tolerance=1e-5)
    assert found.largest == pytest.approx(expected[::-1][:3], rel=0.01)
    assert expected[0] < 0, "no minimum here"
    assert found.smallest == pytest.approx(expected[0], rel=0.1)


def test_few_parameters_are_taken_whole() -> None:
    torch.manual_seed(0)
    model, (x, y) = nn.Sequential(Head(1, CLASSES)), images(30, channels=1)
    expected = np.linalg.eigvalsh(whole_hessian(model, x, y))
    found = hessian_eigenvalues(model, x, y, count=4)
    assert found.largest == pytest.approx(expected[::-1][:4], abs=1e-6)
    assert found.smallest == pytest.approx(expected[0], abs=1e-6)
    assert found.products == 8


def test_the_norms_are_constants() -> None:
    """In train mode the batch would move them, and the Hessian with it."""
    model, (x, y) = network(depth=1, widths=(4,), stem_width=4), images(12)
    evaluated = hessian_eigenvalues(model, x, y, count=2)
    assert hessian_eigenvalues(model.train(), x, y, count=2) == evaluated
