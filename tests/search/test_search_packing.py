"""How many trials share a machine: by cores, by what was asked for, and by the memory of its GPUs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from search_cases import FACTS, study

from nas import evaluate
from nas.errors import InvalidInput, NasError
from nas.evaluation import Job
from nas.feasibility import survey
from nas.search import workers
from nas.search.workers import Workers, packed, shared_out, workers_of
from nas.settings import Data, Recipe, Search

GB = 10**9
ONE = Workers(1, 4, 1.0)


@pytest.mark.parametrize(("needed", "room", "cores", "gpus", "asked", "expected"), [
    (3 * GB, 80 * GB, 64, 1, None, (24, 2, 1 / 24)),
    (3 * GB, 80 * GB, 8, 1, None, (8, 1, 1 / 8)),          # no more than cores
    (3 * GB, 80 * GB, 16, 4, None, (16, 1, 1 / 4)),
    (50 * GB, 80 * GB, 16, 2, None, (2, 8, 1.0)),          # two do not fit one
    (90 * GB, 80 * GB, 16, 1, None, (1, 16, 1.0)),         # nor does one: the trial itself tells
    (3 * GB, 80 * GB, 64, 1, 10, (10, 6, 1 / 24)),
])
def test_a_gpu_is_shared_by_memory(needed: int, room: int, cores: int, gpus: int, asked: int | None,
                                   expected: tuple[int, int, float]) -> None:
    found = shared_out(Search(gpus_per_trial="auto", workers=asked), ONE, needed, room, cores, gpus)
    assert (found.count, found.threads, found.gpus) == pytest.approx(expected)
    assert found.gpus * needed <= room or found.gpus == 1.0


def test_auto_needs_a_gpu_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_gpu_count", lambda: 0)
    for address in (None, "10.0.0.1:6379"):
        with pytest.raises(InvalidInput, match=r"search.gpus_per_trial: auto: torch sees no usable GPU"):
            workers_of(Search(gpus_per_trial="auto", address=address), training=True)
    monkeypatch.setattr(workers, "_gpu_count", lambda: 2)
    assert workers_of(Search(gpus_per_trial="auto"), training=True).gpus == 1.0


def test_what_is_measured_is_the_largest_network(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Job] = []

    class Pool:
        def __init__(self, processes: int):
            assert processes == 1

        def __enter__(self) -> Pool:
            return self

        def __exit__(self, *exception: object) -> None: ...

        def apply(self, function: Any, arguments: tuple[str]) -> tuple[int, int]:
            asked.append(Job.from_json(arguments[0]))
            return 2 * GB, 8 * GB

    monkeypatch.setattr(workers.multiprocessing, "get_context", lambda kind: type("Context", (), {"Pool": Pool}))
    monkeypatch.setattr(workers, "_gpu_count", lambda: 1)
    monkeypatch.setattr(workers, "usable_cores", lambda: 16)
    said: list[str] = []
    wanted = study()
    wanted = dataclasses.replace(wanted, search=wanted.search.model_copy(update={"executor": "ray", "workers": None}))
    found = packed(wanted, FACTS, ONE, said.append)
    assert (found.count, found.gpus) == (3, 1 / 3)
    feasible = survey(wanted.space, FACTS.shape, FACTS.classes).feasible
    costs = {judged.architecture.id: judged.cost.activations for _, judged in feasible if judged.cost is not None}
    assert costs[asked[0].architecture.id] == max(costs.values())
    assert "needs 2GB of a GPU's 8GB: 3 (0.333333 GPU each)" in said[0]


def test_a_process_that_cannot_try_says_why() -> None:
    """On this machine, which has no GPU: the real process, and its error."""
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(NasError, match=r"torch sees no usable GPU"):
        packed(study(), FACTS, ONE, lambda line: None)


def test_a_trial_needs_its_memory_its_data_and_cuda_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What torch reserved while the network trained, and what the whole of the data takes; the training is real."""
    from nas.train import choose

    network = next(j.architecture for _, j in survey(study().space, (1, 8, 8), 10, 50).feasible)
    trained: list[int] = []
    was = evaluate.Trainer.run_epoch
    monkeypatch.setattr(evaluate.Trainer, "run_epoch", lambda self: trained.append(len(self.dataset.train.labels))
                        or was(self))
    monkeypatch.setattr(evaluate, "choose", lambda precision, device, threads: choose(precision, "cpu", threads))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (70 * GB, 80 * GB))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: GB)
    job = Job("s", 0, network, (1, 8, 8), 10, Data(), Recipe(batch_size=32), 0, 20)
    needed, room = evaluate.gpu_memory(job)
    data = evaluate._dataset(Data())
    assert needed == GB + evaluate.CONTEXT + data.train.images.nbytes + data.validation.images.nbytes
    assert room == 70 * GB + evaluate.CONTEXT
    assert trained == [4 * 32]

    def full(self: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(evaluate.Trainer, "run_epoch", full)
    assert evaluate.gpu_memory(job) == (room, room)
