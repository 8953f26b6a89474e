"""The largest eigenvalues of the loss's Hessian, by Lanczos on products with it (as Sagun et al. 2017, Ghorbani et al.
2019): how sharp the minimum is, and whether it is one: a strongly negative one is a way down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor, nn

from nas.diagnosis.patches import Progress, evaluating, loss_of, silent

Vector = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Curvature:
    """largest: the top eigenvalues, falling. smallest: the least, negative where the batch is at no minimum; None where
    it did not converge. parameters: length of a vector. products: with the Hessian. loss: at this point, in nats.
    """

    largest: tuple[float, ...]
    smallest: float | None
    parameters: int
    products: int
    loss: float


def hessian_eigenvalues(
    model: nn.Module, images: Tensor, labels: Tensor, *, count: int = 5, tolerance: float = 0.02, seed: int = 0,
    progress: Progress = silent,
) -> Curvature:
    """The `count` largest eigenvalues and the least one of the Hessian of the mean cross-entropy on this batch.

    By all parameters; norms in eval mode, their statistics constants. images: (N, C, H, W). tolerance: of an
    eigenvalue, by itself or, for the least, by the spread of all. What has not converged in ten restarts is left out.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    size = sum(parameter.numel() for parameter in parameters)
    with evaluating(model), torch.enable_grad():
        for parameter in parameters:
            parameter.requires_grad_(True)
        product, loss = hessian_product(model, images, labels, parameters)
        done = [0]

        def counted(v: Vector) -> Vector:
            done[0] += 1
            if done[0] % 5 == 0:
                progress(f"curvature: {done[0]} products with the Hessian")
            return product(v)

        if size <= 2 * (count + 1):     # too few for Lanczos
            whole = np.linalg.eigvalsh(np.stack([counted(row) for row in np.eye(size)]))
            return Curvature(tuple(whole[::-1][:count].tolist()), float(whole[0]), size, done[0], loss)
        operator = LinearOperator((size, size), matvec=counted, dtype=np.float64)
        largest = sorted(_largest(operator, count, tolerance, seed), reverse=True)
        top = max([abs(value) for value in largest], default=1.0)
        turned = LinearOperator((size, size), matvec=lambda v: top * v - counted(v), dtype=np.float64)
        smallest = [top - value for value in _largest(turned, 1, tolerance, seed)]      # which may be 0, as what is not
    return Curvature(tuple(largest), smallest[0] if smallest else None, size, done[0], loss)


def hessian_product(
    model: nn.Module, images: Tensor, labels: Tensor, parameters: list[nn.Parameter],
) -> tuple[Callable[[Vector], Vector], float]:
    """v to H v, both of shape (parameters,), by differentiating the gradient once more along v; and the loss."""
    loss = loss_of(model, images, labels)
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    flat = torch.cat([gradient.flatten() for gradient in gradients])

    def product(v: Vector) -> Vector:
        along = torch.from_numpy(np.ascontiguousarray(v).reshape(-1)).to(flat)
        found = torch.autograd.grad(flat, parameters, along, retain_graph=True, materialize_grads=True)
        return torch.cat([part.flatten() for part in found]).double().cpu().numpy()

    return product, float(loss.detach())


def _largest(operator: LinearOperator, count: int, tolerance: float, seed: int) -> list[float]:
    start = np.random.default_rng(seed).standard_normal(operator.shape[0])
    wide = min(operator.shape[0], max(2 * count + 6, 12))
    try:
        found = eigsh(operator, count, which="LA", v0=start, ncv=wide, tol=tolerance, maxiter=10,
                      return_eigenvectors=False)
    except ArpackNoConvergence as error:
        found = error.eigenvalues
    return [float(value) for value in found]
