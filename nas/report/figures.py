"""The figures of a study: the front, the learning curves, the hypervolume. Lean: they thin out what nobody can see."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from nas.front import hypervolume, non_dominated
from nas.report.results import COSTS, Results, column, empty_text, front, knee_number, values
from nas.report.style import BLUE, GREEN, GREY, VERMILION, figure, note, safe, thinned, wrapped
from nas.units import human_count

MOST_POINTS = 5_000         # of trials that are not on the front
MOST_CURVES = 150


def front_figure(results: Results) -> go.Figure:
    """Accuracy against cost (log): the front as steps, its knee, the other complete trials, the pruned ones dimmer.

    A point's customdata is its trial's number. The steps join the front's networks that no other one dominates in
    accuracy and cost alone, which with two objectives is all of them.
    """
    cost = results.cost
    made = figure(460, xaxis={"type": "log", "title": {"text": COSTS[cost]}},
                  yaxis={"title": {"text": "validation accuracy"}, "tickformat": ".3~f"})
    drawable = results.trials.dropna(subset=[cost, "accuracy"])
    drawable = drawable[drawable[cost] > 0]
    if drawable.empty:
        return note(made, empty_text(results))
    made.update_xaxes(**_log_ticks(float(drawable[cost].min()), float(drawable[cost].max())))
    chosen = front(results)
    on_front = drawable["number"].isin(chosen["number"])
    rest = drawable[~on_front & (drawable["state"] == "COMPLETE")]
    pruned = drawable[drawable["state"] == "PRUNED"]
    _points(made, pruned, cost, "pruned", {"symbol": "x-thin", "size": 6, "opacity": 0.45,
                                           "line": {"width": 1.2, "color": GREY}})
    _points(made, rest, cost, "complete", {"color": GREY, "size": 7 if len(rest) < 1_000 else 4.5, "opacity": 0.75})
    _steps(made, chosen, cost)
    _points(made, drawable[on_front].sort_values(cost), cost, _front_name(results),
            {"color": BLUE, "size": 10, "line": {"width": 1, "color": "white"}})
    _knee(made, drawable[drawable["number"] == knee_number(results)], cost)
    made.update_layout(showlegend=True)
    return made


def _log_ticks(low: float, high: float) -> dict[str, object]:
    """Ticks at 1, 2 and 5 times the powers of ten, or at those alone over many of them, with whole labels."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(powers) <= 5 else (1,)
    ticks = [step * 10.0 ** power for power in powers for step in steps]
    return {"tickvals": ticks, "ticktext": [human_count(tick) if tick >= 1 else f"{tick:g}" for tick in ticks]}


def _front_name(results: Results) -> str:
    return "best" if len(results.objectives) < 2 else "front"


def _points(made: go.Figure, trials: pd.DataFrame, cost: str, name: str, marker: dict[str, object]) -> None:
    if trials.empty:
        return
    shown = trials.iloc[thinned(len(trials), MOST_POINTS)]
    label = name if len(shown) == len(trials) else f"{name} ({len(shown):,} of {len(trials):,} drawn)"
    bars = {"array": _digits(shown["spread"].fillna(0)), "thickness": 1, "width": 3} if shown["spread"].notna().any() \
        else None
    made.add_scatter(
        x=_digits(shown[cost]), y=_digits(shown["accuracy"]), mode="markers", name=label, marker=marker,
        error_y=bars,
        customdata=shown["number"].astype(int).tolist(), text=[_hover(row) for row in shown.to_dict("records")],
        hovertemplate="%{text}<extra></extra>")


