"""Latency of a network on this machine: one image, forward, in milliseconds."""

from __future__ import annotations

import statistics
import time

import torch
from torch import nn

from nas.nodes import Shape

_WARM_UP, _ROUNDS = 5, 30


def latency_ms(model: nn.Module, shape: Shape, device: str = "cpu") -> float:
    """The median time in milliseconds of a float32 forward pass of one image of `shape`, in evaluation mode.

    Measured beside whatever else the machine does: compare only figures of one machine in one state.
    """
    training = model.training
    model.eval()
    image = torch.zeros(1, *shape, device=device)
    times = []
    with torch.inference_mode():
        for round_ in range(_WARM_UP + _ROUNDS):
            started = time.perf_counter()
            model(image)
            if device == "cuda":
                torch.cuda.synchronize()
            if round_ >= _WARM_UP:
                times.append(time.perf_counter() - started)
    model.train(training)
    return 1000 * statistics.median(times)
