"""Latencies that a search knows before it trains: predicted by the table that `nas measure --table` keeps."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import TypeAlias

from nas.errors import InvalidInput, Problem
from nas.latency.table import recorded_table, space_key
from nas.network import Network, architecture_of
from nas.nodes import Shape
from nas.plan import plan
from nas.search.workers import Workers
from nas.store.records import PREDICTED
from nas.study import Study

Predict: TypeAlias = Callable[[Network], float]


def predictor(study: Study, shape: Shape, classes: int, workers: Workers) -> Predict | None:
    """What gives a network's latency in milliseconds, for one image on what a worker has; None where the study does
    not ask for that. Raises `InvalidInput` where this machine has no table for it."""
    if study.search.latency == "measured" or all(one.name != "latency_ms" for one in study.objectives):
        return None
    device = "cuda" if workers.gpus else "cpu"
    table = recorded_table(space_key(study), shape, classes, device, 1, workers.threads)
    if table is None:
        images = f"{'x'.join(map(str, shape))} images, {device}, {workers.threads} thread{'s' * (workers.threads > 1)}"
        raise InvalidInput([Problem("", "search.latency", f"has no table on this machine for this space, {images}",
                                    f"make it: {_command(study, device, workers.threads)}", "table")])
    return lambda network: table.predict(plan(architecture_of(network), shape, classes))


def predicted(predict: Predict | None, network: Network) -> dict[str, float]:
    """What is kept of it with the trial's point, from where records take their latency; nothing without `predict`."""
    return {} if predict is None else {PREDICTED: predict(network)}


def _command(study: Study, device: str, threads: int) -> str:
    data = study.data
    words = ["nas", "measure", study.file, "--table", "--data", data.source]
    for name in ("resolution", "channels"):
        if (value := getattr(data, name)) is not None:
            words += ["--set", f"data.{name}={value}"]
    return shlex.join([*words, "--threads", str(threads), *(["--device", device] if device != "cpu" else [])])
