"""What a network does, changed for a while: modes, hooks, other forward passes, other norm statistics.

Whatever is changed here is put back, also where an error comes between. And what is asked of a network so changed: its
error rate, its loss, to run through images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.train.evaluation import BATCH_NORMS, exact, recalibrate

BATCH = 64                  # images that go through a network at once: a third faster on a CPU than 250
CALIBRATION_BATCH = 128     # images whose statistics are averaged with those of the next ones
CALIBRATION = 256           # images that norm statistics are estimated on: as good as 1,024 (nas.train.evaluation)

Forward: TypeAlias = Callable[[Tensor], Tensor]
Progress: TypeAlias = Callable[[str], None]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """All of `model` in eval mode, its parameters constants; modes and `requires_grad` are put back."""
    modes = [(module, module.training) for module in model.modules()]
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        model.eval()
        for parameter in learned:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter in learned:
            parameter.requires_grad_(True)


@contextmanager
def hooked(hooks: Iterable[tuple[nn.Module, Callable[..., object]]]) -> Iterator[None]:
    """Forward hooks, (module, hook), for as long as the context lasts."""
    with ExitStack() as stack:
        for module, hook in hooks:
            stack.callback(module.register_forward_hook(hook).remove)
        yield


@contextmanager
def kept_inputs(modules: Iterable[nn.Module]) -> Iterator[list[Tensor]]:
    """The inputs of `modules` in a forward pass inside the context, as they run; parts of its graph."""
    found: list[Tensor] = []
    with ExitStack() as stack:
        for module in modules:
            hook = module.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
            stack.callback(hook.remove)
        yield found


@contextmanager
def replaced(forwards: Iterable[tuple[nn.Module, Forward]]) -> Iterator[None]:
    """Modules that compute something else, (module, forward), for as long as the context lasts."""
    with ExitStack() as stack:
        for module, forward in forwards:
            before = vars(module).get("forward")
            object.__setattr__(module, "forward", forward)
            stack.callback(_put_back, module, before)
        yield


def _put_back(module: nn.Module, before: Forward | None) -> None:
    if before is None:
        object.__delattr__(module, "forward")
    else:
        object.__setattr__(module, "forward", before)


@contextmanager
def estimated_norms(model: nn.Module, images: Tensor | None) -> Iterator[None]:
    """Norm statistics estimated afresh on `images` (rule 9 of the family), as the network is now; put back at the end.

    None: as they are. `model` is left in channels_last, as any evaluation leaves it.
    """
    norms = norms_of(model)
    kept = [{name: buffer.clone() for name, buffer in norm.named_buffers()} for norm in norms]
    try:
        if images is not None:
            modes = [(module, module.training) for module in model.modules()]
            recalibrate(model, torch.split(_laid_out(images), CALIBRATION_BATCH))
            for module, training in modes:
                module.training = training
        yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            for name, buffer in norm.named_buffers():
                buffer.copy_(buffers[name])


def norms_of(model: nn.Module) -> list[nn.Module]:
    """The norms of `model` that hold statistics of images: batch norms."""
    return [module for module in model.modules() if isinstance(module, BATCH_NORMS) and module.track_running_stats]


def error_rate(model: nn.Module, images: Tensor, labels: Tensor, calibration: Tensor | None = None) -> float:
    """Share of wrong answers in [0, 1] of `model` in eval mode. images: (N, C, H, W), normalised; labels: (N,).

    calibration: images that the norm statistics are estimated on before; None: as they are.
    """
    wrong = 0
    with estimated_norms(model, calibration):
        for logits, y in zip(run_through(model, images), torch.split(labels, BATCH), strict=True):
            wrong += int((logits.argmax(1) != y).sum())
    return wrong / len(images)


def run_through(model: nn.Module, images: Tensor) -> Iterator[Tensor]:
    """The logits of `model` in eval mode, without a graph, one batch after the other. For hooks to look at, too."""
    with evaluating(model), torch.no_grad(), exact(images.device):
        for x in torch.split(images, BATCH):
            yield model(_laid_out(x))


def loss_of(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy in nats, a scalar."""
    return F.cross_entropy(model(_laid_out(images)), labels)


def silent(_: str) -> None:
    """The `Progress` that says nothing."""


def _laid_out(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)
