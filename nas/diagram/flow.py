"""A block as a flow from its input down to its output: boxes, lanes side by side, the shortcut and its gates."""

from __future__ import annotations

from collections.abc import Sequence

from nas.diagram.parts import EMPTY, Group, Part, Way
from nas.diagram.strokes import SIGN, SMALL, USUAL, Canvas, broken, height_of

STEP = 7            # of wire between two boxes
LANE, BETWEEN = 84, 10          # least width of one of several lanes; between two
GAP = 26                        # for the dots where lanes are left out
COLUMN, WAY = 176, 118          # width of a lone column of boxes; of what stands on a shortcut
_LOOKS: dict[str, dict[str, float | bool]] = {
    "conv": {"tint": 0.2, "accent": True},
    "lent": {"tint": 0.08, "accent": True, "dashed": True},
    "slim": {"tint": 0.05},
    "se": {"tint": 0.08, "accent": True, "round_": 9},
    "knob": {"tint": 0.08, "accent": True, "round_": 9},
    "drop": {"tint": 0.0, "round_": 9, "dashed": True},
}


def draw(canvas: Canvas, part: Part, x: float, width: float, top: float) -> float:
    """`part` in a column from x, from `top` down; returns where it ends."""
    match part.form:
        case "stack":
            for index, inner in enumerate(part.parts):
                top = canvas.wire(x + width / 2, top, top + STEP) if index else top
                side = max(0, (width - COLUMN) / 2) if inner.form == "box" else 0
                top = draw(canvas, inner, x + side, width - 2 * side, top)
            return top
        case "sum":
            return _sum(canvas, part, x, width, top)
        case "swap":
            return _swap(canvas, part, x, width, top)
        case _:
            aside = part.look == "se" and width >= 1.5 * LANE
            return (_aside if aside else _box)(canvas, part, x, width, top)


def _box(canvas: Canvas, part: Part, x: float, width: float, top: float) -> float:
    size = SMALL if part.look == "slim" else USUAL
    lines = broken(part.words, size, width - 10)
    notes = broken(part.note, SMALL, width - 10)
    room = 4 if part.look == "slim" else 9
    height = height_of(lines, size) + height_of(notes, SMALL) + room
    canvas.box(x, top, width, height, **_LOOKS[part.look])  # type: ignore[arg-type]
    below = canvas.lines(x + width / 2, top + room / 2, lines, size, anchor="middle")
    canvas.lines(x + width / 2, below, notes, SMALL, anchor="middle", dim=True)
    return top + height


def _aside(canvas: Canvas, part: Part, x: float, width: float, top: float) -> float:
    """A factor that is found from what passes by: a box beside the wire, and a product."""
    middle, left = x + width / 2, x + width / 2 + 14
    side = width / 2 - 14
    bottom = _box(canvas, part, left, side, top + 9)
    canvas.wire(middle, top, bottom + 2)
    canvas.dot(middle, top + 2)
    canvas.line(f"M{middle:.1f} {top + 2:.1f}H{left + side / 2:.1f}V{top + 9:.1f}")
    canvas.line(f"M{left + side / 2:.1f} {bottom:.1f}V{bottom + 9:.1f}H{middle + SIGN:.1f}")
    canvas.arrow(middle + SIGN, bottom + 9, "left")
    canvas.sign(middle, bottom + 9, "×")
    return bottom + 9 + SIGN


