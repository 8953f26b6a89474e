"""Trainings as they stood at an epoch, on this machine's disk: so that one that is gone on with does not begin anew.

A cache, and no more: whoever finds nothing here trains from the start and gets the same numbers. Plain safetensors, the
epochs so far in its metadata. The oldest give way to new ones.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nas.data import cache
from nas.evaluation import Job, Progress

LARGEST = 4 << 30       # bytes of all of them
_PARTS = ("model", "average", "momentum", "other")      # of a trainer's state

log = logging.getLogger("nas")


def place_of(job: Job, data: str, numerics: str, micro_batch: int | None) -> Path:
    """The file of all trainings that go exactly like `job` on the data of checksum `data`."""
    key = cache.key_of(job.architecture.id, job.shape, job.classes, data, job.recipe.model_dump(), job.seed,
                       job.threads, numerics, micro_batch, torch.__version__, version("nas"))
    return cache.root() / "snapshots" / f"{key}.safetensors"


def keep(place: Path, state: dict[str, Any], so_far: Sequence[Progress]) -> None:
    """Keep a trainer's `state()` and the epochs that led there. A disk that is full or not ours keeps nothing."""
    tensors = {f"{part}/{name}": value for part in _PARTS for name, value in state[part].items()}
    metadata = {"epoch": str(state["epoch"]), "seed": str(state["seed"]),
                "so_far": json.dumps([dataclasses.asdict(progress) for progress in so_far])}
    temporary = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, temporary, metadata)
        temporary.replace(place)
        _make_room(place.parent)
    except (OSError, SafetensorError) as error:
        log.warning("a training is not kept on the way: %s", error)
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def find(place: Path) -> tuple[dict[str, Any], list[Progress]] | None:
    """What was kept there, if anything."""
    state: dict[str, Any] = {part: {} for part in _PARTS}
    try:
        with safe_open(place, "pt") as file:
            metadata = file.metadata()
            for name in file.keys():    # noqa: SIM118 - not a mapping
                part, _, rest = name.partition("/")
                tensor: Tensor = file.get_tensor(name)
                state[part][rest] = tensor
        state |= {"epoch": int(metadata["epoch"]), "seed": int(metadata["seed"])}
        return state, [Progress(**values) for values in json.loads(metadata["so_far"])]
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        log.warning("%s is damaged and left out: %s", place, error)
        forget(place)
        return None


def forget(place: Path) -> None:
    """The training has come to its end."""
    with contextlib.suppress(OSError):
        place.unlink(missing_ok=True)


def _make_room(folder: Path) -> None:
    files = sorted(((stat.st_mtime, stat.st_size, file) for file in folder.iterdir()     # those half written, too
                    if (stat := file.stat())), reverse=True)
    total = 0
    for _, size, file in files:
        total += size
        if total > LARGEST:
            forget(file)
