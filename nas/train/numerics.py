"""In which precision and memory layout this machine trains fastest: measured once, kept, and said in the log.

bfloat16 in channels_last trains 2 to 3 times faster than float32 on a processor that has avx512_bf16, and 5 to 10
times slower on one that has not, so no rule of thumb will do.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.errors import InvalidInput, Problem
from nas.measure import Speed, processor, record, recorded_speeds, torch_version

Device = Literal["cpu", "cuda"]
Precision = Literal["float32", "bfloat16"]

SECONDS = 2.0       # of measuring, after one step of each combination
BATCH = 16          # images of 3 x 16 x 16 a step
HOPELESS = 2.0      # a combination this many times slower than the best is tried no further


@dataclass(frozen=True, slots=True)
class Numerics:
    """How a training computes. Weights, averages and evaluation are float32 in any case."""

    device: Device
    precision: Precision
    channels_last: bool

    def __str__(self) -> str:
        return f"{self.precision} {'channels_last' if self.channels_last else 'NCHW'}"


def choose(
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    threads: int = 1,
) -> Numerics:
    """The fastest numerics of this machine with `threads` a training, within the `precision` asked for.

    Measures once (about 3 s on a CPU), then reads. On a GPU: channels_last, and bfloat16 where the GPU has it. Raises
    InvalidInput where a GPU is asked for and there is none.
    """
    where = usable(device)
    if where == "cuda":
        fast: Precision = "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
        return Numerics("cuda", fast if precision == "auto" else precision, True)
    figures = speed(where, threads).images_per_second
    allowed = [way for way in _ways(where) if precision in ("auto", way.precision)]
    return max(allowed, key=lambda way: figures.get(str(way), 0.0))


def speed(device: Literal["auto", "cpu", "cuda"] = "auto", threads: int = 1) -> Speed:
    """The kept figures of this machine, measured now if there are none."""
    where = usable(device)
    name = torch.cuda.get_device_name() if where == "cuda" else processor()
    wanted = Speed(where, name, processor(), torch_version(), threads, 0, {}, 0.0)
    kept = recorded_speeds().get(wanted.key)
    if kept is None:
        kept = _measure(wanted)
        record(kept)
    return kept


def summary(numerics: Numerics, threads: int = 1) -> str:
    """The choice and its measured speed beside the others', in one line for the start of a run."""
    return speed(numerics.device, threads).summary(str(numerics))


def set_threads(threads: int) -> int:
    """Use `threads` cores in this process, at most as many as it may run on; returns how many it is."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = max(1, min(threads, allowed))
    if torch.get_num_threads() != granted:
        torch.set_num_threads(granted)
    return granted


def gpu_count() -> int:
    """The GPUs that torch can use."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def keep_memory() -> bool:
    """Ask glibc to keep freed memory for the next step, for a process that trains; False where there is no glibc.

    Activations of some megabytes are otherwise given back to the system and taken again, page by page, in every step:
    training was measured 10 to 25 % faster on one core with this. The process then stays at its peak size.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    accepted = mallopt(mmap_threshold, 32 << 20) + mallopt(trim_threshold, 2**31 - 1) + mallopt(top_pad, 64 << 20)
    return bool(accepted == 3)


def usable(device: Literal["auto", "cpu", "cuda"]) -> Device:
    """The device meant; auto: a GPU where torch can use one. Raises InvalidInput where a GPU is asked for in vain."""
    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidInput([Problem("", "device", "torch sees no usable GPU", "use cpu or auto", "cuda")])
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def _ways(device: Device) -> list[Numerics]:
    return [Numerics(device, precision, last) for last in (True, False) for precision in ("float32", "bfloat16")]


def _measure(wanted: Speed) -> Speed:
    """Training steps of each combination in turn, the fastest step of each counting: neighbours disturb least so."""
    before = torch.get_num_threads()
    set_threads(wanted.threads)
    try:
        with torch.random.fork_rng():
            steps = {str(way): _step(way) for way in _ways(wanted.device)}      # type: ignore[arg-type]
            best = _fastest(steps)
    finally:
        torch.set_num_threads(before)
    rates = {way: BATCH / seconds for way, seconds in best.items()}
    return Speed(wanted.device, wanted.name, wanted.host, wanted.torch, wanted.threads, MACS, rates, time.time())


def _fastest(steps: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Seconds of the fastest step of each, within `SECONDS` in all."""
    for step in steps.values():
        step()
    started = time.perf_counter()
    best = {way: _seconds(step) for way, step in steps.items()}
    while time.perf_counter() - started < SECONDS:
        hopeful = [way for way in steps if best[way] < HOPELESS * min(best.values())]
        for way in hopeful:
            best[way] = min(best[way], _seconds(steps[way]))
    return best


def _seconds(step: Callable[[], None]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def _step(way: Numerics) -> Callable[[], None]:
    """Forward and backward of the reference network, ready to be timed.

    No update: it is the same in all, and the first torch.optim optimizer of a process takes seconds to import.
    """
    layout = torch.channels_last if way.channels_last else torch.contiguous_format
    model = Reference().to(way.device, memory_format=layout)    # type: ignore[call-overload]
    images = torch.randn(BATCH, 3, 16, 16, device=way.device).contiguous(memory_format=layout)
    labels = torch.zeros(BATCH, dtype=torch.int64, device=way.device)

    def step() -> None:
        model.zero_grad()
        with torch.autocast(way.device, dtype=torch.bfloat16, enabled=way.precision == "bfloat16"):
            logits = model(images)
        F.cross_entropy(logits.float(), labels).backward()      # type: ignore[no-untyped-call]
        if way.device == "cuda":
            torch.cuda.synchronize()

    return step


class Reference(nn.Module):
    """A ResNeXt of two blocks (Xie et al., 2017): 32 channels wide, 8 groups, as the searched networks are."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.first, self.second = _branch(32), _branch(32)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, 16, 16) to logits (N, 10)."""
        x = self.stem(x)                                    # (N, 32, 16, 16)
        x = F.relu(x + self.first(x))
        x = F.relu(x + self.second(x))
        return self.head(x.mean((2, 3)))                    # type: ignore[no-any-return]


def _branch(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width),
    )


MACS = 256 * (3 * 9 * 32 + 2 * (32 * 32 + 9 * 32 * 32 // 8 + 32 * 32)) + 320
"""Forward MACs of `Reference` for one image."""
