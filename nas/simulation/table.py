"""A table of trained networks: read from CSV or from a finished study, and a search space whose networks are its rows.

Columns are known by their names: accuracy (a share or in percent), `accuracy@E` after E epochs, macs, params,
activations, latency_ms, seconds of a full training. What is left are the axes.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nas.errors import NasError, one_line, shown
from nas.knobs import Value
from nas.network import TableRow
from nas.nodes import Cost, Shape
from nas.space import Axis, Choice, Judgement, Point, SearchSpace
from nas.studies import StoredStudy

_SPELLINGS = {
    "accuracy": ("accuracy", "acc", "val_accuracy", "val_acc", "valid_acc", "test_accuracy", "test_acc",
                 "test_acc_mean", "val_acc_mean"),
    "macs": ("macs", "flops", "madds", "mult_adds"),
    "params": ("params", "parameters"),
    "activations": ("activations",),
    "latency_ms": ("latency_ms", "latency"),
    "seconds": ("seconds", "train_seconds", "training_time"),
}
_RESULTS = ("test_", "val_", "valid_", "train_")    # columns that begin so are results, never axes
_MOST_VALUES = 64           # of an axis; a column of more is none, unless it is asked for


@dataclass(frozen=True, slots=True)
class Row:
    """A trained network of a table. Accuracies in [0, 1], by epochs, ascending; seconds of a full training."""

    network: TableRow
    cost: Cost
    curve: tuple[tuple[int, float], ...]
    seconds: float | None
    latency_ms: float | None

    @property
    def accuracy(self) -> float:
        """After a full training."""
        return self.curve[-1][1]


@dataclass(frozen=True)
class Table:
    """Rows by their values in the order of the axes. `epochs` of a full training: 1 where the table has no curves."""

    name: str
    axes: tuple[Axis, ...]
    rows: Mapping[tuple[Value, ...], Row]
    epochs: int
    left_out: int = 0       # networks of a study that were not trained to the end

    @property
    def complete(self) -> bool:
        """Whether every combination of the axes' values has a row."""
        return math.prod(axis.domain.size or 1 for axis in self.axes) == len(self.rows)


@dataclass(frozen=True, eq=False)
class TableSpace(SearchSpace):
    """The search space of a table. A point that has no row is refused, by the name "table"."""

    rows: Mapping[tuple[Value, ...], Row] = field(default_factory=dict)
    _all: tuple[Row, ...] = field(init=False, repr=False)

    @staticmethod
    def of(table: Table) -> TableSpace:
        """The space whose networks are the rows of `table`."""
        return TableSpace(axes=table.axes, sources={}, rows=table.rows)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_all", tuple(self.rows.values()))
        object.__setattr__(self, "_always", frozenset(axis.name for axis in self.axes))

    def active(self, axis: Axis, point: Mapping[str, Value]) -> bool:
        return True

    def sample(self, rng: random.Random) -> Point:
        """A random row: of a table with gaps, random values would hardly ever be one."""
        return dict(self._all[int(rng.random() * len(self._all))].network.values)

    def plain(self, point: Mapping[str, Value]) -> Point:
        return dict(point)

    def judge(self, point: Mapping[str, Value], shape: Shape, classes: int) -> Judgement:
        values = tuple((axis.name, point[axis.name]) for axis in self.axes)
        row = self.rows.get(tuple(value for _, value in values))
        if row is None:
            return Judgement(TableRow(values), None, {"table": 1.0}, "the table has no such row")
        return Judgement(row.network, row.cost, {})

    def size(self, drawn: Sequence[Point] | None = None) -> tuple[int | None, bool]:
        return len(self.rows), True


