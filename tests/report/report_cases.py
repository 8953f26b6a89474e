"""Made-up studies for the report's tests: a space with a known effect, any number of trials, every state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from nas.architecture import Architecture, Stage
from nas.cost import cost
from nas.front import Objective
from nas.plan import plan
from nas.report import COLUMNS, EPOCH_COLUMNS, Results
from nas.store import Refusals

BOTH = [Objective("accuracy", "max"), Objective("macs", "min")]
SHAPE = (3, 32, 32)
AXES = ("stage1.depth", "stage2.depth", "stage3.depth", "width.first", "block", "cardinality", "residual_scaling",
        "gate", "se_ratio")
YAML = "name: made_up\nnetwork:\n  stages: 3\n  cardinality: [1, 2, 4]\nobjectives: {accuracy: max, macs: min}\n"


def made_up(count: int = 40, *, seed: int = 0, length: int = 8, **changes: Any) -> Results:
    """A study of `count` random networks; squeeze-excitation helps, and nothing else but size does."""
    rng = np.random.default_rng(seed)
    rows, curves, architectures = [], [], {}
    for number in range(count):
        knobs, architecture = _network(rng)
        architectures[number] = architecture
        row, curve = _trial(number, knobs, architecture, length, rng)
        rows.append(row)
        curves += curve
    values: dict[str, Any] = {
        "study": "made_up", "spec": {"name": "made_up"}, "yaml": YAML, "objectives": BOTH,
        "trials": pd.DataFrame(rows, columns=[*COLUMNS, *AXES]), "axes": AXES,
        "epochs": pd.DataFrame(curves, columns=list(EPOCH_COLUMNS)), "architectures": architectures, "shape": SHAPE,
        "classes": tuple("0123456789"), "infeasible": {"macs": Refusals(112, 0.004, 8.5), "cardinality": Refusals(7)},
        "seconds_spent": 4123.0, "data": "cifar10 at 32×32, 40,000 training and 10,000 validation images",
        "machine": "2 × cpu, bfloat16, channels_last",
    }
    return Results(**{**values, **changes})


def _network(rng: np.random.Generator) -> tuple[dict[str, Any], Architecture]:
    bottleneck = bool(rng.random() < 0.6)
    gate = str(rng.choice(["none", "highway"]))
    knobs = {
        **{f"stage{i}.depth": int(rng.integers(1, 5)) for i in (1, 2, 3)},
        "width.first": int(rng.choice([16, 32, 64])),
        "block": "bottleneck" if bottleneck else "basic",
        "cardinality": int(rng.choice([1, 2, 4])) if bottleneck else None,
        "residual_scaling": float(np.round(np.exp(rng.uniform(np.log(0.1), 0)), 3)) if gate == "none" else None,
        "gate": gate, "se_ratio": float(rng.choice([0, 1 / 16, 1 / 4])),
    }
    stages = tuple(Stage(
        depth=knobs[f"stage{i}.depth"], width=knobs["width.first"] * 2 ** (i - 1), block=knobs["block"],
        cardinality=knobs["cardinality"] or 1, shortcut_depth=3 if bottleneck else 2,
        residual_scaling=knobs["residual_scaling"] or 1.0, gate=gate, se_ratio=knobs["se_ratio"]) for i in (1, 2, 3))
    return knobs, Architecture(stages)


def _trial(
    number: int, knobs: dict[str, Any], architecture: Architecture, length: int, rng: np.random.Generator,
) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    costs = cost(plan(architecture, SHAPE, 10))
    state = str(rng.choice(["COMPLETE", "PRUNED", "FAILED", "OUT_OF_MEMORY"], p=[0.6, 0.3, 0.07, 0.03]))
    reached = length if state == "COMPLETE" else int(rng.integers(0, length // 2 + 1)) if state == "PRUNED" else 1
    top = 0.35 + 0.055 * np.log(costs.macs / 1e6) + 0.05 * (knobs["se_ratio"] > 0) + rng.normal(0, 0.008)
    curve = [(number, e, 2.3 - 1.6 * e / length, 2.3 - 1.4 * e / length, top * (1 - 0.55 * np.exp(-0.5 * e)), 3.1)
             for e in range(1, reached + 1)]
    reasons = {"PRUNED": f"below its like at epoch {reached}", "FAILED": "loss became NaN in epoch 1",
               "OUT_OF_MEMORY": "needs 9.1 GB, 8 GB are free"}
    row = {
        "number": number, "state": state, "reason": reasons.get(state), "reused": bool(number % 13 == 5),
        "accuracy": curve[-1][4] if curve and state in {"COMPLETE", "PRUNED"} else None,
        "loss": curve[-1][3] if curve else None, "macs": costs.macs, "params": costs.params,
        "activations": costs.activations, "latency_ms": costs.macs / 4e6 if state == "COMPLETE" else None,
        "epochs": reached, "seconds": 3.1 * reached,
        "created": pd.Timestamp("2026-11-24") + pd.Timedelta(number, "min"),
        "finished": pd.Timestamp("2026-11-24 01:00") + pd.Timedelta(number, "min"), "architecture_id": architecture.id,
        "architecture": architecture.line(), "device": "cpu",
        "checkpoint": f"checkpoints/{number}" if state == "COMPLETE" else None, **knobs,
    }
    return row, curve
