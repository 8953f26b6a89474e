"""Whose weights are on disk: written as a training ends, removed as better ones push it away or need its room."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from nas.checkpoint import remove_checkpoint, sweep_checkpoints, write_checkpoint
from nas.evaluation import Progress
from nas.search.near_front import NearFront
from nas.store import Ledger, State, TrialRecord
from nas.study import Study


class Weights:
    """Keeps the weights of a study in `folder`/checkpoints, by its `search.keep` and within its `search.quota`."""

    def __init__(self, study: Study, ledger: Ledger, folder: Path, complete: Sequence[TrialRecord]):
        self.study, self.ledger, self.folder = study, ledger, folder
        self.near = NearFront(study.objectives, complete)
        sweep_checkpoints(folder / "checkpoints")
        self._sizes = {trial.number: self._size(trial) for trial in complete if trial.checkpoint and not trial.reused}
        self._kept = {trial.number: trial for trial in complete if trial.number in self._sizes}
        self._dropped: list[TrialRecord] = []

    def write(self, trial: TrialRecord, last: Progress) -> tuple[str | None, str | None]:
        """Write what came with the last epoch of a training, where it is to be kept: its place, and its digest."""
        trial = dataclasses.replace(trial, accuracy=last.accuracy, latency_ms=last.latency_ms, state=State.COMPLETE)
        if last.weights is None or not self._keeps(trial) or not self._has_room(trial, len(last.weights)):
            return None, None
        self.ledger.confirm_lease(self.study.name)      # the one who took it over may have written the same file
        sha256 = write_checkpoint(self._path(trial.number), last.weights)
        self._sizes[trial.number] = len(last.weights)
        return f"{self.folder.name}/checkpoints/{trial.number}.safetensors", sha256

    def admit(self, trial: TrialRecord) -> Iterator[TrialRecord]:
        """Take in a COMPLETE trial; those whose weights were dropped for it, as they are now."""
        if trial.number in self._sizes:
            self._kept[trial.number] = trial
        for out in self.near.admit(trial):
            if self.study.search.keep != "all" and out.number in self._kept:
                self._drop(out)
        yield from self._dropped
        self._dropped.clear()

    def revise(self, complete: Sequence[TrialRecord]) -> None:
        """The accuracies of COMPLETE trials are others now. What is dropped for the next one follows from them."""
        self.near = NearFront(self.study.objectives, complete)
        self._kept = {trial.number: trial for trial in complete if trial.number in self._sizes}

    def _keeps(self, trial: TrialRecord) -> bool:
        if self.study.search.keep != "front":
            return self.study.search.keep == "all"
        return self.near.takes(trial)

    def _has_room(self, trial: TrialRecord, size: int) -> bool:
        """Whether the quota has room for a trial's weights, made by dropping those worth less: first what is not on the
        front, then the less accurate."""
        quota = self.study.search.quota
        if quota is None:
            return True
        front = {one.number for one in NearFront(self.study.objectives, [*self.near.trials, trial]).front()}

        def worth(one: TrialRecord) -> tuple[bool, float]:
            return one.number in front, one.accuracy or 0.0

        less = sorted((one for one in self._kept.values() if worth(one) < worth(trial)), key=worth)
        if sum(self._sizes.values()) - sum(self._sizes[one.number] for one in less) + size > quota:
            return False
        for one in less:
            if sum(self._sizes.values()) + size <= quota:
                break
            self._drop(one)
        return True

    def _drop(self, trial: TrialRecord) -> None:
        if self.ledger.shared(self.study.name, trial.number):
            return
        self.ledger.clear_checkpoint(self.study.name, trial.number)
        remove_checkpoint(self._path(trial.number))
        del self._sizes[trial.number], self._kept[trial.number]
        self._dropped.append(dataclasses.replace(trial, checkpoint=None, checkpoint_sha256=None))

    def _path(self, number: int) -> Path:
        return self.folder / "checkpoints" / f"{number}.safetensors"

    def _size(self, trial: TrialRecord) -> int:
        try:
            return self._path(trial.number).stat().st_size
        except OSError:
            return 0