def _hover(trial: Mapping[Hashable, Any]) -> str:
    """Number, accuracy, costs, epochs and the architecture of a trial, as Plotly's markup."""
    facts = [f"accuracy {trial['accuracy']:.4f}"]
    if _known(trial["spread"]):
        facts[0] += f" ± {trial['spread']:.4f} over {trial['seeds']:.0f} seeds"
    facts += [f"{human_count(trial[name])} {word}" for name, word in
              (("macs", "MACs"), ("params", "params")) if _known(trial[name])]
    if _known(trial["epochs"]):
        facts.append(f"{trial['epochs']:.0f} epochs")
    state = "" if trial["state"] == "COMPLETE" else f", {safe(trial['state']).lower()}"
    reused = ", reused" if trial["reused"] is True else ""
    line = wrapped(str(trial["architecture"]), 46) if _known(trial["architecture"]) else ""
    return f"<b>trial {safe(trial['number'])}</b>{state}{reused}<br>{', '.join(facts)}<br>{line}"


def _known(value: object) -> bool:
    return value is not None and value == value


def _digits(numbers: pd.Series[float]) -> list[float]:
    return [float(f"{number:.5g}") for number in numbers]


def _steps(made: go.Figure, chosen: pd.DataFrame, cost: str) -> None:
    if len(chosen) < 2:
        return
    rows = chosen.dropna(subset=[cost, "accuracy"])
    kept = rows.iloc[non_dominated(rows[[cost, "accuracy"]].to_numpy(dtype=float).tolist(), ["min", "max"])]
    kept = kept.sort_values(cost)
    made.add_scatter(x=_digits(kept[cost]), y=_digits(kept["accuracy"]), mode="lines", hoverinfo="skip",
                     line={"shape": "hv", "color": BLUE, "width": 2}, showlegend=False)


def _knee(made: go.Figure, trial: pd.DataFrame, cost: str) -> None:
    if trial.empty:
        return
    made.add_scatter(
        x=_digits(trial[cost]), y=_digits(trial["accuracy"]), mode="markers", hoverinfo="skip", name="knee",
        marker={"symbol": "diamond-open", "size": 17, "color": VERMILION, "line": {"width": 2.5}})


def curves_figure(results: Results) -> go.Figure:
    """Validation accuracy by epoch: the front's networks coloured by cost, some of the others in grey behind them."""
    made = figure(400, xaxis={"title": {"text": "epoch"}},
                  yaxis={"title": {"text": "validation accuracy"}, "tickformat": ".3~f"})
    epochs = results.epochs.dropna(subset=["number", "epoch", "accuracy"]).sort_values(["number", "epoch"])
    if epochs.empty:
        return note(made, "No epoch is recorded yet.")
    chosen = front(results).set_index("number")
    _other_curves(made, epochs[~epochs["number"].isin(chosen.index)])
    costs: dict[int, float] = dict(zip(chosen.index.tolist(), chosen[results.cost].tolist(), strict=True))
    shades = _shades(costs)
    for number in chosen.index.tolist():
        curve = epochs[epochs["number"] == number]
        if curve.empty:
            continue
        made.add_scatter(
            x=curve["epoch"].astype(int).tolist(), y=_digits(curve["accuracy"]), mode="lines+markers",
            name=f"trial {number}, {_cost_text(results.cost, costs[number])}",
            line={"color": shades[number], "width": 2}, marker={"size": 4}, customdata=[number] * len(curve),
            hovertemplate="%{fullData.name}<br>epoch %{x}: %{y:.4f}<extra></extra>")
    return made


def _other_curves(made: go.Figure, epochs: pd.DataFrame) -> None:
    """One trace for all, with gaps: a trace a trial would make the page slow."""
    numbers = epochs["number"].unique()
    if not len(numbers):
        return
    kept = epochs[epochs["number"].isin(numbers[thinned(len(numbers), MOST_CURVES)])]
    x: list[int | None] = []
    y: list[float | None] = []
    for _, curve in kept.groupby("number"):
        x += [*curve["epoch"].astype(int).tolist(), None]
        y += [*_digits(curve["accuracy"]), None]
    made.add_scatter(x=x, y=y, mode="lines", hoverinfo="skip", name="others", opacity=0.45,
                     line={"color": GREY, "width": 1})


