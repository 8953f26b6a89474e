"""A worker's whole job: from a `Job` to its epochs, by training the network on this machine.

Builds, trains, evaluates and hands back; it knows of no database, no sampler and no Ray. Out of memory is retried
once, from the start, with half the micro-batch.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Literal

import torch
from safetensors.torch import save
from torch import nn

from nas import snapshots
from nas.architecture import Architecture
from nas.data import Dataset, load
from nas.evaluation import Job, Progress
from nas.exported.start import begin
from nas.lane import training
from nas.latency.timing import latency_ms
from nas.levels import level_architectures
from nas.model import build
from nas.own_block import folders, look_in
from nas.plan import plan
from nas.settings import Data
from nas.train import Diverged, LevelTrainer, Numerics, Trainer, choose, keep_memory, set_threads

CONTEXT = 600 << 20     # bytes of a GPU that CUDA takes for a process
_TRIED = 4              # batches that show how much memory a training needs
SNAPSHOT_SECONDS = 60.0     # of training that are lost at most, and the epoch at hand, where a worker dies

Device = Literal["auto", "cpu", "cuda"]


@lru_cache(maxsize=2)
def _dataset(data: Data) -> Dataset:
    return load(data)


class TrainingEvaluator:
    """Evaluates a job by training its network. A value that can be sent to worker processes."""

    def __init__(self, device: Device = "auto"):
        self.device = device
        self.blocks = folders()     # of users' blocks, where a worker looks for them, too

    def __call__(self, job: Job) -> Iterator[Progress]:
        """One `Progress` an epoch; the last is `done`, or holds a `failure`."""
        look_in(*self.blocks)
        keep_memory()
        threads = set_threads(job.threads) if job.threads is not None else torch.get_num_threads()
        numerics = choose(job.recipe.precision, self.device, threads)
        dataset = _dataset(job.data)
        micro_batch: int | None = None
        for attempt in (1, 2):
            try:
                yield from _epochs(job, dataset, numerics, micro_batch)
                return
            except torch.OutOfMemoryError as error:
                micro_batch = max(1, job.recipe.batch(len(dataset.train.labels)) // 2)
                torch.cuda.empty_cache()
                if attempt == 2:
                    what = " ".join(str(error).split())[:200]
                    yield Progress(0, failure=f"out of memory, also at half the batch: {what}", out_of_memory=True,
                                   device=_device_name(numerics))


def gpu_memory(job: Job) -> tuple[int, int]:
    """(bytes of a GPU that a worker needs for `job`, bytes that a GPU has free), by training it on a few images."""
    numerics = choose(job.recipe.precision, "cuda", torch.get_num_threads())
    free, _ = torch.cuda.mem_get_info()
    room = free + CONTEXT       # which this process has taken already
    dataset = _dataset(job.data)
    batch = job.recipe.batch(len(dataset.train.labels))
    train, validation = (
        dataclasses.replace(part, images=part.images[:_TRIED * batch], labels=part.labels[:_TRIED * batch])
        for part in (dataset.train, dataset.validation))
    whole = dataset.train.images.nbytes + dataset.validation.images.nbytes
    few = dataclasses.replace(dataset, train=train, validation=validation)
    recipe = job.recipe.model_copy(update={"batch_size": batch})
    model = build(plan(job.architecture, job.shape, job.classes), seed=job.seed)
    try:
        with contextlib.suppress(Diverged):
            Trainer(model, few, recipe, seed=job.seed, numerics=numerics).run_epoch()
    except torch.OutOfMemoryError:
        return room, room
    return torch.cuda.max_memory_reserved() + whole + CONTEXT, room


def _epochs(job: Job, dataset: Dataset, numerics: Numerics, micro_batch: int | None) -> Iterator[Progress]:
    networks = [partial(_network, job, architecture)
                for architecture in level_architectures(job.architecture, job.recipe.levels)]
    trainer = LevelTrainer(networks, dataset, job.recipe, seed=job.seed, numerics=numerics, micro_batch=micro_batch)
    place = snapshots.place_of(job, dataset.checksum, numerics.device, str(numerics), micro_batch)
    so_far: list[Progress] = []
    if found := snapshots.find(place):
        state, so_far = found
        trainer.load_state(state)
        yield from so_far
    kept = time.monotonic()
    for number in range(len(so_far) + 1, job.epochs + 1):
        try:
            with training():
                result = trainer.run_epoch()
        except Diverged as error:
            yield Progress(number, failure=str(error), device=_device_name(numerics))
            return
        last = number == job.epochs
        so_far.append(Progress(number, result.train_loss, result.loss, result.accuracy, result.seconds,
                               device=_device_name(numerics)))
        if not last and (number in job.rungs or time.monotonic() - kept >= SNAPSHOT_SECONDS):
            snapshots.keep(place, trainer.state(), so_far)
            kept = time.monotonic()
        if not last:
            yield so_far[-1]
    done = dataclasses.replace(
        so_far[-1], done=True, weights=save(trainer.weights()),
        latency_ms=_latency_ms(job, numerics.device) if job.latency else None,
        tested=trainer.evaluate(dataset.test) if job.test and len(dataset.test.labels) else None)
    try:
        yield done
    finally:
        snapshots.forget(place)     # now that it is taken: where a worker dies before that, another one goes on from it


def _latency_ms(job: Job, device: Literal["cpu", "cuda"]) -> float:
    """Of the network as it is exported, not as it is trained: with quicker layers, and perhaps in another layout."""
    return latency_ms(plan(job.architecture, job.shape, job.classes), device)


def _network(job: Job, architecture: Architecture) -> nn.Module:
    """As its training begins: with new weights, or those of an exported folder. Raises `NasError` where it is gone."""
    model = build(plan(architecture, job.shape, job.classes), seed=job.seed)
    if job.recipe.start:
        begin(model, job.start, job.recipe.start)
    return model


def _device_name(numerics: Numerics) -> str:
    name = torch.cuda.get_device_name() if numerics.device == "cuda" else "cpu"
    return f"{name} {numerics}"
