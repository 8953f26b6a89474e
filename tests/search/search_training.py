"""Real trainings in a search, of tiny networks on few images, whose epochs are counted and which can go wrong."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from nas.evaluation import Job, Progress
from nas.settings import Data


@dataclass
class Trained:
    """Trains for real, and keeps a snapshot of every epoch. Each epoch begun and each one trained is a line of `log`.

    memory, memory_once: numbers of trials that need more memory than there is, the latter only with a whole batch.
    diverging: those whose loss is no number in their second epoch. sleep: seconds an epoch, more than training takes.
    """

    log: Path
    memory: tuple[int, ...] = ()
    memory_once: tuple[int, ...] = ()
    diverging: tuple[int, ...] = ()
    sleep: float = 0.0

    def __call__(self, job: Job) -> Iterator[Progress]:
        import torch

        from nas import evaluate
        from nas.train import Numerics

        trained, told = evaluate.Trainer, self._tell

        def counted(this: Any, was: Callable[..., Any] = trained.run_epoch) -> Any:
            told(job.number, "began", this.epoch + 1)
            found = was(this)
            told(job.number, "trained", this.epoch)
            return found

        def gradient(this: Any, *batch: Any, was: Callable[..., Any] = trained._gradient) -> Any:
            whole = this._micro_batch == this._batches.batch_size
            if this.epoch == 1 and (job.number in self.memory or (whole and job.number in self.memory_once)):
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return was(this, *batch) * (float("nan") if this.epoch == 1 and job.number in self.diverging else 1)

        numerics = Numerics("cpu", "float32", channels_last=True)       # not the faster ones of the moment
        with mock.patch.multiple(evaluate, SNAPSHOT_SECONDS=0.0, choose=lambda *_: numerics), \
                mock.patch.multiple(trained, _gradient=gradient, run_epoch=counted):
            for progress in evaluate.TrainingEvaluator("cpu")(dataclasses.replace(job, data=Data(train=100))):
                time.sleep(self.sleep)
                yield progress

    def _tell(self, number: int, what: str, epoch: int) -> None:
        with self.log.open("a") as file:
            file.write(json.dumps([number, what, epoch]) + "\n")

    def told(self, what: str) -> dict[int, list[int]]:
        """The epochs of each trial that began, or were trained, in order."""
        found: dict[int, list[int]] = {}
        if self.log.exists():
            for line in self.log.read_text().splitlines():
                number, which, epoch = json.loads(line)
                if which == what:
                    found.setdefault(number, []).append(epoch)
        return found
