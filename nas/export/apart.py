"""The files of other runtimes as their users run them: in a process that cannot import nas and unpickles nothing."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from nas.errors import NasError, one_line, shown

_MAIN = Path(__file__).with_name("apart_main.py")


def logits_apart(files: Collection[Path], images: Tensor) -> dict[Path, Tensor]:
    """The logits (N, classes) of each .pt2 or .onnx file for normalised images (N, C, H, W), of one process for all.

    Raises `NasError` where one cannot be loaded or run there.
    """
    if not files:
        return {}
    with tempfile.TemporaryDirectory(prefix="nas-apart-") as place:
        given, made = Path(place, "images.safetensors"), Path(place, "logits.safetensors")
        save_file({"images": images.contiguous()}, given)
        command = [sys.executable, "-P", *map(str, (_MAIN, torch.get_num_threads(), given, made, *files))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise NasError(one_line(f"{', '.join(file.name for file in files)}: cannot be run in a process of its own: "
                                    f"{shown(said, 300)}; nothing was exported: leave the format out with --format"))
        found = load_file(made)
    return {file: found[str(file)] for file in files}
