"""Plan to network: a fold that names, for each node, the layer and its arguments, and two readers of that.

`build` makes the `nn.Module`; `source` writes the same network as a file of Python that needs only torch. Both read
`_call`, so they cannot disagree. The keys of the state dict are the names in the plan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never

import torch
from torch import nn

from nas import plan as p
from nas.model import layers

_Argument = int | float | str | bool


@dataclass(frozen=True, slots=True)
class _Call:
    """`name(*arguments, **options)`; with `children`, options or (for `sequence`) named layers that are calls."""

    name: str
    arguments: tuple[_Argument, ...] = ()
    options: dict[str, _Argument] = field(default_factory=dict)
    children: dict[str, _Call] = field(default_factory=dict)


def sequence(**children: nn.Module) -> nn.Sequential:
    """The layers by name, one after the other."""
    result = nn.Sequential()
    for name, layer in children.items():
        result.add_module(name, layer)
    return result


_LAYERS: dict[str, Callable[..., nn.Module]] = {
    "sequence": sequence,
    "conv": layers.conv,
    "Residual": layers.Residual,
    "Gate": layers.Gate,
    "SqueezeExcitation": layers.SqueezeExcitation,
    "PadShortcut": layers.PadShortcut,
    "Head": layers.Head,
    "nn.BatchNorm2d": nn.BatchNorm2d,
    "nn.MaxPool2d": nn.MaxPool2d,
    "nn.Identity": nn.Identity,
    "nn.ReLU": nn.ReLU,
    "nn.SiLU": nn.SiLU,
}
_ACTIVATIONS = {"relu": "nn.ReLU", "silu": "nn.SiLU"}


def build(plan: p.Sequence, seed: int | None = None, device: str = "cpu") -> nn.Module:
    """The network of `plan`, mapping images (N, C, H, W) to logits (N, classes).

    With a `seed` the weights depend on it alone, not on torch's global generator, which is left as it was.
    """
    if seed is None:
        with torch.device(device):
            return _made(_call(plan))
    seeded = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=seeded), torch.device(device):
        torch.manual_seed(seed)
        return _made(_call(plan))


def source(plan: p.Sequence, about: str) -> str:
    """A Python file that needs only torch, whose `build()` makes exactly the network of `plan`."""
    channels, height, width = plan.shape
    code = Path(layers.__file__).read_text(encoding="utf-8").split('"""', 2)[2].strip()
    quoted = about.replace("\\", "\\\\").replace('"', '\\"')
    return (
        f'"""{quoted}"""\n\n{code}\n\n\n'
        "def sequence(**children: nn.Module) -> nn.Sequential:\n"
        '    """The layers by name, one after the other."""\n'
        "    result = nn.Sequential()\n"
        "    for name, layer in children.items():\n"
        "        result.add_module(name, layer)\n"
        "    return result\n\n\n"
        "def build() -> nn.Module:\n"
        f'    """The network: images (N, {channels}, {height}, {width}) to logits (N, {plan.out[0]})."""\n'
        f"    return {_written(_call(plan), 1)}\n"
    )


def _made(call: _Call) -> nn.Module:
    children = {name: _made(child) for name, child in call.children.items()}
    return _LAYERS[call.name](*call.arguments, **call.options, **children)


def _written(call: _Call, depth: int) -> str:
    words = [repr(a) for a in call.arguments] + [f"{name}={value!r}" for name, value in call.options.items()]
    words += [f"{name}={_written(child, depth + 1)}" for name, child in call.children.items()]
    if not call.children:
        return f"{call.name}({', '.join(words)})"
    indent = "    " * (depth + 1)
    return f"{call.name}(\n{indent}" + f",\n{indent}".join(words) + f",\n{'    ' * depth})"


def _call(node: p.Node) -> _Call:
    match node:
        case p.Sequence():
            return _Call("sequence", children={name: _call(layer) for name, layer in node.layers})
        case p.Residual():
            return _residual(node)
        case p.Conv():
            return _conv(node)
        case p.Norm():
            return _Call("nn.BatchNorm2d", (node.shape[0],))
        case p.Activation():
            return _Call(_ACTIVATIONS[node.kind], options={"inplace": True})
        case p.MaxPool():
            return _Call("nn.MaxPool2d", (3, 2, 1))
        case p.Identity():
            return _Call("nn.Identity")
        case p.PadShortcut():
            return _Call("PadShortcut", (node.stride, node.out[0] - node.shape[0]))
        case p.SqueezeExcitation():
            return _Call("SqueezeExcitation", (node.shape[0], node.hidden))
        case p.Head():
            return _Call("Head", (node.shape[0], node.classes))
        case _:
            assert_never(node)


def _conv(node: p.Conv) -> _Call:
    options: dict[str, _Argument] = {}
    if node.stride != 1:
        options["stride"] = node.stride
    if node.groups != 1:
        options["groups"] = node.groups
    if node.bias:
        options |= {"bias": True, "bias_init": node.bias_init}
    return _Call("conv", (node.shape[0], node.out[0], node.kernel), options)


def _residual(node: p.Residual) -> _Call:
    children = {"branch": _call(node.branch)}
    for name, part in (("shortcut", node.shortcut), ("pre", node.pre), ("post", node.post)):
        if part is not None:
            children[name] = _call(part)
    if node.gate is not None:
        gates = {"transform": node.gate.transform, "carry": node.gate.carry}
        convs = {name: _conv(conv) for name, conv in gates.items() if conv is not None}
        children["gate"] = _Call("Gate", (node.gate.kind,), children=convs)
    return _Call("Residual", options={"scale": node.scale} if node.scale != 1 else {}, children=children)
