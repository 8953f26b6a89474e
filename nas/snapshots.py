"""Trainings as they stood at an epoch: so that one that is gone on with does not begin anew.

In this machine's cache, or in a folder or at an fsspec URL that all workers reach. A cache, and no more: whoever finds
nothing there trains from the start and gets the same numbers. Plain safetensors, the epochs so far in its metadata. In
the machine's cache the oldest give way to new ones.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import fsspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from nas.data import cache
from nas.evaluation import Job, Progress

LARGEST = 4 << 30       # bytes of all of them in the cache
_PARTS = ("model", "average", "momentum", "other")      # of a trainer's state

log = logging.getLogger("nas")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a training is kept: a file in `folder`, a path or an fsspec URL. `ours`: it is this machine's cache."""

    folder: str
    name: str
    ours: bool


def place_of(job: Job, data: str, device: str, numerics: str, micro_batch: int | None) -> Place:
    """The place of all trainings that go exactly like `job` on the data of checksum `data`."""
    threads = job.threads if device == "cpu" else None      # on a GPU they change nothing
    key = cache.key_of(job.network.id, job.shape, job.classes, data, job.recipe.model_dump(), job.seed,
                       threads, device, numerics, micro_batch, torch.__version__, version("nas"))
    folder = job.artifacts or str(cache.root())
    return Place(f"{folder.rstrip('/')}/snapshots", f"{key}.safetensors", not job.artifacts)


def keep(place: Place, state: dict[str, Any], so_far: Sequence[Progress]) -> None:
    """Keep a trainer's `state()` and the epochs that led there. What is full or not ours to write keeps nothing."""
    tensors = {f"{part}/{name}": value for part in _PARTS for name, value in state[part].items()}
    metadata = {"epoch": str(state["epoch"]), "seed": str(state["seed"]),
                "so_far": json.dumps([dataclasses.asdict(progress) for progress in so_far])}
    try:
        system, folder = fsspec.url_to_fs(place.folder)
        system.makedirs(folder, exist_ok=True)
        temporary = f"{folder}/.{place.name}.{os.getpid()}"
        try:
            system.pipe_file(temporary, save(tensors, metadata))
            system.mv(temporary, f"{folder}/{place.name}")
        except BaseException:
            with contextlib.suppress(OSError):
                system.rm_file(temporary)
            raise
        if place.ours:
            _make_room(Path(folder))
    except (OSError, ImportError, ValueError, SafetensorError) as error:
        log.warning("a training is not kept on the way in %s: %s", place.folder, str(error))


def find(place: Place) -> tuple[dict[str, Any], list[Progress]] | None:
    """What was kept there, if anything."""
    try:
        system, folder = fsspec.url_to_fs(place.folder)
        data: bytes = system.cat_file(f"{folder}/{place.name}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ImportError, ValueError) as error:
        log.warning("what is kept in %s cannot be read: %s", place.folder, str(error))
        return None
    try:
        state: dict[str, Any] = {part: {} for part in _PARTS}
        for name, tensor in load(data).items():
            part, _, rest = name.partition("/")
            state[part][rest] = tensor
        metadata = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        state |= {"epoch": int(metadata["epoch"]), "seed": int(metadata["seed"])}
        return state, [Progress(**values) for values in json.loads(metadata["so_far"])]
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        log.warning("%s/%s is damaged and left out: %s", place.folder, place.name, str(error))
        forget(place)
        return None


def forget(place: Place) -> None:
    """The training has come to its end."""
    with contextlib.suppress(OSError, ImportError, ValueError):
        system, folder = fsspec.url_to_fs(place.folder)
        system.rm_file(f"{folder}/{place.name}")


def _make_room(folder: Path) -> None:
    files = sorted(((stat.st_mtime, stat.st_size, file) for file in folder.iterdir()     # those half written, too
                    if (stat := file.stat())), reverse=True)
    total = 0
    for _, size, file in files:
        total += size
        if total > LARGEST:
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)
