"""Forward passes of a network, timed on this machine: float32 in channels_last, as networks are evaluated and exported.

The network is built from its plan: its weights do not change its time.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator

import torch

from nas.errors import NasError
from nas.lane import measuring
from nas.latency.records import Latency, Setting, record
from nas.latency.rounds import SECONDS, Rounds, timed
from nas.measure import processor, torch_version
from nas.model import build
from nas.nodes import Sequence
from nas.train import set_threads

NO_LANE = "the cache folder has no file locks, so that trainings may have run beside it"


def latency_ms(plan: Sequence, device: str = "cpu") -> float:
    """The median time in milliseconds of a forward pass of one image, with no training of nas beside it.

    Uses as many threads as torch has now.
    """
    with measuring():
        return 1000 * rounds_of(plan, device).median


def measure(plan: Sequence, network: str, setting: Setting) -> Latency:
    """The latency of the network of that id in `setting`, measured alone and kept in place of an older figure."""
    with threads(setting.threads), measuring() as laned:
        found = rounds_of(plan, setting.device, setting.batch)
        noise = [*found.noise(), *([] if laned else [NO_LANE])]
        low, high = found.quartiles
        latency = Latency(
            network, plan.shape, plan.out[0], setting, 1000 * found.median, 1000 * low, 1000 * high, 1000 * found.p95,
            len(found.seconds), "; ".join(noise), time.time())
        record(latency)
    return latency


def rounds_of(plan: Sequence, device: str, batch: int = 1, seconds: float = SECONDS) -> Rounds:
    """Rounds of forward passes of `batch` images."""
    with torch.inference_mode():
        return timed(_pass(plan, device, batch), torch.get_num_threads() if device == "cpu" else 1, seconds)


def setting_of(device: str, batch: int, threads: int) -> Setting:
    """The setting on this machine. Raises `NasError` where it has no such device, or fewer cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads > cores:
        raise NasError(f"--threads {threads}: this process may run on {cores} cores; give at most {cores}")
    if device == "cuda" and not torch.cuda.is_available():
        raise NasError("--device cuda: torch sees no usable GPU; measure with --device cpu")
    name = torch.cuda.get_device_name() if device == "cuda" else processor()
    return Setting(device, batch, threads, name, processor(), torch_version())


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """torch uses `count` threads, and what it used before afterwards."""
    before = torch.get_num_threads()
    set_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _pass(plan: Sequence, device: str, batch: int) -> Callable[[], None]:
    """One forward pass, which is over when it returns."""
    model = build(plan, seed=0).to(device).to(memory_format=torch.channels_last).eval()     # type: ignore[call-overload]
    images = torch.randn(batch, *plan.shape, generator=torch.Generator().manual_seed(0)).to(device)
    images = images.contiguous(memory_format=torch.channels_last)

    def step() -> None:
        model(images)
        if device == "cuda":
            torch.cuda.synchronize()

    return step
