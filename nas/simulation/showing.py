"""A simulation for people: a table for the terminal, a page with two plots, and all figures as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from rich.console import Console
from rich.table import Table as Grid

from nas.report.page import assembled, replace_file
from nas.report.style import BLUE, GREEN, GREY, VERMILION, as_data, figure
from nas.simulation.many import SHARES, Simulation, whole_front
from nas.units import human_count, human_seconds, many

_COLOURS = (BLUE, VERMILION, GREEN, "#b8629a", "#c9a227", GREY)
_POINTS = 120       # along time


def facts(simulation: Simulation) -> list[str]:
    """What was simulated, in a few phrases."""
    setup, table = simulation.setup, simulation.setup.table
    accuracy, cost = setup.reference
    front = whole_front(table, setup.study.objectives)
    gaps = "" if table.complete else ", with gaps"
    found = [
        f"{many(len(table.rows), 'network')}, {many(len(table.axes), 'axis')}{gaps}, {len(front)} on the front",
        f"{setup.seeds} {'search' if setup.seeds == 1 else 'searches'} each, {many(setup.workers, 'worker')}, "
        f"{many(setup.study.budget.trials or 0, 'trial')}",
        f"hypervolume from accuracy {accuracy:.4g} and {human_count(cost)} {setup.cost}, in log {setup.cost}",
    ]
    if table.left_out:
        found.append(f"{table.left_out} networks that were not trained to the end are left out")
    if simulation.curves_made_up:
        found.append(f"the table has no learning curves: made up, rank correlation {setup.early_rank:g} at epoch 3")
    return found


def print_simulation(simulation: Simulation, out: Console) -> None:
    """Two tables: share of the hypervolume by networks tried, and what it takes to reach shares."""
    marks = _shown_marks(simulation)
    title = "hypervolume by networks tried: median, quartiles"
    grid = Grid(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
    grid.add_column("sampler", no_wrap=True)
    for mark in marks:
        grid.add_column(f"{mark:,}", justify="right", no_wrap=True)
    for row in simulation.figures():
        spreads = [row["hypervolume"][str(mark)] for mark in marks]
        grid.add_row(_label(simulation, row), *(
            f"{s['median']:.3f} {_short(s['low'])}-{_short(s['high'])}" for s in spreads))
    out.print(grid)
    out.print()
    head, rows = _table(simulation)
    title = "what it takes: networks and time to a share of the hypervolume, medians"
    grid = Grid(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
    for index, name in enumerate(head):
        grid.add_column(name, justify="right" if index else "left", no_wrap=True)
    for cells in rows:
        grid.add_row(*cells)
    out.print(grid)


def write_simulation(simulation: Simulation, folder: Path) -> Path:
    """Write `simulation.html` and `simulation.json` into `folder`; the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / "simulation.json", json.dumps(to_dict(simulation), indent=2) + "\n")
    head, rows = _table(simulation)
    accuracy, cost = simulation.setup.reference
    data = {
        "facts": facts(simulation),
        "volume": (f"The share of the whole table's hypervolume, from accuracy {accuracy:.4g} and {human_count(cost)} "
                   f"{simulation.setup.cost}. Median of the searches; the band is the middle half."),
        "time": f"Simulated time, in {_unit(simulation)}, of {simulation.setup.workers} workers at once.",
        "figures": {"trials": as_data(_trials_figure(simulation)), "time": as_data(_time_figure(simulation))},
        "table": {"head": head, "rows": rows},
    }
    page = folder / "simulation.html"
    replace_file(page, assembled("simulation", ("plots.js", "simulation.js"), simulation.setup.table.name, data))
    return page


