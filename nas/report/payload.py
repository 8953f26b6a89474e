"""All that the page shows, as plain data for JSON: the one thing that Python hands to the page's JavaScript.

Trials and epochs go by column. Diagrams are many and alike: they are packed in compressed bundles, and the page
opens a bundle when someone looks at one of its networks.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
import re
from typing import Any

import numpy as np
import pandas as pd

from nas.diagram import svg
from nas.errors import NasError
from nas.report.effects import effects_figure, importance, importance_figure, residuals, varied_axes
from nas.report.figures import curves_figure, front_figure, hypervolume_figure
from nas.report.results import (
    COLUMNS,
    COSTS,
    EPOCH_COLUMNS,
    STATES,
    Results,
    best,
    column,
    empty_text,
    front,
    knee_number,
)
from nas.report.style import as_data
from nas.report.tables import missing
from nas.units import human_seconds

BUNDLE = 128                # diagrams that are opened together
_ELEMENTS = re.compile("(?<=>)(?=<)")


def payload(results: Results) -> dict[str, Any]:
    """The page's data. Nothing in it is markup except the diagrams, which escape their texts themselves."""
    table = importance(results)
    axes = varied_axes(results, residuals(results)) if len(results.complete()) >= 3 else []
    chosen = front(results)
    return {
        "study": results.study,
        "data": results.data,
        "machine": results.machine,
        "yaml": results.yaml,
        "objectives": [{"name": o.name, "direction": o.direction, "column": column(o)} for o in results.objectives],
        "cost": {"column": results.cost, "name": COSTS[results.cost]},
        "axes": list(results.axes),
        "tiles": _tiles(results, chosen),
        "states": {state: int((results.trials["state"] == state).sum()) for state in STATES},
        "infeasible": [{"name": name, "count": found.count, "extent": found.extent} for name, found in
                       sorted(results.infeasible.items(), key=lambda item: -item[1].count)],
        "trials": _columns(results.trials, [*dict.fromkeys([*COLUMNS, *results.axes])]),
        "epochs": _columns(results.epochs, list(EPOCH_COLUMNS)),
        "front": chosen["number"].astype(int).tolist(),
        "knee": knee_number(results),
        "failures": _reasons(results, "FAILED", "OUT_OF_MEMORY"),
        "prunings": _reasons(results, "PRUNED"),
        "empty": empty_text(results) if chosen.empty else "",
        "importance": {"note": table.attrs["note"], "rows": _rows(table)},
        "figures": _figures(results, table, axes),
        "diagrams": _diagrams(results),
    }


def _tiles(results: Results, chosen: pd.DataFrame) -> list[dict[str, Any]]:
    """The headline: label, value and a line below it."""
    top = best(results)
    tiles: list[dict[str, Any]] = [{"label": "best accuracy", "value": "–", "below": "no complete trial yet"}]
    if top is not None:
        cost = top[results.cost]
        tiles = [{"label": "best accuracy", "value": f"{top['accuracy']:.4f}", "below": f"trial {top['number']}",
                  "trial": int(top["number"]), "cost": _plain(cost)}]
    span = chosen[results.cost].dropna()
    spread = f"{span.max() / span.min():.1f} × in {COSTS[results.cost]}" if len(span) > 1 and span.min() > 0 else ""
    tiles.append({"label": "networks on the front", "value": str(len(chosen)), "below": spread})
    refused = sum(found.count for found in results.infeasible.values())
    tiles.append({"label": "trials", "value": f"{len(results.trials):,}",
                  "below": f"{int((results.trials['reused'] == True).sum()):,} reused"})     # noqa: E712
    tiles.append({"label": "infeasible points", "value": f"{refused:,}", "below": "refused before training"})
    tiles.append({"label": "time spent", "value": human_seconds(results.seconds_spent), "below": ""})
    return tiles


def _reasons(results: Results, *states: str) -> list[dict[str, Any]]:
    """How often each reason was given, the most frequent first, with the first trials it hit."""
    trials = results.in_state(*states)
    reasons = trials["reason"].map(lambda reason: "no reason recorded" if missing(reason) else str(reason))
    grouped = trials["number"].groupby([trials["state"], reasons], sort=False)
    found = [{"state": state, "reason": reason, "count": len(numbers), "trials": numbers.astype(int).tolist()[:20]}
             for (state, reason), numbers in grouped]
    return sorted(found, key=lambda row: -int(str(row["count"])))[:200]


def _figures(results: Results, table: pd.DataFrame, axes: list[str]) -> dict[str, Any]:
    drawn = {
        "front": front_figure(results),
        "curves": curves_figure(results),
        "hypervolume": hypervolume_figure(results),
        "importance": importance_figure(table),
    }
    figures: dict[str, Any] = {name: as_data(made) for name, made in drawn.items()}
    figures["effects"] = [{"axis": axis, **as_data(effects_figure(results, [axis]))} for axis in _ordered(axes, table)]
    return figures


def _ordered(axes: list[str], table: pd.DataFrame) -> list[str]:
    """The most important axes first."""
    ranks = {axis: i for i, axis in enumerate(table["axis"])}
    return sorted(axes, key=lambda axis: ranks.get(axis, len(ranks)))


def _diagrams(results: Results) -> dict[str, Any]:
    """One drawing for each distinct network, which trial has which, and why one has none."""
    places: dict[str, int] = {}
    drawn: list[str] = []
    lacking: dict[str, str] = {}
    for architecture in results.architectures.values():
        name = architecture.id
        if name in places or name in lacking:
            continue
        try:
            drawn.append(svg(architecture, results.shape, len(results.classes)))
            places[name] = len(drawn) - 1
        except NasError as error:       # a user's block that was changed, or is gone
            lacking[name] = str(error)
    ids = {int(number): architecture.id for number, architecture in results.architectures.items()}
    bundles = [_packed(drawn[i : i + BUNDLE]) for i in range(0, len(drawn), BUNDLE)]
    return {"bundle": BUNDLE, "bundles": bundles,
            "trials": {number: places[name] for number, name in ids.items() if name in places},
            "lacking": {number: lacking[name] for number, name in ids.items() if name in lacking}}


def _packed(drawn: list[str]) -> str:
    """Drawings as a list of their distinct elements, and the places in it that each is put together from."""
    places: dict[str, int] = {}
    made = [[places.setdefault(mark, len(places)) for mark in _ELEMENTS.split(drawing)] for drawing in drawn]
    plain = json.dumps({"marks": list(places), "drawings": made}, separators=(",", ":"))
    return base64.b64encode(gzip.compress(plain.encode(), 6, mtime=0)).decode()


def _columns(frame: pd.DataFrame, names: list[str]) -> dict[str, list[Any]]:
    """By column; one that is empty all the way is left out."""
    plain = {name: [_plain(value) for value in frame[name].tolist()] for name in names}
    return {name: cells for name, cells in plain.items() if any(cell is not None for cell in cells)}


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): _plain(value) for name, value in row.items()} for row in table.to_dict("records")]


def _plain(value: Any) -> Any:
    """What JSON can hold: numbers to six digits, times and everything else as text."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if missing(value):
        return None
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        number = float(value)
        if not math.isfinite(number):
            return None
        return int(number) if number.is_integer() and abs(number) < 2**53 else float(f"{number:.6g}")
    return str(value)
