"""Plan to network: a fold that names, for each node, the layer and its arguments, and two readers of that.

`build` makes the `nn.Module`; `source` writes the same network as a file of Python that needs only torch. Both read
the nodes' calls, so they cannot disagree. The keys of the state dict are the names in the plan.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas.model import layers
from nas.nodes import Call, Node, Sequence
from nas.own_block import found


def build(plan: Sequence, seed: int | None = None, device: str = "cpu") -> nn.Module:
    """The network of `plan`, mapping images (N, C, H, W) to logits (N, classes).

    With a `seed` the weights depend on it alone, not on torch's global generator, which is left as it was.
    """
    if seed is None:
        with torch.device(device):
            return _made(plan)
    seeded = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=seeded), torch.device(device):
        torch.manual_seed(seed)
        return _made(plan)


def source(plan: Sequence, about: str) -> str:
    """A Python file that needs only torch, whose `build()` makes exactly the network of `plan`.

    A user's opaque block is imported from its own module.
    """
    channels, height, width = plan.shape
    code = Path(layers.__file__).read_text(encoding="utf-8").split('"""', 2)[2].strip()
    quoted = about.replace("\\", "\\\\").replace('"', '\\"')
    imports = "".join(f"import {module}\n" for module in sorted(modules(plan)))
    return (
        f'"""{quoted}"""\n\n{imports}{code}\n\n\n'
        "def build() -> nn.Module:\n"
        f'    """The network: images (N, {channels}, {height}, {width}) to logits (N, {plan.out[0]})."""\n'
        f"    return {_written(plan, 1)}\n"
    )


def modules(node: Node) -> set[str]:
    """Those of users' blocks that the network's source imports."""
    own = {node.call.name.partition(":")[0]} if ":" in node.call.name else set()
    return own.union(*(modules(part) for _, part in node.parts))


def _made(node: Node) -> nn.Module:
    call = node.call
    parts = {name: _made(part) for name, part in node.parts}
    made: nn.Module = _maker(call)(*call.arguments, **call.options, **parts)
    return made


def _maker(call: Call) -> Callable[..., Any]:
    if ":" in call.name:
        return found(call.name)
    space, _, name = call.name.rpartition(".")
    maker: Callable[..., Any] = getattr(nn if space else layers, name)
    return maker


def _written(node: Node, depth: int) -> str:
    call, parts = node.call, node.parts
    words = [repr(a) for a in call.arguments] + [f"{name}={value!r}" for name, value in call.options.items()]
    words += [f"{name}={_written(part, depth + 1)}" for name, part in parts]
    name = call.name.replace(":", ".")
    if not parts:
        return f"{name}({', '.join(words)})"
    indent = "    " * (depth + 1)
    return f"{name}(\n{indent}" + f",\n{indent}".join(words) + f",\n{'    ' * depth})"
