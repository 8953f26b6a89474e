"""A confirmation as one self-contained page, and all its figures as JSON beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from nas.confirm.results import Confirmed, Report
from nas.confirm.words import accuracy, cells, points, sentences
from nas.report.page import assembled, replace_file
from nas.report.results import COSTS
from nas.report.style import BLUE, GREY, VERMILION, as_data, figure, safe

_ROLES = {"front": ("on the search's front", BLUE, "circle"), "near": ("near it", VERMILION, "diamond"),
          "control": ("random, of equal cost", GREY, "square")}


def write_confirmation(report: Report, folder: Path) -> Path:
    """Write `confirm.html` and `confirm.json` into `folder`; the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / "confirm.json", json.dumps(report.to_dict(), indent=2) + "\n")
    page = folder / "confirm.html"
    replace_file(page, assembled("confirm", ("plots.js", "confirm.js"), report.study, _payload(report)))
    return page


def _payload(report: Report) -> dict[str, Any]:
    said, tested = sentences(report), bool(report.images[1])
    heads = ["network", "in the search", "validation", *(["test"] if tested else []), "on the front", "MACs", "params",
             "architecture"]
    return {
        "facts": [f"confirmed as {report.name}", f"{report.seeds} seeds of {report.epochs[1]} epochs",
                  f"{report.images[0]:,} validation and {report.images[1]:,} test images"],
        "tiles": _tiles(report),
        "unfinished": list(report.unfinished),
        "words": list(said.values()),
        "heads": heads,
        "rows": [[*cells(one, tested), one.trial.line] for one in report.networks],
        "figures": [
            {"title": "Before and after", "hint": "Hollow: in the search. Filled: trained again, mean over seeds with "
             "its 95 % interval. The dashed line is the front as the search left it, the solid one as it is now.",
             "figure": as_data(fronts_figure(report))},
            {"title": "Does the search rank as full training does?", "hint": "Each network of the search; on a rising "
             "line the search's order is the right one.", "figure": as_data(ranks_figure(report))}],
    }


def _tiles(report: Report) -> list[dict[str, str]]:
    best = report.networks[0] if report.networks else None
    found = [{"label": "networks", "value": str(len(report.networks)), "below": f"{report.seeds} seeds each"}]
    if best is not None:
        shown = best.of_test or best.of_validation
        found.append({"label": "the most accurate", "value": accuracy(shown).split(" ")[0],
                      "below": f"{best.name}, {'test' if best.of_test else 'validation'} part"})
    if report.correlation is not None:
        found.append({"label": "rank correlation", "value": f"{report.correlation.estimate:.2f}",
                      "below": f"{report.correlation.low:.2f} to {report.correlation.high:.2f}"})
    if report.gain is not None:
        value, _, interval = points(report.gain).partition(" points")
        found.append({"label": "gain over random", "value": value, "below": f"points {interval.strip()}"})
    if report.before:
        stay = sum(name in report.after for name in report.before)
        found.append({"label": "front", "value": f"{stay} of {len(report.before)}", "below": "are still on it"})
    return found


def fronts_figure(report: Report) -> go.Figure:
    """Accuracy against the first cost, in the search and now, with both fronts."""
    cost = report.costs[0] if report.costs else "macs"
    made = figure(440, xaxis={"title": {"text": COSTS[cost]}, "type": "log"},
                  yaxis={"title": {"text": "accuracy, validation part"}})
    searched = [one for one in report.networks if one.why.accuracy is not None]
    was = {one.name: float(one.why.accuracy or 0) for one in searched}
    _line(made, [one for one in searched if one.name in report.before], cost, was, "front, search", "dash")
    now = {one.name: one.of_validation.estimate for one in report.networks}
    _line(made, [one for one in report.networks if one.name in report.after], cost, now, "front, now", "solid")
    made.add_scatter(x=[_cost(one, cost) for one in searched], y=list(was.values()), mode="markers",
                     name="in the search",
                     marker={"size": 8, "color": "rgba(0,0,0,0)", "line": {"color": BLUE, "width": 1.5}},
                     text=[safe(one.name) for one in searched], hovertemplate="%{text} in the search: %{y:.4f}")
    for role, (name, colour, symbol) in _ROLES.items():
        _points(made, [one for one in report.networks if one.why.role == role], cost, name, colour, symbol)
    made.update_layout(showlegend=True)
    return made


def ranks_figure(report: Report) -> go.Figure:
    """Accuracy in the search against accuracy now."""
    made = figure(440, xaxis={"title": {"text": f"accuracy in the search, {report.epochs[0]} epochs"}},
                  yaxis={"title": {"text": f"accuracy now, {report.epochs[1]} epochs"}})
    for role in ("front", "near"):
        name, colour, symbol = _ROLES[role]
        those = [one for one in report.networks if one.why.role == role and one.why.accuracy is not None]
        made.add_scatter(x=[one.why.accuracy for one in those], y=[one.of_validation.estimate for one in those],
                         mode="markers", name=name, error_y=_bars(those), text=[safe(one.name) for one in those],
                         marker={"size": 9, "color": colour, "symbol": symbol},
                         hovertemplate="%{text}: %{x:.4f}, now %{y:.4f}")
    made.update_layout(showlegend=True)
    return made


def _line(made: go.Figure, those: Sequence[Confirmed], cost: str, of: dict[str, float], name: str, dash: str) -> None:
    ordered = sorted(those, key=lambda one: _cost(one, cost))
    made.add_scatter(x=[_cost(one, cost) for one in ordered], y=[of[one.name] for one in ordered], mode="lines",
                     name=name, line={"color": BLUE, "width": 1.5, "dash": dash, "shape": "hv"}, hoverinfo="skip")


def _points(made: go.Figure, those: Sequence[Confirmed], cost: str, name: str, colour: str, symbol: str) -> None:
    if those:
        made.add_scatter(
            x=[_cost(one, cost) for one in those], y=[one.of_validation.estimate for one in those], mode="markers",
            name=name, error_y=_bars(those), marker={"size": 9, "color": colour, "symbol": symbol},
            text=[safe(f"{one.name}: {one.trial.line}") for one in those], hovertemplate="%{text}<br>%{y:.4f}")


def _bars(those: Sequence[Confirmed]) -> dict[str, Any]:
    halves = [(one.of_validation.high or one.of_validation.estimate) - one.of_validation.estimate for one in those]
    return {"type": "data", "array": halves, "thickness": 1, "width": 3}


def _cost(one: Confirmed, cost: str) -> float:
    return float(getattr(one.trial, cost) or 0)
