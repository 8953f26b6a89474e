"""A user's own block: a Python function named in YAML as `block: my_module:my_block`, found, called and checked.

The function gets (shape, out, stride, values): the shapes of what goes in and must come out, the stride, and the
stage's knobs by their YAML names (with `order`, `norm`, `activation` and its own `options`). It returns F of
y = post(shortcut(x) + alpha F(x)): a list of named nodes of `nas.nodes`, a node, or a torch module, whose cost is then
counted on the meta device.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import os
import sys
import traceback
from collections import UserDict
from collections.abc import Callable, Iterable
from collections.abc import Sequence as Listed
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from nas.errors import NasError, one_line
from nas.nodes import Opaque, Sequence, Shape, chain

_TAKEN = {"forward", "training", "add_module", "named_modules", "modules", "children", "parameters", "state_dict", "to"}
CODE = "code"       # the option that keeps the fingerprint of the file a network was made with


FOLDERS = "NAS_BLOCKS"      # the environment variable that lists where blocks are looked for


def folders() -> tuple[str, ...]:
    """Where the files of blocks are looked for, besides Python's own path; never an exported folder."""
    listed = [folder for folder in os.environ.get(FOLDERS, "").split(os.pathsep) if folder]
    return tuple(folder for folder in dict.fromkeys([*listed, str(Path.cwd())])
                 if not (Path(folder) / "export.json").exists())


def look_in(*places: str) -> None:
    """Have blocks looked for in these folders as well, in this process and in those that it starts."""
    listed = [folder for folder in os.environ.get(FOLDERS, "").split(os.pathsep) if folder]
    os.environ[FOLDERS] = os.pathsep.join(dict.fromkeys([*listed, *places]))


def found(name: str, beside: Path | None = None) -> Callable[..., Any]:
    """The function `module:function`; the working folder and `NAS_BLOCKS` are looked in, too. Raises `NasError`.

    beside: the folder of the file that names it, for what an error says.
    """
    module, _, attribute = name.partition(":")
    if module not in sys.modules:
        sys.path += [folder for folder in folders() if folder not in sys.path]
        importlib.invalidate_caches()
    try:
        function: Any = getattr(importlib.import_module(module), attribute, None)
    except Exception as error:
        remedy = f"; {_remedy(module, beside)}" if module.startswith(getattr(error, "name", None) or ":") else ""
        raise NasError(f"block {name}: cannot import {module}: {said(error, name)}{remedy}") from error
    if not callable(function):
        raise NasError(f"block {name}: {module} has no function {attribute}")
    return cast(Callable[..., Any], function)


def file_of(name: str) -> Path:
    """The file of the module `name`. Raises `NasError` where it is none of its own: part of a package."""
    path = getattr(sys.modules.get(name) or importlib.import_module(name), "__file__", None)
    if path is None or "." in name:
        raise NasError(f"block of {name}: is not a single file, which could be copied beside the network; "
                       "move the function to one")
    return Path(path)


def _remedy(module: str, beside: Path | None) -> str:
    if beside is not None and (beside / "export.json").exists() and (beside / f"{module}.py").exists():
        return ("code in an exported folder is not run; put a copy that you trust in a folder of your own: the working "
                f"folder, or one that {FOLDERS} names")
    return f"put it beside the YAML file, or name its folder in {FOLDERS}"


def said(error: Exception, name: str) -> str:
    """What went wrong in block `name`, with the line of its file that it happened in, or that led there."""
    module = name.partition(":")[0].rpartition(".")[2]
    lines = [at for at in traceback.extract_tb(error.__traceback__) if Path(at.filename).stem == module]
    place = f"{lines[-1].filename}:{lines[-1].lineno}: " if lines else ""
    return one_line(f"{place}{type(error).__name__}: {error}")


@lru_cache(maxsize=256)
def fingerprint(name: str) -> str:
    """16 hexadecimal digits of the text of the function's file: another text, another block. Empty: there is none."""
    try:
        text = inspect.getsource(inspect.getmodule(found(name)) or found(name))
    except (NasError, OSError, TypeError):
        return ""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class _Watched(UserDict[str, Any]):
    """What a block gets as its values, and which of them it has read."""

    def __init__(self, values: dict[str, Any], seen: set[str]):
        super().__init__(values)
        self.seen = seen

    def __getitem__(self, key: str) -> Any:
        self.seen.add(key)
        return super().__getitem__(key)


_READ: dict[tuple[str, str], set[str]] = {}     # of a block and its fingerprint: which of its values it has ever read


def unread(name: str, keys: Iterable[str]) -> list[str]:
    """Those of `keys` that the function never read, in all that this process has made of it."""
    seen = _READ.get((name, fingerprint(name)))
    return [] if seen is None else [key for key in keys if key not in seen]


def as_it_was(name: str, known: object) -> None:
    """Raises `NasError` where the function's file has no longer the fingerprint `known`; None: any will do."""
    if known is not None and known != fingerprint(name):
        raise NasError(f"block {name}: its file was changed since this network was made; put the file back as it was "
                       "to build the network")


def branch_of(name: str, shape: Shape, out: Shape, stride: int, values: dict[str, Any]) -> Sequence:
    """What the function makes of a block. Raises `NasError` where it is none, or has the wrong shapes."""
    function = found(name)
    as_it_was(name, values.pop(CODE, None))
    arguments = (shape, out, stride, values)
    watched = _Watched(values, _READ.setdefault((name, fingerprint(name)), set()))
    torch = sys.modules.get("torch")
    try:
        with torch.device("meta") if torch else contextlib.nullcontext():
            made = function(shape, out, stride, watched)
    except Exception as error:
        missing = isinstance(error, KeyError) and error.args[:1] != () and error.args[0] not in values
        there = f"; values holds {', '.join(sorted(values))}" if missing else ""
        raise NasError(f"block {name}: {said(error, name)}{there}") from error
    if torch and isinstance(made, torch.nn.Module):
        counted = importlib.import_module("nas.model.opaque").counted(name, made, shape, out)
        made = Opaque(shape, out, counted, name, arguments)
    if isinstance(made, Listed):
        made = chain(list(made)) if made and all(_named(item) for item in made) else made
    if not hasattr(made, "parts"):
        raise NasError(f"block {name}: returned {_kind(made)}; return a list of (name, node), or a torch module")
    whole = made if isinstance(made, Sequence) else chain([("layer", made)])
    _check(name, whole, shape, out)
    return whole


def _named(item: object) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str) and hasattr(item[1], "parts")


def _kind(made: object) -> str:
    if not isinstance(made, Listed) or not made:
        return type(made).__name__ if made else f"an empty {type(made).__name__}"
    wrong = next(item for item in made if not _named(item))
    return one_line(f"a list that holds {wrong!r}")


def _check(name: str, made: Sequence, shape: Shape, out: Shape) -> None:
    at, names = shape, [key for key, _ in made.layers]
    for key in names:
        if not key.isidentifier() or names.count(key) > 1 or key in _TAKEN:
            raise NasError(f"block {name}: {key!r} cannot be the name of a layer; give each a word of its own")
    for key, layer in made.layers:
        if layer.shape != at:
            raise NasError(f"block {name}: {key} takes {layer.shape}, and gets {at}")
        at = layer.out
    if at != out:
        raise NasError(f"block {name}: puts out {at}, and {out} is wanted")
