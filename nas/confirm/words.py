"""A confirmation in sentences and in a table for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nas.confirm.results import Confirmed, Report
from nas.intervals import Interval
from nas.units import human_count

_WIDE = 110         # columns of a terminal that leave room for architectures


def sentences(report: Report) -> dict[str, str]:
    """What the confirmation says of the search, by the name of the figure; what is not known says why."""
    return {"ranks": _ranks(report), "shift": _shift(report), "front": _front(report), "gain": _gain(report),
            "spread": _spread(report)}


def print_report(report: Report, out: Console) -> None:
    """The networks, then what they say of the search."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    heads = ("network", "search", "validation", *(("test",) if report.images[1] else ()), "front", "MACs", "params")
    for name in heads:
        table.add_column(name, justify="left" if name == "network" else "right", no_wrap=True)
    wide = out.width >= _WIDE
    if wide:
        table.add_column("architecture", overflow="fold", ratio=1)
    for one in report.networks:
        row = [*cells(one, bool(report.images[1])), *([one.trial.line] if wide else [])]
        table.add_row(*(Text(cell) for cell in row))
    out.print(table)
    for name, sentence in sentences(report).items():
        out.print(f"{name:<9} {sentence}", markup=False)


def cells(one: Confirmed, tested: bool) -> list[str]:
    """A network's row, without its architecture."""
    was = "" if one.why.accuracy is None else f"{one.why.accuracy:.4f}"
    test = [accuracy(one.of_test) if one.of_test else ""] if tested else []
    likely = "" if one.likely is None else f"{one.likely:.0%}"
    return [one.name, was, accuracy(one.of_validation), *test, likely, human_count(one.trial.macs),
            human_count(one.trial.params)]


def accuracy(interval: Interval) -> str:
    """An accuracy in [0, 1] with half its interval."""
    if interval.high is None:
        return f"{interval.estimate:.4f}"
    return f"{interval.estimate:.4f} ±{interval.high - interval.estimate:.4f}"


def points(interval: Interval) -> str:
    """A difference of accuracies in percentage points, with its interval."""
    if interval.low is None or interval.high is None:
        return f"{100 * interval.estimate:+.2f} points"
    return f"{100 * interval.estimate:+.2f} points [{100 * interval.low:+.2f}, {100 * interval.high:+.2f}]"


def _ranks(report: Report) -> str:
    if report.correlation is None:
        return "rank correlation of search and confirmation: not defined for fewer than three networks of the search"
    low, high = report.correlation.low, report.correlation.high
    return (f"rank correlation of search ({report.epochs[0]} epochs) and confirmation ({report.epochs[1]} epochs): "
            f"{report.correlation.estimate:.2f} [{low:.2f}, {high:.2f}]")


def _shift(report: Report) -> str:
    if report.shift is None:
        return "no network of the front is confirmed yet"
    behind = "" if report.regression is None else (
        f"; {abs(100 * report.regression):.2f} points {'less' if report.regression < 0 else 'more'} than the networks "
        "near it" + (", as is to be expected of the luckiest of many" if report.regression < 0 else ""))
    return f"the front's accuracy moved by {points(report.shift)} from search to confirmation{behind}"


def _front(report: Report) -> str:
    stay = [name for name in report.before if name in report.after]
    new = [name for name in report.after if name not in report.before]
    left = f"{len(stay)} of {len(report.before)} networks of the front are still on it"
    return f"{left}; it is now {', '.join(report.after)}" + (f" (new: {', '.join(new)})" if new else "")


def _gain(report: Report) -> str:
    part = "test" if report.images[1] else "validation"
    if report.gain is None:
        return "how far the search is ahead of random networks of equal cost is not measured; --control N does"
    return f"the search is ahead of random networks of equal cost by {points(report.gain)} on the {part} part"


def _spread(report: Report) -> str:
    if report.spread.freedom == 0:
        return "how accuracy varies over seeds is not known from one seed each; give --seeds 3"
    return (f"accuracy varies over seeds by {100 * report.spread.std:.2f} points (standard deviation, "
            f"{report.spread.freedom} degrees of freedom); intervals are of 95 %")