def _shades(costs: dict[int, float]) -> dict[int, str]:
    """A colour for each trial by its cost, from green over blue to vermilion: distinct to the colour-blind."""
    from plotly.colors import sample_colorscale

    logs = {number: math.log(cost if cost > 0 else 1e-12) for number, cost in costs.items()}
    low, high = min(logs.values(), default=0.0), max(logs.values(), default=0.0)
    scale = [[0.0, GREEN], [0.5, BLUE], [1.0, VERMILION]]
    return {number: sample_colorscale(scale, [(value - low) / ((high - low) or 1)])[0]
            for number, value in logs.items()}


def _cost_text(cost: str, value: float) -> str:
    return f"{value:.3g} ms" if cost == "latency_ms" else f"{human_count(value)} {COSTS[cost]}"


def hypervolume_figure(results: Results) -> go.Figure:
    """How much of the attainable was attained, trial by trial; with one objective, the best value so far."""
    single = len(results.objectives) < 2
    title = f"best {results.objectives[0].name}" if single and results.objectives else "hypervolume"
    made = figure(320, xaxis={"title": {"text": "complete trials"}},
                  yaxis={"title": {"text": safe(title)}, "rangemode": "normal" if single else "tozero"})
    series = _running_best(results) if single else running_hypervolume(results)
    if not series:
        return note(made, empty_text(results))
    kept = thinned(len(series), 2_000)
    made.add_scatter(x=[i + 1 for i in kept], y=[float(f"{series[i]:.6g}") for i in kept],
                     mode="lines" if len(kept) > 1 else "markers", line={"color": BLUE, "width": 2, "shape": "hv"},
                     hovertemplate="after %{x} trials: %{y:.4f}<extra></extra>")
    return made


def _running_best(results: Results) -> list[float]:
    complete = results.complete().sort_values("number")
    if complete.empty or not results.objectives:
        return []
    series = complete[column(results.objectives[0])]
    running: list[float] = (series.cummax() if results.directions[0] == "max" else series.cummin()).tolist()
    return running


def running_hypervolume(results: Results) -> list[float]:
    """After each complete trial, by number: the dominated share of the box between its best and its worst corner.

    Costs count by their logarithm. The box goes from a little beyond the largest cost of this study to its smallest,
    and for accuracy from chance (1 / classes) to 1: shares are comparable within one study only.
    """
    complete = results.complete().sort_values("number")
    if complete.empty:
        return []
    points, worst, ideal = _scaled(results, complete)
    box = math.prod(abs(a - b) for a, b in zip(worst, ideal, strict=True))
    shares: list[float] = []
    kept: list[list[float]] = []
    for point in points:
        trial = [*kept, point]
        chosen = [trial[i] for i in non_dominated(trial, results.directions)]
        if not shares or point in chosen:
            shares.append(hypervolume(chosen, results.directions, worst) / box if box else 0.0)
        else:
            shares.append(shares[-1])
        kept = chosen
    return shares


def _scaled(results: Results, complete: pd.DataFrame) -> tuple[list[list[float]], list[float], list[float]]:
    """The objectives with logarithms of costs, the worst corner and the best corner of their box."""
    points = np.array(values(results, complete))
    worst, ideal = [], []
    for index, objective in enumerate(results.objectives):
        if objective.name == "accuracy":
            worst.append(1 / max(1, len(results.classes)) if len(results.classes) > 1 else 0.0)
            ideal.append(1.0)
            continue
        if column(objective) in COSTS:
            points[:, index] = np.log10(np.maximum(points[:, index], 1e-12))
        low, high = float(points[:, index].min()), float(points[:, index].max())
        room = 0.05 * (high - low) or 1.0           # so that the worst point of all counts too
        worst.append(high + room if objective.direction == "min" else low - room)
        ideal.append(low if objective.direction == "min" else high)
    return points.tolist(), worst, ideal
