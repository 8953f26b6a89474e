"""The network from its input to its classes as a table: stem, stages and head with shapes and shares of the costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from nas import nodes as n
from nas.architecture import Architecture
from nas.cost import cost
from nas.diagram.parts import Group, block_name, words_of
from nas.diagram.strokes import LARGE, SMALL, USUAL, Canvas, broken, height_of
from nas.nodes.base import FREE
from nas.units import human_count

BOX, SHAPE, COLUMNS = 150, 206, ((262, 92), (368, 92))     # widths and places in a drawing 460 wide
LANE, GAP = 16, 13                                          # of a memory beside the stages; between rows


@dataclass(frozen=True, slots=True)
class Row:
    """A part of the network; costs are of one image. depth: how often its block is repeated, 0: it has none."""

    title: str
    about: str
    shape: n.Shape
    out: n.Shape
    cost: n.Cost
    depth: int = 0
    stage: int = 0
    aside: bool = False             # takes from all stages, beside the way from one to the next

    @property
    def stride(self) -> int:
        """How much the resolution falls."""
        return max(1, round(self.shape[1] / self.out[1]))


def rows(architecture: Architecture, plan: n.Sequence) -> list[Row]:
    """The parts of the network in order; their costs sum to that of the plan."""
    return list(_rows(architecture, plan.layers))


def _rows(architecture: Architecture, layers: Sequence[tuple[str, n.Node]]) -> Iterator[Row]:
    for name, layer in layers:
        if not isinstance(layer, n.Sequence):
            yield Row(name, words_of(layer), layer.shape, layer.out, cost(layer))
        elif layer.own != FREE:       # it goes along with what it holds
            yield from _rows(architecture, layer.layers)
            _, text, numbers = layer.words
            yield Row(name, text.format(*numbers), layer.shape, layer.out, layer.own, aside=True)
        elif isinstance(layer.layers[0][1], n.Residual):
            number = int(name.removeprefix("stage"))
            kind = block_name(architecture.stages[number - 1])
            yield Row(f"stage {number}", kind, layer.shape, layer.out, cost(layer), len(layer.layers), number)
        else:
            yield Row(name, words_of(layer), layer.shape, layer.out, cost(layer))


def overview(canvas: Canvas, plan: n.Sequence, parts: Sequence[Row], kinds: Sequence[Group], top: float) -> float:
    """The table from `top` down; returns where it ends."""
    accents = {number: place for place, group in enumerate(kinds) for number in group.numbers}
    left = LANE if any(row.aside for row in parts) else 0
    whole = cost(plan)
    top = _heading(canvas, plan, left, top)
    taken: list[float] = []
    above = top - GAP
    for row in parts:
        canvas.accent = accents.get(row.stage, 0) % 4
        canvas.marks.append(f"<g><title>{escape(_exactly(row))}</title>")
        bottom = _row(canvas, row, left, top, above, whole)
        canvas.marks.append("</g>")
        if row.stage:
            taken.append((top + bottom) / 2)
        if row.aside:
            _memory(canvas, left, taken, (top + bottom) / 2)
        above, top = bottom, bottom + GAP
    canvas.accent = 0
    return _totals(canvas, whole, top - GAP + 8)


def _exactly(row: Row) -> str:
    return f"{row.title}: {row.cost.params:,} params, {row.cost.macs:,} MACs, {row.cost.activations:,} activations"


def _heading(canvas: Canvas, plan: n.Sequence, left: float, top: float) -> float:
    middle = left + (BOX - left) / 2
    canvas.text(middle, top + 10, f"input {_shape(plan.shape)}", USUAL, anchor="middle")
    canvas.text(SHAPE, top + 10, "output C×H×W", SMALL, anchor="middle", dim=True)
    for (x, _), name in zip(COLUMNS, ("parameters", "MACs"), strict=True):
        canvas.text(x, top + 10, name, SMALL, dim=True)
    return top + 14 + GAP


def _row(canvas: Canvas, row: Row, left: float, top: float, above: float, whole: n.Cost) -> float:
    # an aside leaves room at its right for the way from the last stage to the head
    width = BOX - left - (34 if row.aside else 0)
    middle = left + (BOX - left) / 2
    lines = broken(row.about, SMALL, width - 14)
    height = max(31.0, 8 + LARGE * 1.22 + height_of(lines, SMALL))
    if row.aside:
        canvas.wire(BOX - 17, above, top + height + GAP - 2)
        canvas.arrow(BOX - 17, top + height + GAP, "down")
    for sheet in range(min(row.depth, 3) - 1, 0, -1):
        canvas.box(left + 2.5 * sheet, top - 2.5 * sheet, width, height, tint=0.1, accent=True, paper=True)
    if not row.aside:
        lift = 2.5 * (min(row.depth, 3) - 1) if row.depth else 0
        canvas.wire(middle, above, top - lift - 2)
        canvas.arrow(middle, top - lift, "down")
    canvas.box(left, top, width, height, tint=0.2 if row.stage else 0.08 if row.aside else 0.04,
               accent=bool(row.stage) or row.aside, round_=9 if row.aside else 4, paper=row.depth > 1)
    canvas.text(left + 7, top + 15, row.title, USUAL, bold=True)
    if row.depth:
        canvas.text(left + width - 7, top + 16, f"×{row.depth}", LARGE, anchor="end", bold=True)
    canvas.lines(left + 7, top + 5 + LARGE * 1.22, lines, SMALL, dim=True)
    _facts(canvas, row, top + (height - 31) / 2, whole)
    return top + height


def _facts(canvas: Canvas, row: Row, top: float, whole: n.Cost) -> None:
    if not row.aside:
        out = f"{row.out[0]}" if row.out[1:] == (1, 1) else _shape(row.out)
        strided = row.stride > 1 and row.out[1:] != (1, 1)
        canvas.text(SHAPE, top + (14 if strided else 19), out, USUAL, anchor="middle")
        if strided:
            canvas.text(SHAPE, top + 26, f"stride {row.stride}", SMALL, anchor="middle", dim=True)
    for (x, width), one, all_ in zip(COLUMNS, row.cost[:2], whole[:2], strict=True):
        share = one / all_ if all_ else 0.0
        canvas.text(x, top + 15, human_count(one), USUAL)
        canvas.text(x + width, top + 15, _percent(share), SMALL, anchor="end", dim=True)
        canvas.bar(x, top + 21, width, share)


def _percent(share: float) -> str:
    return "0 %" if share == 0 else "< 0.1 %" if share < 0.001 else f"{share:.1%}".replace("%", " %")


def _memory(canvas: Canvas, left: float, taken: Sequence[float], at: float) -> None:
    """A lane from all stages into what takes from their blocks."""
    for y in taken:
        canvas.line(f"M{left:.1f} {y:.1f}H4")
    canvas.line(f"M4 {min(taken):.1f}V{at:.1f}H{left:.1f}", accent=True)
    canvas.arrow(left, at, "right")


def _totals(canvas: Canvas, whole: n.Cost, top: float) -> float:
    canvas.line(f"M0 {top:.1f}H460")
    canvas.text(7, top + 15, "total", USUAL, bold=True)
    canvas.text(SHAPE + 34, top + 15, f"{human_count(whole.activations)} activations", SMALL, anchor="end", dim=True)
    for (x, _), one in zip(COLUMNS, whole[:2], strict=True):
        canvas.text(x, top + 15, human_count(one), USUAL, bold=True)
    return top + 20


def _shape(shape: n.Shape) -> str:
    return "×".join(map(str, shape))
