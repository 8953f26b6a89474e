"""Weights from elsewhere: state dicts with the names of torchvision's and timm's residual networks, under our names.

    theirs                      ours                                    (s: stage, b: block from 0, B = b + 1)
    conv1, bn1                  stem.conv, stem.norm
    layer{s}.{b}.conv{i}        stage{s}.block{B}.branch.conv{i}
    layer{s}.{b}.bn{i}          stage{s}.block{B}.branch.norm{i}
    layer{s}.{b}.downsample.0   stage{s}.block{B}.shortcut.conv
    layer{s}.{b}.downsample.1   stage{s}.block{B}.shortcut.norm
    layer{s}.{b}.se.fc1         stage{s}.block{B}.branch.se.squeeze     (theirs is a 1x1 convolution: (h, C, 1, 1))
    layer{s}.{b}.se.fc2         stage{s}.block{B}.branch.se.excite
    fc                          head.linear

Post-activation ResNet, ResNeXt, Wide ResNet and SE-ResNet are named so, those for CIFAR as well. timm rounds SE's
hidden width up to a multiple of 8: its seresnet18 and 34, which begin with 64 channels, are other networks than ours.
Its `legacy_` networks are too: their max-pool has no padding. Its anti-aliased ones (`resnetaa50`, `resnetblur50`) have
the same tensors and blur between them: their weights load, and compute something else.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from nas.errors import NasError, one_line, shown
from nas.model import build
from nas.nodes import Sequence
from nas.plan import plan
from nas.reference import reference

_BLOCK = r"stage(?P<s>\d+)\.block(?P<B>\d+)\."
_NAMES = (                                  # ours, theirs
    (r"stem\.conv", "conv1"),
    (r"stem\.norm", "bn1"),
    (_BLOCK + r"branch\.conv(?P<i>\d+)", "layer{s}.{b}.conv{i}"),
    (_BLOCK + r"branch\.norm(?P<i>\d+)", "layer{s}.{b}.bn{i}"),
    (_BLOCK + r"shortcut\.conv", "layer{s}.{b}.downsample.0"),
    (_BLOCK + r"shortcut\.norm", "layer{s}.{b}.downsample.1"),
    (_BLOCK + r"branch\.se\.squeeze", "layer{s}.{b}.se.fc1"),
    (_BLOCK + r"branch\.se\.excite", "layer{s}.{b}.se.fc2"),
    (r"head\.linear", "fc"),
)
_COUNT = "num_batches_tracked"              # of a batch norm; files from before 2018 have none


def load_weights(name: str, source: str | Path | Mapping[str, Tensor]) -> nn.Module:
    """The reference network `name` with weights trained elsewhere, in eval mode: images (N, C, H, W) to logits.

    `source`: a state dict, or its .safetensors, .pth or .pt file, of which nothing is executed. Images have to be
    normalised as in that training; there are as many classes as the weights have. Raises `NasError`, one line.
    """
    found = reference(name)
    if isinstance(source, Mapping):
        where, state = "the state dict", source
    else:
        where, state = str(source), _read(Path(source))
    last = state.get("fc.weight")
    classes = len(last) if isinstance(last, Tensor) and last.ndim == 2 and len(last) else found.classes
    described = plan(found.architecture, found.shape, classes)
    try:
        tensors = from_torchvision(described, state)
    except NasError as error:
        raise NasError(one_line(f"{where}: not weights of {found.name}: {error}")) from None
    network = build(described, device="meta")
    network.load_state_dict(tensors, assign=True)
    return network.eval()


def from_torchvision(plan: Sequence, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `state`, named as torchvision or timm do, as a state dict of the network of `plan`: copies.

    Raises `NasError` where one is missing, is not of the network, or has another shape or kind of numbers.
    """
    wanted = build(plan, device="meta").state_dict()
    theirs = {ours: _theirs(ours) for ours in wanted}
    known = set(theirs.values())
    for name in state:
        if name not in known:
            raise NasError(f"{shown(name)}: the network has no such tensor")
    return {ours: _tensor(theirs[ours], state, like) for ours, like in wanted.items()}


def _theirs(ours: str) -> str:
    layer, _, tensor = ours.rpartition(".")
    for pattern, name in _NAMES:
        if match := re.fullmatch(pattern, layer):
            groups = match.groupdict()
            return name.format(**groups, b=int(groups.get("B", 1)) - 1) + f".{tensor}"
    raise NasError(f"{layer}: torchvision and timm have no such layer in a residual network")


def _tensor(name: str, state: Mapping[str, Tensor], like: Tensor) -> Tensor:
    if name not in state and name.endswith(_COUNT):
        return torch.zeros((), dtype=like.dtype)
    if name not in state:
        raise NasError(f"{name}: is missing")
    tensor = state[name]
    if not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
        raise NasError(f"{name}: is no dense tensor")
    shape = tuple(tensor.shape)
    if shape != like.shape and not (like.ndim == 2 and shape == (*like.shape, 1, 1)):
        raise NasError(f"{name}: is of shape {shape}, and {tuple(like.shape)} in the network")
    if tensor.is_floating_point() != like.is_floating_point():
        raise NasError(f"{name}: holds {str(tensor.dtype).removeprefix('torch.')}, and not numbers of its kind")
    return tensor.detach().to("cpu", like.dtype, copy=True).reshape(like.shape)


def _read(path: Path) -> dict[str, Tensor]:
    """The state dict that a file holds. Raises `NasError`."""
    if path.suffix not in (".safetensors", ".pth", ".pt"):
        raise NasError(one_line(f"{path}: is not a .safetensors, .pth or .pt file"))
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")     # that it may fail; it does, in our words
            held = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise NasError(one_line(f"{path}: cannot be read: {error.strerror or error}")) from None
    except (SafetensorError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as error:
        raise NasError(one_line(f"{path}: does not hold tensors alone ({type(error).__name__}); save the state dict of "
                                "the network there")) from None
    if not isinstance(held, dict) or not all(isinstance(name, str) for name in held):
        raise NasError(one_line(f"{path}: holds a {type(held).__name__}, not the state dict of a network"))
    return held
