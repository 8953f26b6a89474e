"""A study that is in the database, to look at: its trials, its front, its figures, its report.

Reads only. A notebook user gets one from `nas.open_study`; the command line's status, report and export use it too.
"""

from __future__ import annotations

import io
import platform
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from nas.data import DataInfo, describe
from nas.errors import NasError
from nas.store import EpochRecord, Ledger, Refusals, TrialRecord
from nas.study import Study, study_from_spec

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from nas.report import Results

HOME = Path("studies")      # in the working folder: one folder a study, and the database of all of them


def default_storage(home: Path = HOME) -> str:
    """The URL of the SQLite file that holds all studies of `home`."""
    return f"sqlite:///{home / 'nas.db'}"


def open_study(name: str | None = None, storage: str | None = None, home: str | Path = HOME) -> StoredStudy:
    """The stored study of that name; without a name, the only one there is. Raises `NasError`."""
    home = Path(home)
    names = study_names(storage, home)
    if name is None and len(names) == 1:
        name = names[0]
    if name is None or name not in names:
        known = f"there: {', '.join(names)}" if names else "there is none yet: start one with nas run"
        asked = f"no study {name}" if name is not None else "which study?"
        raise NasError(f"{asked}; {known}")
    return StoredStudy(name, storage or default_storage(home), home)


def study_names(storage: str | None = None, home: Path = HOME) -> list[str]:
    """The names of the stored studies, oldest first. Raises `NasError` where there is no database."""
    with Ledger.open(storage or default_storage(home), create=False) as ledger:
        return [record.name for record in ledger.studies()]


class StoredStudy:
    """One study of a database, as it stands when it is first looked at."""

    def __init__(self, name: str, storage: str, home: Path = HOME):
        self.name, self.storage, self.home = name, storage, home

    @property
    def folder(self) -> Path:
        """Where the study's files are."""
        return self.home / self.name

    @cached_property
    def study(self) -> Study:
        """What the study is, as resolved."""
        return study_from_spec(self._read["spec"])

    @cached_property
    def info(self) -> DataInfo:
        """What its data is."""
        return describe(self.study.data)

    @cached_property
    def records(self) -> dict[int, TrialRecord]:
        """Its trials by number."""
        found: dict[int, TrialRecord] = self._read["trials"]
        return found

    @property
    def infeasible(self) -> dict[str, Refusals]:
        """The points that were refused, by the constraint that they broke."""
        found: dict[str, Refusals] = self._read["infeasible"]
        return found

    @property
    def seconds_spent(self) -> float:
        """Of search."""
        return float(self._read["seconds"])

    @property
    def running(self) -> bool:
        """Whether a living process runs it."""
        return bool(self._read["running"])

    @property
    def curves(self) -> dict[int, list[EpochRecord]]:
        """Its learning curves by trial number."""
        found: dict[int, list[EpochRecord]] = self._read["epochs"]
        return found

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of its images (C, H, W)."""
        return self.info.channels, self.info.resolution, self.info.resolution

    @cached_property
    def results(self) -> Results:
        """The study as the report draws it."""
        import pandas as pd

        from nas.report import EPOCH_COLUMNS, Results

        trials = pd.DataFrame([_row(record) for record in self.records.values()])
        axes = tuple(axis.name for axis in self.study.space.axes)
        curves = [(n, e.epoch, e.train_loss, e.loss, e.accuracy, e.seconds)
                  for n, curve in self.curves.items() for e in curve]
        epochs = pd.DataFrame(curves, columns=list(EPOCH_COLUMNS))
        devices = sorted({record.device for record in self.records.values() if record.device})
        return Results(
            self.name, self.study.spec(), yaml_text(self.study.spec()), list(self.study.objectives), trials, axes,
            epochs, {n: record.architecture for n, record in self.records.items()}, self.shape, self.info.classes,
            self.infeasible, self.seconds_spent, _data_line(self.info),
            f"{platform.node()}: {', '.join(devices) or 'nothing trained'}")

    def trials(self) -> pd.DataFrame:
        """One row a trial: number, state, accuracy in [0, 1], costs of one image, seconds, a column for each axis."""
        return self.results.trials.copy()

    def front(self) -> pd.DataFrame:
        """The COMPLETE trials that no other one dominates, from the cheapest up."""
        from nas.report import front

        return front(self.results)

    def figure(self) -> go.Figure:
        """The front of accuracy against cost, as a plotly figure."""
        from nas.report import front_figure

        return front_figure(self.results)

    def write_report(self, folder: str | Path | None = None) -> Path:
        """Write report.html and front.csv; the path of the report."""
        from nas.report import write_report

        return write_report(self.results, Path(folder) if folder is not None else self.folder)

    @cached_property
    def _read(self) -> Mapping[str, Any]:
        with Ledger.open(self.storage, create=False) as ledger:
            record = ledger.study(self.name)
            if record is None:
                there = ", ".join(one.name for one in ledger.studies())
                raise NasError(f"no study {self.name} in {ledger}; there: {there or 'none'}")
            holder = ledger.holder(self.name)
            return {
                "running": holder is not None and holder.alive,
                "spec": record.spec, "seconds": record.seconds_spent, "epochs": ledger.epochs(self.name),
                "trials": {trial.number: trial for trial in ledger.trials(self.name)},
                "infeasible": ledger.infeasible(self.name),
            }


def write_spec(folder: Path, study: Study) -> Path:
    """Write study.yaml, the study as resolved, which `nas run` takes again."""
    path = folder / "study.yaml"
    path.write_text(yaml_text(study.spec()), encoding="utf-8")
    return path


def yaml_text(values: Mapping[str, Any]) -> str:
    """`values` as YAML 1.2."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 110
    stream = io.StringIO()
    yaml.dump(dict(values), stream)
    return stream.getvalue()


def _row(trial: TrialRecord) -> dict[str, Any]:
    return {
        "number": trial.number, "state": str(trial.state), "reason": trial.reason, "reused": trial.reused,
        "accuracy": trial.accuracy, "spread": trial.spread, "seeds": trial.seeds, "loss": trial.loss,
        "macs": trial.macs, "params": trial.params,
        "activations": trial.activations, "latency_ms": trial.latency_ms, "epochs": trial.epochs,
        "seconds": trial.seconds, "created": trial.created, "finished": trial.finished,
        "architecture_id": trial.architecture_id, "architecture": trial.line, "device": trial.device,
        "checkpoint": trial.checkpoint, **trial.point,
    }


def _data_line(info: DataInfo) -> str:
    return (f"{info.name}: {info.n_train:,} training, {info.n_validation:,} validation, {info.n_test:,} test images, "
            f"{info.channels}x{info.resolution}x{info.resolution}, {info.n_classes} classes")


__all__ = ["HOME", "StoredStudy", "default_storage", "open_study", "study_names", "write_spec", "yaml_text"]