def to_dict(simulation: Simulation) -> dict[str, Any]:
    """All figures, for --json."""
    setup = simulation.setup
    return {
        "table": setup.table.name, "networks": len(setup.table.rows), "axes": [axis.name for axis in setup.table.axes],
        "workers": setup.workers, "seeds": setup.seeds, "trials": setup.study.budget.trials,
        "reference": {"accuracy": setup.reference[0], setup.cost: setup.reference[1]},
        "time_unit": _unit(simulation), "curves_made_up": simulation.curves_made_up, "figures": simulation.figures(),
    }


def _short(share: float) -> str:
    return f"{share:.2f}".removeprefix("0")


def _unit(simulation: Simulation) -> str:
    return "seconds" if simulation.in_seconds else "trainings of the mean network"


def _label(simulation: Simulation, row: dict[str, Any]) -> str:
    many = len(simulation.setup.stoppings) > 1
    return f"{row['sampler']}, {row['early_stopping']}" if many else str(row["sampler"])


def _shown_marks(simulation: Simulation) -> list[int]:
    marks = simulation.marks()
    wanted = 4      # that fit a line of 80 characters
    return marks if len(marks) <= wanted else [marks[round(i * (len(marks) - 1) / (wanted - 1))] for i in range(wanted)]


def _table(simulation: Simulation) -> tuple[list[str], list[list[str]]]:
    head = ["sampler", *(f"to {share:.0%}" for share in SHARES), "time", "work", "to the end"]
    rows = []
    for row in simulation.figures():
        reached = [row["reached"][f"{share:.0%}"] for share in SHARES]
        ended = row["states"]["COMPLETE"] / max(1, sum(row["states"].values()))
        rows.append([
            _label(simulation, row),
            *("never" if one["trials"] is None else f"{one['trials']:,}, {_time(simulation, one['time'])}"
              for one in reached),
            _time(simulation, row["time"]), _time(simulation, row["work"]), f"{ended:.0%}"])
    return head, rows


def _time(simulation: Simulation, value: float) -> str:
    return human_seconds(value) if simulation.in_seconds else f"{value:.3g}"


def _trials_figure(simulation: Simulation) -> go.Figure:
    made = _figure("networks tried")
    marks = list(range(1, simulation.marks()[-1] + 1))
    step = max(1, len(marks) // 300)
    places = sorted({*marks[::step], marks[-1]})
    _bands(made, simulation, places, lambda trace, place: trace.at_trial(int(place)))
    return made


def _time_figure(simulation: Simulation) -> go.Figure:
    made = _figure(_unit(simulation))
    end = max(trace.end for trace in simulation.traces)
    places = [end * index / _POINTS for index in range(_POINTS + 1)]
    _bands(made, simulation, places, lambda trace, place: trace.at_time(place))
    return made


def _figure(title: str) -> go.Figure:
    made = figure(440, xaxis={"title": {"text": title}, "rangemode": "tozero"},
                  yaxis={"title": {"text": "share of the hypervolume"}, "range": [0, 1.02]})
    made.update_layout(showlegend=True)
    return made


def _bands(made: go.Figure, simulation: Simulation, places: list[Any], at: Any) -> None:
    import numpy as np

    for index, (sampler, stopping) in enumerate(simulation.groups):
        colour = _COLOURS[index % len(_COLOURS)]
        values = np.array([[at(trace, place) for place in places] for trace in simulation.group(sampler, stopping)])
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0).round(5)
        name = _label(simulation, {"sampler": sampler, "early_stopping": stopping})
        made.add_scatter(x=[*places, *places[::-1]], y=[*high.tolist(), *low.tolist()[::-1]], fill="toself",
                         mode="lines", line={"width": 0}, fillcolor=colour, opacity=0.15, hoverinfo="skip",
                         showlegend=False, legendgroup=name)
        made.add_scatter(x=places, y=middle.tolist(), mode="lines", name=name, legendgroup=name,
                         line={"color": colour, "width": 2, "dash": "solid" if index < len(_COLOURS) else "dot"},
                         hovertemplate=f"{name}: %{{y:.3f}} at %{{x:.4~g}}<extra></extra>")
