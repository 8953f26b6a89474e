"""Colours, words and small helpers that all figures share. The page recolours text and grid for light and dark."""

from __future__ import annotations

import json
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

BLUE, VERMILION, GREEN, GREY = "#2f86c9", "#d55e00", "#009e73", "#8a8f98"       # after Okabe and Ito
GRID = "rgba(138, 143, 152, 0.25)"


def figure(height: int = 420, **axes: dict[str, Any]) -> go.Figure:
    """An empty figure in the report's look, transparent, without Plotly's own template."""
    look = {"gridcolor": GRID, "zeroline": False, "linecolor": GREY, "ticks": "outside", "tickcolor": GRID,
            "automargin": True, "title": {"standoff": 8}}
    layout = {name: {**look, **axis} for name, axis in {"xaxis": {}, "yaxis": {}, **axes}.items()}
    made = go.Figure()
    made.update_layout(
        template="none", height=height, margin={"l": 56, "r": 16, "t": 28, "b": 48}, hovermode="closest",
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", showlegend=False,
        font={"family": "system-ui, sans-serif", "size": 12, "color": "#6b7280"}, hoverlabel={"align": "left"},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "bgcolor": "rgba(0,0,0,0)"}, **layout)
    return made


def as_data(made: go.Figure) -> dict[str, Any]:
    """`made` as plain data for JSON: what the page's JavaScript draws."""
    plain = json.loads(made.to_json())
    plain["layout"].pop("template", None)
    return {"data": plain["data"], "layout": plain["layout"]}


def note(made: go.Figure, text: str) -> go.Figure:
    """`made` with nothing but a sentence in its middle."""
    made.add_annotation(text=wrapped(text), x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False)
    made.update_xaxes(visible=False)
    made.update_yaxes(visible=False)
    return made


def safe(value: object) -> str:
    """A value as text in which Plotly finds no markup."""
    return escape(str(value), quote=False)


def wrapped(text: str, width: int = 60) -> str:
    """Escaped text, broken into lines for a hover label."""
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + len(word) + 1 > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "<br>".join(safe(part) for part in [*lines, line])


def thinned(count: int, limit: int) -> list[int]:
    """Positions of at most `limit` of `count` things, evenly spread: what a figure draws of very many."""
    if count <= limit:
        return list(range(count))
    return [int(position) for position in np.linspace(0, count - 1, limit)]
