"""The network as files of other runtimes: `model.pt2` (torch.export) and `model.onnx`, for batches of any size.

Neither holds a pickle, a path of this machine or anything that differs from one export of a network to the next. What
an exporter cannot express is left out, with the reason in a line.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import warnings
import zipfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from nas.errors import NasError, one_line, shown
from nas.export.folder import write
from nas.exported.manifest import ONNX, PT2
from nas.nodes import Shape

Format: TypeAlias = Literal["pt2", "onnx"]

FILE_OF: dict[Format, str] = {"pt2": PT2, "onnx": ONNX}
_EXTRA = ("onnx", "onnxscript", "onnxruntime")
_LOGGERS = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")


def formats_of(text: str) -> tuple[Format, ...]:
    """The formats of a comma list, in which `all` and `none` may stand for all and none. Raises `NasError`."""
    words = [word.strip() for word in text.split(",")]
    if "none" in words and len(words) > 1:
        raise NasError(f"--format {text}: none stands alone; leave it out, or the others")
    return asked([] if words == ["none"] else [*FILE_OF] if "all" in words else words)


def asked(names: Collection[str]) -> tuple[Format, ...]:
    """Those formats, each once. Raises `NasError` where there is no such one, or where it needs what is missing."""
    unknown = [name for name in names if name not in FILE_OF]
    if unknown:
        raise NasError(one_line(f"format {shown(unknown[0])}: is none of {', '.join(FILE_OF)}; --format takes a comma "
                                "list of them, or all, or none"))
    if "onnx" in names and (missing := _missing()):
        raise NasError(f"format onnx: {missing}; or leave it out: --format pt2")
    return tuple(name for name in FILE_OF if name in names)


def write_formats(folder: Path, network: nn.Module, shape: Shape, formats: Collection[Format] | None) -> dict[str, str]:
    """Write `network`, which takes images of `shape`, in each of `formats`; those left out, and why.

    formats: None for all that can be written here.
    """
    left_out: dict[str, str] = {}
    if formats is None:
        missing = _missing()
        formats, left_out = (["pt2"], {"onnx": missing}) if missing else ([*FILE_OF], {})
    contents = contents_of(network, shape, formats)
    for name, content in contents.items():
        if isinstance(content, bytes):
            write(folder / FILE_OF[name], content)
        else:
            left_out[name] = content
    return left_out


def contents_of(network: nn.Module, shape: Shape, formats: Collection[Format]) -> dict[Format, bytes | str]:
    """The bytes of the file of each format, or in a line why there are none. `network` gets contiguous weights."""
    if not formats:
        return {}
    with _quiet():
        try:
            program = _captured(network, shape)
        except Exception as error:      # of torch, or of a user's module
            return dict.fromkeys(formats, f"torch.export: {_reason(error)}")
        return {name: _content(_WRITERS[name], program) for name in formats}


def pickles(archive: bytes) -> list[str]:
    """The records of a .pt2 archive that `torch.export.load` would unpickle: sample inputs, old and odd tensors."""
    found: list[str] = []
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        for info in file.infolist():
            name = info.filename.partition("/")[2]
            if name.endswith("_config.json"):
                payloads = json.loads(file.read(info))["config"].values()
                found += [payload["path_name"] for payload in payloads if payload["use_pickle"]]
            elif name.endswith(".pt") and info.file_size:
                found.append(name)
    return found


def _missing() -> str:
    absent = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    return f"needs {', '.join(absent)}: pip install 'nas[onnx]'" if absent else ""


def _captured(network: nn.Module, shape: Shape) -> ExportedProgram:
    """The network's graph, without an example input, which would be pickled, and without the lines it came from."""
    network = network.eval().requires_grad_(False).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    program = torch.export.export(network, (torch.zeros(2, *shape),), dynamic_shapes=({0: Dim("batch")},))
    program.example_inputs = None
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


def _pt2(program: ExportedProgram) -> bytes:
    file = io.BytesIO()
    torch.export.save(program, file)
    if held := pickles(file.getvalue()):
        raise NasError(f"the file would hold a pickle ({held[0]}), which would be run where it is loaded")
    return file.getvalue()


def _onnx(program: ExportedProgram) -> bytes:
    made = torch.onnx.export(
        program, dynamo=True, verbose=False, input_names=["images"], output_names=["logits"],
        dynamic_shapes=({0: "batch"},))
    assert made is not None, "torch.onnx.export(dynamo=True) gives the program"
    graph = made.model.graph
    for part in (made.model, graph, *graph, *graph.inputs, *graph.outputs):
        part.metadata_props.clear()
    content: bytes = made.model_proto.SerializeToString(deterministic=True)
    return content


_WRITERS: dict[Format, Callable[[ExportedProgram], bytes]] = {"pt2": _pt2, "onnx": _onnx}


def _content(writer: Callable[[ExportedProgram], bytes], program: ExportedProgram) -> bytes | str:
    try:
        return writer(program)
    except Exception as error:      # an exporter that meets what it does not know raises anything
        return _reason(error)


def _reason(error: BaseException) -> str:
    """What was first said, in a line."""
    while error.__cause__ is not None:
        error = error.__cause__
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return said if isinstance(error, NasError) else one_line(shown(f"{type(error).__name__}: {said}", 200))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what exporters say of themselves: of packages that they could use, of what will change."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
