"""Latencies that were measured here, kept in one JSON file in the cache folder and read without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nas.measure import entries, keep, processor, torch_version
from nas.nodes import Shape

_FILE = "latency.json"


@dataclass(frozen=True, slots=True)
class Setting:
    """Where and how a latency is measured: `batch` images at once, on `threads` cores where the device is the cpu."""

    device: str                 # cpu or cuda
    batch: int
    threads: int
    name: str                   # of the processor or the GPU
    host: str                   # name of the processor of the machine
    torch: str

    @property
    def here(self) -> bool:
        """Whether this is that machine, with the same torch."""
        return (self.host, self.torch) == (processor(), torch_version())

    def line(self) -> str:
        """For people."""
        threads = f", {self.threads} thread{'s' * (self.threads > 1)}" if self.device == "cpu" else ""
        return f"{self.device}{threads}, batch {self.batch}; {self.name}; torch {self.torch}"


@dataclass(frozen=True, slots=True)
class Latency:
    """Times of a forward pass of `setting.batch` images, in milliseconds: the median, the quartiles, and what 95 % of
    the rounds took at most. noise: why not to trust them, empty where nothing speaks against it. measured: Unix time.
    """

    network: str                # id of the architecture
    shape: Shape                # of an image (C, H, W)
    classes: int
    setting: Setting
    median_ms: float
    low_ms: float
    high_ms: float
    p95_ms: float
    rounds: int
    noise: str
    measured: float

    @property
    def key(self) -> tuple[Any, ...]:
        """What the figures hold for."""
        return self.network, self.shape, self.classes, self.setting

    @property
    def images_per_second(self) -> float:
        return 1000 * self.setting.batch / self.median_ms

    @staticmethod
    def of(entry: Mapping[str, Any]) -> Latency:
        """What `asdict` made of one, read back from JSON."""
        return Latency(**{**entry, "shape": tuple(entry["shape"]), "setting": Setting(**entry["setting"])})


def record(latency: Latency) -> None:
    """Keep it in place of an older one of its key."""
    kept = {**_all(), latency.key: latency}
    keep(_FILE, [asdict(one) for one in kept.values()])


def recorded_latency(
    network: str, shape: Shape, classes: int, device: str = "cpu", batch: int = 1, threads: int = 1,
) -> Latency | None:
    """What was measured last on this machine of the network of that id; None where nothing was. Needs no torch."""
    found = [one for one in _all().values() if one.setting.here
             and (one.network, one.shape, one.classes) == (network, tuple(shape), classes)
             and (one.setting.device, one.setting.batch, one.setting.threads) == (device, batch, threads)]
    return max(found, key=lambda one: one.measured, default=None)


def _all() -> dict[tuple[Any, ...], Latency]:
    return {one.key: one for one in entries(_FILE, Latency.of)}
