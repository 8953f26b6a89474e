"""The report's input as a plain value, and the questions that every part of the report asks of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from nas.architecture import Architecture
from nas.front import Objective, knee, non_dominated
from nas.nodes import Shape
from nas.store import Refusals

STATES = ("COMPLETE", "PRUNED", "FAILED", "OUT_OF_MEMORY", "RUNNING", "WAITING")
COLUMNS = (
    "number", "state", "reason", "reused", "accuracy", "spread", "seeds", "loss", "macs", "params", "activations",
    "latency_ms", "epochs", "seconds", "created", "finished", "architecture_id", "architecture", "device", "checkpoint",
)
EPOCH_COLUMNS = ("number", "epoch", "train_loss", "loss", "accuracy", "seconds")
COSTS = {"macs": "MACs", "params": "parameters", "activations": "activations", "latency_ms": "latency (ms)"}


@dataclass(frozen=True)
class Results:
    """One study, all of it.

    trials: one row a trial with COLUMNS (accuracy in [0, 1], costs of one image, `created` and `finished` times) and
    one column for each of `axes`, None or NaN where the axis is not active. epochs: one row an epoch of a trial with
    EPOCH_COLUMNS. accuracy is the mean over `seeds` trainings, spread their standard
    deviation. architectures: by trial number. infeasible: points refused by each constraint. Columns that lack are
    read as empty.
    """

    study: str
    spec: dict[str, Any]                    # as resolved
    yaml: str                               # the same as the user would write it
    objectives: list[Objective]
    trials: pd.DataFrame
    axes: tuple[str, ...]
    epochs: pd.DataFrame
    architectures: dict[int, Architecture]
    shape: Shape
    classes: tuple[str, ...]
    infeasible: dict[str, Refusals] = field(default_factory=dict)
    seconds_spent: float = 0.0
    data: str = ""                          # one line
    machine: str = ""                       # one line

    def __post_init__(self) -> None:
        trials = self.trials.reindex(columns=list(dict.fromkeys([*COLUMNS, *self.trials.columns, *self.axes])))
        epochs = self.epochs.reindex(columns=list(EPOCH_COLUMNS))
        numbers = ["accuracy", "spread", "seeds", "loss", *COSTS, "epochs", "seconds"]
        trials[numbers] = trials[numbers].apply(pd.to_numeric, errors="coerce").replace([np.inf, -np.inf], np.nan)
        epochs = epochs.apply(pd.to_numeric, errors="coerce").replace([np.inf, -np.inf], np.nan)
        object.__setattr__(self, "trials", trials.reset_index(drop=True))
        object.__setattr__(self, "epochs", epochs.reset_index(drop=True))

    @property
    def cost(self) -> str:
        """The column that stands for cost: the first objective to minimise, else MACs."""
        columns = [column(o) for o in self.objectives if o.direction == "min"]
        return next((name for name in columns if name in COSTS), "macs")

    @property
    def directions(self) -> list[str]:
        """Of the objectives."""
        return [objective.direction for objective in self.objectives]

    def in_state(self, *states: str) -> pd.DataFrame:
        """The trials in any of `states`."""
        return self.trials[self.trials["state"].isin(states)]

    def complete(self) -> pd.DataFrame:
        """The COMPLETE trials that have a value in every objective."""
        return self.in_state("COMPLETE").dropna(subset=[column(o) for o in self.objectives])


def column(objective: Objective) -> str:
    """The column of `trials` that holds an objective."""
    return "latency_ms" if objective.name == "latency" else objective.name


def values(results: Results, trials: pd.DataFrame) -> list[list[float]]:
    """The objectives of `trials`, one row a trial."""
    rows: list[list[float]] = trials[[column(o) for o in results.objectives]].to_numpy(dtype=float).tolist()
    return rows


def front(results: Results) -> pd.DataFrame:
    """The COMPLETE trials that no other one dominates, from the cheapest up; with one objective, the best trial."""
    complete = results.complete()
    chosen = complete.iloc[non_dominated(values(results, complete), results.directions)] if len(complete) else complete
    return chosen.sort_values([results.cost, "number"], kind="stable").reset_index(drop=True)


def knee_number(results: Results) -> int | None:
    """The number of the front's knee; None where the front has no bend to speak of: fewer than three networks."""
    chosen = front(results)
    if len(chosen) < 3 or len(results.objectives) < 2:
        return None
    return int(chosen["number"].iloc[knee(values(results, chosen), results.directions)])


def best(results: Results) -> pd.Series[Any] | None:
    """The COMPLETE trial of the highest accuracy, the cheapest of equals."""
    complete = results.in_state("COMPLETE").dropna(subset=["accuracy"])
    if complete.empty:
        return None
    return complete.sort_values(["accuracy", results.cost], ascending=[False, True], kind="stable").iloc[0]


def empty_text(results: Results) -> str:
    """What to say, and what to do, where no trial is complete."""
    if results.trials.empty:
        return "No trial yet. Start the search with: nas run SPACE.yaml"
    failed = results.in_state("FAILED", "OUT_OF_MEMORY")
    if len(failed) == len(results.trials):
        said = f"All {len(failed)} trials" if len(failed) > 1 else "The one trial"
        return f"{said} failed; nas status {results.study} says why."
    return "No trial is complete yet. The same nas run command goes on where it was."
