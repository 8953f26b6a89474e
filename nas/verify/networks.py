"""Networks of ours to measure: built from an architecture, whole or in parts, as they start or with forced values."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from nas.architecture import Architecture, Stage
from nas.cost import cost
from nas.model import build
from nas.nodes import Shape
from nas.plan import plan

CLASSES = 5
SMALL: Shape = (3, 8, 8)
POINT: Shape = (3, 1, 1)        # one place: convolutions are matrices


def chain(depth: int, width: int = 8, *, stage: dict[str, Any] | None = None, **network: Any) -> Architecture:
    """One stage of `depth` blocks of one shape."""
    return Architecture((Stage(depth, width, **(stage or {})),), **{"stem_width": width, **network})


def pyramid(depth: int, *widths: int, stage: dict[str, Any] | None = None, **network: Any) -> Architecture:
    """Stages of `depth` blocks of those widths."""
    return Architecture(tuple(Stage(depth, width, **(stage or {})) for width in widths),
                        **{"stem_width": widths[0], **network})


def module(architecture: Architecture, shape: Shape = SMALL, classes: int = CLASSES, seed: int = 0) -> nn.Module:
    """The network as it starts."""
    conflict = architecture.conflict()
    if conflict:
        raise ValueError(conflict[1])
    return build(plan(architecture, shape, classes), seed)


def unsettled(architecture: Architecture, shape: Shape = SMALL, seed: int = 0) -> nn.Module:
    """In float64 and evaluation mode, with norms, gains and biases away from their starting values."""
    return shaken(module(architecture, shape, seed=seed), seed)


def shaken(model: nn.Module, seed: int = 0) -> nn.Module:
    """`model` itself, so unsettled."""
    model = model.double().eval()
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.state_dict().items():
        if value.is_floating_point() and value.ndim == 1:
            noise = torch.rand(value.shape, generator=generator, dtype=value.dtype)
            value.copy_(noise + 0.5 if name.endswith(("weight", "var")) else noise - 0.5)
    return model


def within(model: nn.Module, stage: str = "stage1") -> nn.Module:
    """A network's stage and head alone, so that what goes into the first block can be chosen."""
    return nn.Sequential(OrderedDict([(stage, model.get_submodule(stage)), ("head", model.get_submodule("head"))]))


def noise(*shape: int, seed: int = 0, double: bool = False) -> Tensor:
    """Standard normal numbers."""
    kind = torch.float64 if double else torch.float32
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=kind)


def counts(architecture: Architecture, shape: Shape, classes: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """(params, MACs) by the plan, and as the module has them: its own weights, and what its layers are given to do."""
    wired = plan(architecture, shape, classes)
    model = build(wired, device="meta").eval()
    macs = [0]

    def seen(layer: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        places = output[0, 0].numel() if isinstance(layer, nn.Conv1d | nn.Conv2d) else 1
        macs[0] += places * sum(w.numel() for name, w in layer.named_parameters() if "weight" in name)

    for layer in model.modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear | nn.LSTMCell):
            layer.register_forward_hook(seen)
        if isinstance(layer, nn.BatchNorm2d):       # on meta many slow calls, and nothing to count
            object.__setattr__(layer, "forward", lambda x: x)
    with torch.no_grad():
        model(torch.empty(1, *shape, device="meta"))
    found = cost(wired)
    return (found.params, found.macs), (sum(p.numel() for p in model.parameters()), macs[0])


@torch.no_grad()
def force(block: nn.Module, branch: float) -> None:
    """The branch of a block without norms puts out `branch` at every place: its last convolutions are their biases."""
    for function in functions(block):
        last = [layer for layer in function.modules() if isinstance(layer, nn.Conv2d)][-1]
        nn.init.zeros_(last.weight)
        assert last.bias is not None
        nn.init.constant_(last.bias, branch)


def functions(block: nn.Module) -> list[nn.Module]:
    """The functions that a block's branch sums."""
    branch = block.get_submodule("branch")
    several = dict(branch.named_children()).get("sum")
    return [branch] if several is None else list(several.children())
