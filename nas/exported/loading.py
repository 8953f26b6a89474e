"""An exported folder as a network that is ready to use. Nothing of the folder is executed or unpickled.

The network is built from `architecture.yaml` on no device at all, and gets the tensors of the weights file once their
checksum, names, shapes and types are right: a damaged or hostile folder costs an error line and no memory.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_of
from torch import Tensor, nn

from nas.cost import cost
from nas.errors import NasError, one_line
from nas.exported.manifest import AGAIN, ARCHITECTURE, WEIGHTS, Manifest, read, read_manifest
from nas.model import build
from nas.nodes import Sequence
from nas.plan import plan
from nas.study import Study, study_of
from nas.train import Preprocess
from nas.yamlfile import read as read_yaml

_BUFFERS = {"running_mean", "running_var", "num_batches_tracked"}       # of a batch norm


class Network(nn.Sequential):
    """An exported network: normalised float images (N, C, H, W) to logits (N, classes).

    preprocess: uint8 images (N, C, H, W) to what the network takes. classes: their names, in the order of the logits.
    """

    preprocess: Preprocess
    classes: tuple[str, ...]

    def __init__(self, layers: nn.Module, preprocess: Preprocess, classes: tuple[str, ...]):
        super().__init__(OrderedDict(layers.named_children()))
        self.preprocess, self.classes = preprocess, classes


def load(folder: str | Path) -> Network:
    """The network of an exported folder, on the CPU, in eval mode and channels_last.

    Raises `NasError`, one line, where the folder is not whole or its files do not belong together.
    """
    folder = Path(folder)
    facts = read_manifest(folder)
    described = read_plan(folder, facts)
    weights = _weights(folder / WEIGHTS, facts)
    layers = build(described, device="meta")
    _same_tensors(folder / WEIGHTS, weights, layers.state_dict())
    layers.load_state_dict(weights, assign=True)
    preprocess = Preprocess(facts.normalisation.mean, facts.normalisation.std)
    network = Network(layers, preprocess, facts.classes)
    network.to(memory_format=torch.channels_last)   # type: ignore[call-overload]
    return network.eval()


def read_plan(folder: Path, facts: Manifest) -> Sequence:
    """The network that `architecture.yaml` describes, for the images and classes of `facts`. Raises `NasError`."""
    path, space = folder / ARCHITECTURE, read_study(folder).space
    if space.axes:
        raise NasError(f"{path}: holds a choice ({space.axes[0].name}) where one network is wanted; {AGAIN}")
    architecture = space.decode({})
    if architecture.id != facts.network.id:
        raise NasError(one_line(
            f"{path}: describes network {architecture.id}, and export.json {facts.network.id}; {AGAIN}"))
    described = plan(architecture, facts.shape, len(facts.classes))
    if cost(described).params != facts.costs.params:
        raise NasError(f"{path}: describes a network of {cost(described).params:,} parameters, and export.json one of "
                       f"{facts.costs.params:,}; {AGAIN}")
    return described


def read_study(folder: Path) -> Study:
    """What `architecture.yaml` says: the network and its data. Blocks are not looked for there. Raises `NasError`."""
    path = folder / ARCHITECTURE
    read(path)
    try:
        return study_of(read_yaml(path), path.stem)
    except NasError as error:
        raise NasError(str(error).splitlines()[0]) from None


def _weights(path: Path, facts: Manifest) -> dict[str, Tensor]:
    data = read(path)
    if hashlib.sha256(data).hexdigest() != facts.weights_sha256:
        raise NasError(f"{path}: damaged, its checksum is not the one in export.json; {AGAIN}")
    try:
        tensors = tensors_of(data)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise NasError(one_line(f"{path}: not a safetensors file ({error}); {AGAIN}")) from None
    params = sum(tensor.numel() for name, tensor in tensors.items() if name.rpartition(".")[2] not in _BUFFERS)
    if params != facts.costs.params:        # said before anything of the size in export.json is built
        raise NasError(f"{path}: not the weights of this network: it holds {params:,} parameters, and export.json says "
                       f"{facts.costs.params:,}; {AGAIN}")
    return tensors


def _same_tensors(path: Path, found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    for name, tensor in wanted.items():
        here = found.get(name)
        if here is None or here.shape != tensor.shape or here.dtype != tensor.dtype:
            what = "nothing" if here is None else f"{here.dtype} {tuple(here.shape)}"
            raise NasError(f"{path}: not the weights of this network: it holds {what} where {name} is "
                           f"{tensor.dtype} {tuple(tensor.shape)}; {AGAIN}")
    extra = sorted(found.keys() - wanted.keys())
    if extra:
        raise NasError(one_line(f"{path}: not the weights of this network, which has no {extra[0]}; {AGAIN}"))
