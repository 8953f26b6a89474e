"""What a user's opaque module costs: counted on the meta device, where nothing is computed."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nas.errors import NasError
from nas.nodes import Cost, Shape
from nas.own_block import said

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Linear)      # whose outputs are activations


def counted(name: str, module: nn.Module, shape: Shape, out: Shape) -> Cost:
    """Of `module` for one image. Raises `NasError` where it does not take `shape` or put out `out`."""
    module = module.to("meta").eval()
    elements: list[int] = []
    hooks = [layer.register_forward_hook(lambda _module, _inputs, output: elements.append(output.numel()))
             for layer in module.modules() if isinstance(layer, _LAYERS)]
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), counter:
            y: Tensor = module(torch.empty(1, *shape, device="meta"))
    except Exception as error:
        raise NasError(f"block {name}: fails on images of shape {shape}: {said(error, name)}") from error
    finally:
        for hook in hooks:
            hook.remove()
    if tuple(y.shape) != (1, *out):
        raise NasError(f"block {name}: puts out {tuple(y.shape[1:])}, and {out} is wanted")
    params = sum(parameter.numel() for parameter in module.parameters())
    return Cost(params, counter.get_total_flops() // 2, sum(elements))