def _sum(canvas: Canvas, part: Part, x: float, width: float, top: float) -> float:
    """Branches side by side, of equal ones as many as there is room for, and their sum."""
    count, alike = len(part.parts), len(set(part.parts)) == 1
    least = (2 * LANE + BETWEEN if _parallel(part) else LANE) if alike else LANE / 2
    fits = int((width + BETWEEN) // (least + BETWEEN))
    if count > fits:
        fits = max(1, int((width - GAP + BETWEEN) // (least + BETWEEN)))
    shown = part.parts if count <= fits else (*part.parts[:fits - 1], part.parts[-1])
    lefts, wide = _lanes(x, width, len(shown), 1 < len(shown) < count)
    middle = x + width / 2
    bottom = _side_by_side(canvas, shown, lefts, wide, middle, top)
    if 1 < len(shown) < count:
        canvas.text((lefts[-2] + wide + lefts[-1]) / 2, (top + bottom) / 2 + 4, "⋯", 14, anchor="middle")
    said = f"sum of {count} such functions" if count > len(shown) == 1 else f"sum of {count}"
    return _joined(canvas, [left + wide / 2 for left in lefts], middle, bottom, said)


def _lanes(x: float, width: float, count: int, cut: bool) -> tuple[list[float], float]:
    """The left ends of lanes and their width; where some are left out, a gap stands before the last."""
    gap = GAP if cut else 0
    wide = (width - gap - BETWEEN * (count - 1)) / count
    lefts = [x + index * (wide + BETWEEN) for index in range(count)]
    lefts[-1] += gap
    return lefts, wide


def _side_by_side(
    canvas: Canvas, parts: Sequence[Part], lefts: Sequence[float], wide: float, middle: float, top: float,
) -> float:
    """A fork, then each part in its lane down to where the longest ends."""
    centres = [left + wide / 2 for left in lefts]
    canvas.line(f"M{min(*centres, middle):.1f} {top:.1f}H{max(*centres, middle):.1f}")
    for centre in centres:
        canvas.wire(centre, top, top + STEP)
    return _in_lanes(canvas, parts, lefts, wide, top + STEP)


def _in_lanes(canvas: Canvas, parts: Sequence[Part], lefts: Sequence[float], wide: float, top: float) -> float:
    ends = [draw(canvas, part, left, wide, top) for part, left in zip(parts, lefts, strict=True)]
    for left, end in zip(lefts, ends, strict=True):
        canvas.wire(left + wide / 2, end, max(ends) + STEP)
    return max(ends) + STEP


def _joined(canvas: Canvas, centres: Sequence[float], middle: float, top: float, said: str) -> float:
    canvas.line(f"M{min(*centres, middle):.1f} {top:.1f}H{max(*centres, middle):.1f}")
    canvas.wire(middle, top, top + 5)
    canvas.sign(middle, top + 5 + SIGN, "+")
    canvas.text(middle + SIGN + 5, top + 9 + SIGN, said, SMALL, dim=True)
    return top + 5 + 2 * SIGN


def _swap(canvas: Canvas, part: Part, x: float, width: float, top: float) -> float:
    """Two lanes; between two steps the second half of the channels of each goes over to the other."""
    lefts, wide = _lanes(x, width, 2, False)
    middle, (a, b) = x + width / 2, [left + wide / 2 for left in lefts]
    top = _side_by_side(canvas, part.parts[0].parts, lefts, wide, middle, top)
    for pair in part.parts[1:]:
        lower = top + 26
        for here, there in ((a, b), (b, a)):
            canvas.wire(here, top, lower)
            canvas.line(f"M{here:.1f} {top:.1f}L{there:.1f} {lower:.1f}", dashed=True)
        canvas.lines(b + 6, top + 1, ["halves", "swapped"], SMALL, dim=True)
        top = _in_lanes(canvas, pair.parts, lefts, wide, lower)
    return _joined(canvas, (a, b), middle, top, "sum of both")


# --- the whole block ------------------------------------------------------------------------------------------------

def block(canvas: Canvas, group: Group, x: float, width: float, top: float) -> float:
    """The block of `group` in an area that is `width` wide; returns where it ends."""
    way = min(WAY, width * 0.37) if group.ways else 0.0
    lanes = _parallel(group.branch)
    room = width - (way + 8 if way else 0)
    column = room if lanes else min(COLUMN, room)
    lane = x + (width if lanes else column + (134 if group.gated else 8) + way) - way / 2
    middle = x + column / 2
    canvas.arrow(middle, top + 8, "down")
    at = canvas.wire(middle, top, top + 12)
    if group.pre != EMPTY:
        at = canvas.wire(middle, end := draw(canvas, Part("stack", parts=(group.pre,)), x, column, at), end + STEP)
    fork = at + 1
    bottom = draw(canvas, group.branch, x, column, canvas.wire(middle, at, at + 10))
    if group.ways:
        bottom = _shortcut(canvas, group, middle, lane, (fork, bottom), way)
    if group.post != EMPTY:
        bottom = draw(canvas, Part("stack", parts=(group.post,)), x, column, canvas.wire(middle, bottom, bottom + STEP))
    canvas.wire(middle, bottom, bottom + 9)
    canvas.arrow(middle, bottom + 12, "down")
    return bottom + 13


def wide(group: Group) -> bool:
    """Whether the block needs the whole width of a drawing."""
    return group.gated or _parallel(group.branch)


def _parallel(part: Part) -> bool:
    """Whether there are lanes in it, not counting those that it stands for itself."""
    return any(inner.form in ("sum", "swap") or _parallel(inner) for inner in part.parts)


def _shortcut(canvas: Canvas, group: Group, middle: float, lane: float, ends: tuple[float, float], way: float) -> float:
    """The lane from the fork to the sum, with what stands on it and multiplies it; returns the sum's lower end."""
    fork, bottom = ends
    heights = [_way_height(each, way) for each in group.ways]
    room = sum(heights) + STEP * (len(heights) + 1)
    lowest = max(bottom, fork + room)
    low = lowest
    marks, canvas.marks = canvas.marks, []
    if group.gated:
        low = _gates(canvas, group, middle, lane, lowest)
    gates, canvas.marks = canvas.marks, marks
    join = low + 8 + SIGN
    canvas.line(
        f"M{middle:.1f} {fork:.1f}H{lane - 8:.1f}q8 0 8 8V{join - 8:.1f}q0 8 -8 8H{middle + SIGN:.1f}", accent=True)
    canvas.dot(middle, fork)
    canvas.wire(middle, bottom, join)
    canvas.marks += gates               # above the wires that they stand on
    at = fork + (lowest - fork - room) / 2 + STEP
    for each, height in zip(group.ways, heights, strict=True):
        _way(canvas, each, lane - way / 2, way, at, height)
        at += height + STEP
    canvas.sign(middle, join, "+")
    canvas.arrow(middle + SIGN, join, "left")
    return join + SIGN


def _way_lines(way: Way, width: float) -> tuple[Sequence[str], Sequence[str]]:
    title = broken(way.of, SMALL, width - 10)
    return title, [line for words in way.lines for line in broken(words, USUAL, width - 10)]


def _way_height(way: Way, width: float) -> float:
    title, lines = _way_lines(way, width)
    return height_of(title, SMALL) + height_of(lines, USUAL) + 7


def _way(canvas: Canvas, way: Way, x: float, width: float, top: float, height: float) -> None:
    title, lines = _way_lines(way, width)
    canvas.box(x, top, width, height, tint=0.05, dashed=bool(way.of), paper=True)
    below = canvas.lines(x + width / 2, top + 3.5, title, SMALL, anchor="middle", dim=True)
    canvas.lines(x + width / 2, below, lines, USUAL, anchor="middle")


def _gates(canvas: Canvas, group: Group, middle: float, lane: float, top: float) -> float:
    """Boxes between the branch and the shortcut that take from the shortcut; each multiplies one of the two.

    Returns where they end.
    """
    left, right = middle + (lane - middle) * 0.2 + 4, lane - 26
    centre = (left + right) / 2
    for gate in (group.transform, group.carry):
        if gate == EMPTY:
            continue
        lines = broken(gate.words, USUAL, right - left - 10)
        upper, lower = top + 22, top + 22 + height_of(lines, USUAL) + 9
        canvas.dot(lane, top + 10)
        canvas.line(f"M{lane:.1f} {top + 10:.1f}H{centre:.1f}V{upper:.1f}")
        canvas.arrow(centre, upper, "down")
        canvas.box(left, upper, right - left, lower - upper, tint=0.08, accent=True)
        canvas.lines(centre, upper + 4.5, lines, USUAL, anchor="middle")
        if gate == group.transform:
            _multiply(canvas, left, middle, (upper + lower) / 2, "left")
        else:
            _multiply(canvas, right, lane, (upper + lower) / 2, "right")
        top = lower
    if group.coupled:
        canvas.line(f"M{centre:.1f} {top:.1f}V{top + 18:.1f}H{centre + 1:.1f}")
        canvas.text(centre + 6, top + 13, "1 − T", SMALL)
        _multiply(canvas, centre, lane, top + 18, "right")
        top += 18 + SIGN
    return top + 4


def _multiply(canvas: Canvas, start: float, at: float, y: float, to: str) -> None:
    edge = at + SIGN if to == "left" else at - SIGN
    canvas.line(f"M{start:.1f} {y:.1f}H{edge:.1f}")
    canvas.sign(at, y, "×")
    canvas.arrow(edge, y, to)