def read_table(path: Path, axes: Sequence[str] = ()) -> Table:
    """The table in a CSV file. axes: the columns that are axes; default: all that are no results and no names.

    Raises `NasError` with file, line, column, value, rule and remedy.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            lines = [(reader.line_num, cells) for cells in reader if cells]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        what = error.strerror if isinstance(error, OSError) else error
        raise NasError(one_line(f"{path}: cannot be read as CSV: {what}; give a table with a header line")) from None
    return _Parser(str(path), header, lines, axes).table()


def table_of(stored: StoredStudy) -> Table:
    """The networks that a study trained to the end, with their learning curves."""
    complete = [record for record in stored.records.values() if record.state == "COMPLETE"]
    if not complete:
        raise NasError(f"study {stored.name} has no complete trial to look up; run it first")
    names = [axis.name for axis in stored.study.space.axes]
    rows: dict[tuple[Value, ...], Row] = {}
    for record in complete:
        values = tuple((name, record.point.get(name, "-")) for name in names)       # "-": the axis was not active
        curve = tuple((epoch.epoch, epoch.accuracy) for epoch in stored.curves[record.number])
        rows[tuple(value for _, value in values)] = Row(
            TableRow(values), Cost(params=record.params, macs=record.macs, activations=record.activations), curve,
            record.seconds, record.latency_ms)
    return Table(stored.name, table_axes(names, list(rows)), rows, stored.study.recipe.epochs,
                 len(stored.records) - len(complete))


def table_axes(names: Sequence[str], found: Sequence[tuple[Value, ...]]) -> tuple[Axis, ...]:
    return tuple(Axis(name, "", (), Choice(_sorted({values[index] for values in found})))
                 for index, name in enumerate(names))


def _sorted(values: set[Value]) -> tuple[Value, ...]:
    numbers = sorted(value for value in values if not isinstance(value, str))
    return (*numbers, *sorted(value for value in values if isinstance(value, str)))


class _Parser:
    """A CSV file's header and lines, with their numbers; `table` is what they come to."""

    def __init__(self, name: str, header: Sequence[str], lines: Sequence[tuple[int, list[str]]], wanted: Sequence[str]):
        self.name, self.lines = name, lines
        self.header = [cell.strip() for cell in header]
        twice = [cell for index, cell in enumerate(self.header) if cell in self.header[:index]]
        if not self.header or not lines or twice:
            what = f"column {shown(twice[0])} is there twice" if twice else "holds no row"
            raise self._error(1, f"{what}; give a header line and a line for each network")
        for number, cells in lines:
            if len(cells) != len(self.header):
                raise self._error(number, f"{len(cells)} cells under {len(self.header)} columns; mend the line")
        self.columns = {known: self._place(spellings) for known, spellings in _SPELLINGS.items()}
        self.levels = self._levels()
        self.axes = self._wanted(wanted) if wanted else self._left_over()
        if not self.axes:
            raise self._error(1, "no column is an axis; name them with --axes a,b,c")

    def table(self) -> Table:
        needed = "accuracy" if not self.levels else "macs"
        for known in (needed, "macs"):
            if self.columns[known] is None:
                spellings = ", ".join(_SPELLINGS[known])
                raise self._error(1, f"no column is {known}; name one {known} (known: {spellings})")
        percent = max(self._accuracy(line) for line in self.lines) > 1.5
        rows: dict[tuple[Value, ...], Row] = {}
        lines: dict[tuple[Value, ...], int] = {}
        for line in self.lines:
            row = self._row(line, 100.0 if percent else 1.0)
            key = tuple(value for _, value in row.network.values)
            if key in rows:
                raise self._error(line[0], f"{row.network.line()}: the same network as in line {lines[key]}; "
                                           "name the columns that are axes with --axes a,b,c")
            rows[key], lines[key] = row, line[0]
        names = [self.header[index] for index in self.axes]
        return Table(Path(self.name).stem, table_axes(names, list(rows)), rows, max(self.levels, default=1))

    def _row(self, line: tuple[int, list[str]], unit: float) -> Row:
        values = tuple((self.header[index], _value(line[1][index])) for index in self.axes)
        curve = tuple((epoch, self._number(line, index) / unit) for epoch, index in self.levels.items())
        if not curve:
            curve = ((1, self._accuracy(line) / unit),)
        for _, accuracy in curve:
            if not 0 <= accuracy <= 1:
                raise self._error(line[0], f"accuracy {accuracy * unit:g} is neither a share nor in percent; mend it")
        counts = {known: self._count(line, known) for known in ("params", "macs", "activations")}
        if counts["macs"] < 1:
            raise self._error(line[0], f"macs {counts['macs']} must be at least 1; mend it")
        seconds, latency = (self._number(line, index) if (index := self.columns[known]) is not None else None
                            for known in ("seconds", "latency_ms"))
        if seconds is not None and not seconds > 0:
            raise self._error(line[0], f"seconds {seconds:g} must be above 0; mend it")
        return Row(TableRow(values), Cost(**counts), curve, seconds, latency)

    def _accuracy(self, line: tuple[int, list[str]]) -> float:
        last = self.levels[max(self.levels)] if self.levels else self.columns["accuracy"]
        assert last is not None
        return self._number(line, last)

    def _count(self, line: tuple[int, list[str]], known: str) -> int:
        index = self.columns[known]
        return 0 if index is None else round(self._number(line, index))

    def _number(self, line: tuple[int, list[str]], index: int) -> float:
        try:
            number = float(line[1][index])
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise self._error(line[0], f"{self.header[index]}: {shown(line[1][index])}: must be a number; mend it")
        return number

    def _place(self, spellings: Sequence[str]) -> int | None:
        return next((index for index, cell in enumerate(self.header) if cell.lower() in spellings), None)

    def _levels(self) -> dict[int, int]:
        """Epochs to columns, ascending, of the columns `accuracy@E`."""
        found = {}
        for index, cell in enumerate(self.header):
            word, at, epoch = cell.partition("@")
            if at and word.lower() in _SPELLINGS["accuracy"] and epoch.isdigit() and int(epoch):
                found[int(epoch)] = index
        return dict(sorted(found.items()))

    def _wanted(self, wanted: Sequence[str]) -> list[int]:
        for name in wanted:
            if name not in self.header:
                raise NasError(one_line(f"--axes: {shown(name)}: no column of {self.name}; "
                                        f"known: {', '.join(self.header)}"))
        return [self.header.index(name) for name in wanted]

    def _left_over(self) -> list[int]:
        taken = {*self.columns.values(), *self.levels.values()}
        most = min(_MOST_VALUES, max(2, len(self.lines) - 1))       # a column of as many values as lines is a name
        return [index for index, cell in enumerate(self.header)
                if index not in taken and not cell.lower().startswith(_RESULTS)
                and 1 < len({cells[index] for _, cells in self.lines}) <= most]

    def _error(self, line: int, what: str) -> NasError:
        return NasError(one_line(f"{self.name}:{line}: {what}"))


def _value(cell: str) -> Value:
    """A whole number, a number or a word; an empty cell is "-": the axis is not active there."""
    text = cell.strip()
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if math.isfinite(number) else text
    return text or "-"
