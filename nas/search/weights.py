"""Whose weights are on disk: written as a training ends, removed as better ones push it away."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from nas.checkpoint import remove_checkpoint, write_checkpoint
from nas.evaluation import Progress
from nas.search.near_front import NearFront
from nas.store import Ledger, State, TrialRecord
from nas.study import Study


class Weights:
    """Keeps the weights of a study in `folder`/checkpoints, by its `search.keep`."""

    def __init__(self, study: Study, ledger: Ledger, folder: Path, complete: Sequence[TrialRecord]):
        self.study, self.ledger, self.folder = study, ledger, folder
        self.near = NearFront(study.objectives, complete)

    def write(self, trial: TrialRecord, last: Progress) -> tuple[str | None, str | None]:
        """Write what came with the last epoch of a training, where it is to be kept: its place, and its digest."""
        if last.weights is None or not self._keeps(trial, last):
            return None, None
        path = self.folder / "checkpoints" / f"{trial.number}.safetensors"
        sha256 = write_checkpoint(path, last.weights)
        return f"{self.folder.name}/checkpoints/{trial.number}.safetensors", sha256

    def admit(self, trial: TrialRecord) -> Iterator[TrialRecord]:
        """Take in a COMPLETE trial; those whose weights are dropped for it, as they are now."""
        for out in self.near.admit(trial):
            if self.study.search.keep == "all" or not out.checkpoint or out.reused:
                continue
            if not self.ledger.shared(self.study.name, out.number):
                self.ledger.clear_checkpoint(self.study.name, out.number)
                remove_checkpoint(self.folder.parent / out.checkpoint)
                yield dataclasses.replace(out, checkpoint=None, checkpoint_sha256=None)

    def _keeps(self, trial: TrialRecord, last: Progress) -> bool:
        if self.study.search.keep != "front":
            return self.study.search.keep == "all"
        return self.near.takes(dataclasses.replace(
            trial, accuracy=last.accuracy, latency_ms=last.latency_ms, state=State.COMPLETE))
