"""What is known about this machine's training speed, read and kept without torch.

`nas.train.numerics` measures how fast a small residual network trains here in each precision and memory layout; this
module holds the figures in one JSON file in the cache folder, so that `nas inspect` can estimate times without
importing torch. It measures nothing itself.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from nas.data import cache

_T = TypeVar("_T")
_FILE = "speed.json"


@dataclass(frozen=True, slots=True)
class Speed:
    """Training speed of one device, measured with the small network of `nas.train.numerics`.

    `images_per_second` is keyed by the combination, e.g. "float32 channels_last"; forward and backward are in
    it. `macs` are the forward MACs of that network for one image. `measured` is a Unix time in seconds.
    """

    device: str                             # cpu or cuda
    name: str                               # of the processor or the GPU
    host: str                               # name of the processor of the machine
    torch: str
    threads: int
    macs: int
    images_per_second: Mapping[str, float]
    measured: float

    @property
    def key(self) -> str:
        """What the figures hold for: another processor, torch or thread count is measured anew."""
        return f"{self.device} | {self.name} | torch {self.torch} | {self.threads} threads"

    @property
    def best(self) -> str:
        """The fastest combination."""
        return max(self.images_per_second, key=lambda combination: self.images_per_second[combination])

    @property
    def macs_per_second(self) -> float:
        """Forward MACs of the images trained in a second, with the fastest combination."""
        return self.macs * self.images_per_second[self.best]

    def summary(self, chosen: str | None = None) -> str:
        """`chosen` (default: the fastest) with its images a second, the others as multiples of it, in one line."""
        chosen = chosen or self.best
        speed = self.images_per_second[chosen]
        others = ", ".join(
            f"{name} {other / speed:.1f}x"
            for name, other in sorted(self.images_per_second.items(), key=lambda item: -item[1])
            if name != chosen
        )
        return f"{chosen} {speed:,.0f} images/s" + (f" ({others})" if others else "")


def recorded_speed(device: str | None = None, threads: int | None = None) -> Speed | None:
    """The newest figures for this machine and the installed torch, or None where nothing was measured yet."""
    speeds = [
        speed
        for speed in recorded_speeds().values()
        if speed.host == processor()
        and speed.torch == torch_version()
        and device in (None, speed.device)
        and threads in (None, speed.threads)
    ]
    return max(speeds, key=lambda speed: speed.measured, default=None)


def recorded_speeds() -> dict[str, Speed]:
    """All kept figures by key."""
    return {speed.key: speed for speed in entries(_FILE, lambda entry: Speed(**entry))}


def record(speed: Speed) -> None:
    """Keep `speed` in place of older figures of its key."""
    keep(_FILE, [asdict(kept) for kept in {**recorded_speeds(), speed.key: speed}.values()])


def entries(name: str, made: Callable[[Mapping[str, Any]], _T]) -> list[_T]:
    """What the file `name` of the cache folder holds. One that cannot be read counts as empty: it is measured anew."""
    try:
        return [made(entry) for entry in json.loads((cache.root() / name).read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def keep(name: str, kept: Sequence[Mapping[str, Any]]) -> None:
    """Have the file `name` of the cache folder hold just these; it is replaced in one step, or not at all."""
    file, text = cache.root() / name, json.dumps(kept, indent=1)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=file.name)
    except OSError:     # a read-only home: the figures are measured again next time
        return
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(temporary, file)


def torch_version() -> str:
    """The installed torch, without importing it."""
    return importlib.metadata.version("torch")


def processor() -> str:
    """The processor's name with what a cloud's generic name hides: family, model and number formats."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    fields = {
        name.strip(): value.strip()
        for name, _, value in (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    }
    flags = fields.get("flags", "").split()
    formats = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    numbers = "/".join(fields.get(name, "?") for name in ("cpu family", "model", "stepping"))
    return " ".join([fields.get("model name", platform.machine()), f"({numbers})", *formats])
