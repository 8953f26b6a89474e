"""How many trials run at once on this machine, and what each takes of its cores and GPUs."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from nas.errors import InvalidInput, NasError, Problem
from nas.evaluation import Job
from nas.feasibility import survey
from nas.search.proposals import DataFacts
from nas.settings import Search
from nas.study import Study
from nas.units import human_count

_MARGIN = 0.9       # of a GPU's memory that is shared out: the allocator of each process leaves gaps


@dataclass(frozen=True, slots=True)
class Workers:
    """How many trials run at once, and what each takes."""

    count: int
    threads: int
    gpus: float

    def __str__(self) -> str:
        what = f"{self.gpus:g} GPU each" if self.gpus else f"{self.threads} thread{'s' * (self.threads > 1)} each"
        return f"{self.count} ({what})"


def workers_of(search: Search, training: bool) -> Workers:
    """The workers asked for, or what fits the machine: threads = cores / workers, up to four trials a GPU."""
    cores = usable_cores()
    gpus = _gpu_count() if training and search.gpus_per_trial != 0 else 0
    wanted = 1.0 if search.gpus_per_trial == "auto" else search.gpus_per_trial
    share = wanted or (max(0.25, gpus / cores) if gpus else 0.0)
    if gpus == 0 and wanted and (search.address is None or search.gpus_per_trial == "auto"):
        raise InvalidInput([Problem("", "search.gpus_per_trial", "torch sees no usable GPU", "leave it out",
                                    search.gpus_per_trial)])
    fitting = max(1, int(gpus / share)) if gpus else cores
    count = 1 if search.executor == "local" else search.workers or fitting
    if search.address is not None:      # of a cluster, whose GPUs this machine does not see
        share = wanted if wanted is not None else share
    return Workers(count, max(1, cores // count), share if gpus or search.address is not None else 0.0)


def usable_cores() -> int:
    """The cores of this process, or OMP_NUM_THREADS where that is set and fewer: oversubscribed, training crawls."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(asked)) if asked.isdigit() and int(asked) else cores


def _gpu_count() -> int:
    if not Path("/dev/nvidiactl").exists() and os.name == "posix" and not Path("/dev/kfd").exists():
        return 0        # without a driver there is nothing to ask torch for, and importing it takes seconds
    from nas.train import gpu_count

    return gpu_count()


def packed(study: Study, facts: DataFacts, workers: Workers, say: Callable[[str], None]) -> Workers:
    """As many workers as fit the GPUs by memory: that of the largest of the study's networks, measured by training it
    for a moment in a process of its own."""
    feasible = survey(study.space, facts.shape, facts.classes).feasible
    if not feasible:
        return workers
    _, largest = max(feasible, key=lambda found: found[1].cost.activations if found[1].cost is not None else 0)
    job = Job(study.name, 0, largest.architecture, facts.shape, facts.classes, facts.data, study.recipe, study.seed,
              study.recipe.epochs)
    try:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            needed, room = pool.apply(_memory, (job.to_json(),))
    except RuntimeError as error:
        raise NasError(f"search.gpus_per_trial: auto: the largest network cannot be tried: {error}; "
                       "give a share, e.g. --gpus-per-trial 0.5") from error
    found = shared_out(study.search, workers, needed, room, usable_cores(), _gpu_count())
    say(f"memory    the largest of {len(feasible):,} networks needs {human_count(needed)}B of a GPU's "
        f"{human_count(room)}B: {found}")
    return found


def shared_out(search: Search, workers: Workers, needed: int, room: int, cores: int, gpus: int) -> Workers:
    """`workers`, as many as have `needed` bytes each of a GPU's `room`; no more than cores, where not told."""
    a_gpu = max(1, min(int(_MARGIN * room / needed), max(1, cores // max(1, gpus))))
    count = 1 if search.executor == "local" else search.workers or a_gpu * gpus
    return replace(workers, count=count, threads=max(1, cores // count), gpus=1 / a_gpu)


def _memory(job: str) -> tuple[int, int]:
    from nas.evaluate import gpu_memory

    return gpu_memory(Job.from_json(job))
