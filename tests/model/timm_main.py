"""A process that is not ours: timm's networks with random weights, and what they answer, as files in this folder.

    python timm_main.py FOLDER_OF_PACKAGES NAME...

timm imports torchvision, which may be built for another torch or not be there. Its residual networks use nothing of it.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types
from typing import Any

import torch
from safetensors.torch import save_file


class Anything(type):
    """A class that has every attribute: such a class."""

    def __getattr__(cls, name: str) -> Any:
        return _anything(name)


def _anything(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return Anything(name, (), {})


class Stub(types.ModuleType):
    """A module that has every name."""

    def __getattr__(self, name: str) -> Any:
        return _anything(name)


class Stubs(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """torchvision and all that is in it."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        known = name.partition(".")[0] == "torchvision"
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if known else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> Stub:
        return Stub(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


@torch.no_grad()
def write(network: torch.nn.Module, name: str, images: torch.Tensor) -> None:
    """Every norm and bias away from where it starts; the answers in float64."""
    for key, value in network.state_dict().items():
        if value.is_floating_point() and value.ndim == 1:
            noise = torch.rand(value.shape)
            value.copy_(noise + 0.5 if key.endswith(("weight", "var")) else noise - 0.5)
    save_file(network.state_dict(), f"{name}.safetensors")
    save_file({"images": images, "logits": network.double()(images)}, f"{name}.answers.safetensors")


def main(packages: str, *names: str) -> None:
    sys.meta_path.insert(0, Stubs())
    sys.path.insert(0, packages)
    import timm

    assert timm.__file__.startswith(packages), timm.__file__
    torch.manual_seed(0)
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    for name in names:
        write(timm.create_model(name, pretrained=False).eval(), name, images)


main(*sys.argv[1:])
