"""Whose weights are on disk: written as a training ends, removed as better ones push it away or need its room."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from nas.checkpoint import copy_of, remove_checkpoint, sweep_checkpoints, write_checkpoint
from nas.evaluation import Progress
from nas.search.near_front import NearFront
from nas.store import Ledger, State, TrialRecord
from nas.study import Study


class Weights:
    """Keeps the weights of a study in `folder`/checkpoints, by its `search.keep` and within its `search.quota`."""

    def __init__(self, study: Study, ledger: Ledger, folder: Path, complete: Sequence[TrialRecord]):
        self.study, self.ledger, self.folder = study, ledger, folder
        self.near = NearFront(study.objectives, complete)
        self._kept = {trial.number: trial for trial in complete if trial.checkpoint and not trial.reused}
        sweep_checkpoints(folder / "checkpoints")
        self._sizes = {trial.number: self._size(trial) for trial in self._kept.values()}
        self._dropped: list[TrialRecord] = []

    def write(self, trial: TrialRecord, last: Progress) -> tuple[str | None, str | None]:
        """Write what came with the last epoch of a training, where it is to be kept: its place, and its digest.

        A part of the digest is in the name: whoever lost the study to another driver and does not know it yet does not
        write over that one's file.
        """
        trial = dataclasses.replace(trial, accuracy=last.accuracy, latency_ms=last.latency_ms or trial.latency_ms,
                                    state=State.COMPLETE)
        if last.weights is None or not self._keeps(trial) or not self._has_room(trial, len(last.weights)):
            return None, None
        self.ledger.confirm_lease(self.study.name)
        digest = hashlib.sha256(last.weights).hexdigest()[:8]
        name = f"{self.folder.name}/checkpoints/{trial.number}-{digest}.safetensors"
        copy = copy_of(name, self.study.search.artifacts)
        sha256 = write_checkpoint(self.folder.parent / name, last.weights, copy)
        self._sizes[trial.number] = len(last.weights)
        return name, sha256

    def admit(self, trial: TrialRecord) -> Iterator[TrialRecord]:
        """Take in a COMPLETE trial; those whose weights were dropped for it, as they are now."""
        if trial.number in self._sizes:
            self._kept[trial.number] = trial
        self.near.admit(trial)
        return self._drop_outside()

    def revise(self, complete: Sequence[TrialRecord]) -> Iterator[TrialRecord]:
        """The accuracies of COMPLETE trials are others now; those whose weights were dropped for it, as they are."""
        self.near = NearFront(self.study.objectives, complete)
        self._kept = {trial.number: trial for trial in complete if trial.number in self._sizes}
        return self._drop_outside()

    def _drop_outside(self) -> Iterator[TrialRecord]:
        if self.study.search.keep != "all":
            near = {trial.number for trial in self.near.trials}
            for out in [trial for trial in self._kept.values() if trial.number not in near]:
                self._drop(out)
        yield from self._dropped
        self._dropped.clear()

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

        if sum(self._sizes.values()) + size <= quota:
            return True
        less = sorted((one for one in self._kept.values() if worth(one) < worth(trial)
                       and not self.ledger.shared(self.study.name, one.number)), key=worth)
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
        remove_checkpoint(self._path(trial), copy_of(trial.checkpoint or "", self.study.search.artifacts))
        del self._sizes[trial.number], self._kept[trial.number]
        self._dropped.append(dataclasses.replace(trial, checkpoint=None, checkpoint_sha256=None))

    def _path(self, trial: TrialRecord) -> Path:
        return self.folder.parent / (trial.checkpoint or "")

    def _size(self, trial: TrialRecord) -> int:
        try:
            return self._path(trial).stat().st_size
        except OSError:
            return 0
