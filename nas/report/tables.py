"""The front as a CSV file that a spreadsheet opens safely, and as a table on the terminal."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any

from nas.errors import one_line
from nas.report.results import COSTS, Results, column, empty_text, front
from nas.units import human_count

if TYPE_CHECKING:
    from rich.console import Console

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def front_csv(results: Results) -> str:
    """The front, one row a network, from the cheapest up. Numbers unrounded; empty where there is no value."""
    first = ["number", "accuracy", "spread", "seeds", "loss", *COSTS, "epochs", "seconds", "reused"]
    last = ["architecture", "architecture_id", "checkpoint", "device", "created", "finished"]
    columns = [*first, *results.axes, *last]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([cell(name) for name in columns])
    for row in front(results)[columns].to_dict("records"):
        writer.writerow([cell(row[name]) for name in columns])
    return file.getvalue()


def cell(value: Any) -> str:
    """A value as a CSV cell: text that a spreadsheet would take for a formula gets a leading apostrophe."""
    if missing(value):
        return ""
    text = repr(value) if isinstance(value, float) else str(value)
    text = text[:-2] if isinstance(value, float) and text.endswith(".0") else text
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text


def missing(value: Any) -> bool:
    """None, NaN and NaT."""
    return value is None or bool(value != value)


def terminal_front(results: Results, console: Console) -> None:
    """Print the front to `console`: on a narrow terminal the architecture folds, numbers are never cut."""
    from rich.table import Table
    from rich.text import Text

    chosen = front(results)
    if chosen.empty:
        console.print(Text(empty_text(results)))
        return
    extra = [name for name in ("activations", "latency_ms") if name in {column(o) for o in results.objectives}]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("trial", "accuracy", "MACs", "params", *(COSTS[name] for name in extra)):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("architecture", overflow="fold", ratio=1)
    for row in chosen.to_dict("records"):
        numbers = [f"{row['number']}", _accuracy(row["accuracy"]) + spread(row["spread"]), _count(row["macs"]),
                   _count(row["params"])]
        numbers += [_count(row[name]) if name == "activations" else f"{row[name]:.3g}" for name in extra]
        line = "" if missing(row["architecture"]) else one_line(str(row["architecture"]))
        table.add_row(*(Text(number) for number in numbers), Text(line))
    console.print(table)


def _accuracy(value: float) -> str:
    return "" if missing(value) else f"{value:.4f}"


def spread(value: float | None) -> str:
    """A standard deviation over seeds, after a mean; nothing where there is one seed."""
    return "" if value is None or missing(value) else f" ±{value:.4f}"


def _count(value: float) -> str:
    return "" if missing(value) else human_count(value)
