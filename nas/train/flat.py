"""All the numbers of a network in one flat tensor, so that an update of the whole network is a handful of operations.

A small network has dozens of small tensors, and on one core an optimizer that visits each of them costs more than
its arithmetic. Here the network's own parameters, their gradients and its float buffers become views of flat
tensors: weight decay, momentum, clipping and averaging are then one operation each, and any of these vectors can be
read and written by the network's names, whatever the memory layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.model.layers import LayerNorm

ALIGNMENT = 16      # floats: a cache line
_NORMS = (nn.BatchNorm2d, nn.GroupNorm, LayerNorm)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one tensor lies: at `offset` in the flat tensor."""

    offset: int
    shape: torch.Size
    channels_last: bool

    def view(self, flat: Tensor) -> Tensor:
        """The tensor as a view of `flat`: of `shape`, strided by layout."""
        part = flat[self.offset : self.offset + self.shape.numel()]
        if not self.channels_last:
            return part.view(self.shape)
        outputs, inputs, height, width = self.shape
        return part.view(outputs, height, width, inputs).permute(0, 3, 1, 2)


class Flat:
    """Owns the state of `model`: from now on its float tensors are views, and must not be replaced or moved.

    `state` holds all float32 state of shape (numbers,): weights that decay (two or more dimensions, and with
    `decay_norms` those of norms), then parameters that do not (norms, biases, scalars), then buffers (norm statistics).
    `gradient` has the shape of the first two.

    Raises TypeError for parameters that are not float32.
    """

    def __init__(self, model: nn.Module, channels_last: bool, decay_norms: bool = False):
        self.model = model
        parameters = list(model.parameters())
        norms = {id(parameter) for layer in model.modules() if isinstance(layer, _NORMS)
                 for parameter in layer.parameters(recurse=False)} if decay_norms else set()
        if wrong := {parameter.dtype for parameter in parameters} - {torch.float32}:
            raise TypeError(f"parameters must be float32, not {wrong}")
        groups: tuple[list[Tensor], ...] = (
            [parameter for parameter in parameters if parameter.ndim >= 2 or id(parameter) in norms],
            [parameter for parameter in parameters if parameter.ndim < 2 and id(parameter) not in norms],
            [buffer for buffer in _unique(model.buffers()) if buffer.dtype == torch.float32],
        )
        places: dict[int, _Place] = {}
        ends = []
        offset = 0
        for group in groups:
            for tensor in group:
                places[id(tensor)] = _Place(offset, tensor.shape, channels_last and tensor.ndim == 4)
                offset += -(-tensor.numel() // ALIGNMENT) * ALIGNMENT
            ends.append(offset)
        self.decayed, self.trained, total = ends
        device = parameters[0].device if parameters else torch.device("cpu")
        self.state = torch.zeros(total, device=device)
        self.gradient = torch.zeros(self.trained, device=device)
        kept = model.state_dict(keep_vars=True)
        self._places = {name: places[id(value)] for name, value in kept.items() if id(value) in places}
        self._own(groups, places)

    def _own(self, groups: tuple[list[Tensor], ...], places: Mapping[int, _Place]) -> None:
        with torch.no_grad():
            for number, group in enumerate(groups):
                for tensor in group:
                    view = places[id(tensor)].view(self.state)
                    view.copy_(tensor)
                    tensor.data = view
                    if number < 2:
                        tensor.grad = places[id(tensor)].view(self.gradient)

    def named(self, flat: Tensor) -> dict[str, Tensor]:
        """Views of `flat` by name; a shorter one, such as a momentum, has the parameters alone."""
        return {
            name: place.view(flat)
            for name, place in self._places.items()
            if place.offset + place.shape.numel() <= flat.numel()
        }

    def others(self) -> dict[str, Tensor]:
        """What the network's state has beyond `state`: counters and the like, not averaged."""
        kept = self.model.state_dict(keep_vars=True)
        return {name: value for name, value in kept.items() if name not in self._places}

    def copied(self, flat: Tensor) -> dict[str, Tensor]:
        """Contiguous copies on the CPU by name: portable between layouts and devices."""
        return {name: portable(view) for name, view in self.named(flat).items()}

    def read(self, values: Mapping[str, Tensor], flat: Tensor) -> None:
        """Write `values` by name into `flat`. Raises KeyError for a missing name."""
        with torch.no_grad():
            for name, view in self.named(flat).items():
                view.copy_(values[name])


def portable(tensor: Tensor) -> Tensor:
    """A contiguous copy on the CPU, sharing nothing."""
    return tensor.detach().to("cpu", copy=True).contiguous(memory_format=torch.contiguous_format)


def _unique(tensors: Iterator[Tensor]) -> list[Tensor]:
    return list({id(tensor): tensor for tensor in tensors}.values())
