"""The SVG drawing: a chain of cards (stem, stages, head), below it an inset for each distinct block.

Colours come from the page: `currentColor`, and `--nas-1` to `--nas-4` for the insets, so that light and dark both work.
Every text is escaped; nothing refers to anything outside the drawing.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise

from nas import nodes as p
from nas.architecture import Architecture
from nas.diagram.blocks import Group, Row, groups, stage_names
from nas.plan import plan as plan_of

WIDTH, GAP = 460, 14                                    # units of the drawing; between cards
CARD_HEIGHT, CARDS_A_ROW = 76, 6
BOX = {"conv": 24, "slim": 15, "se": 20, "knob": 18}   # heights by kind of row
EM = 0.54                                               # mean width of a character at font size 1


def svg(architecture: Architecture, shape: p.Shape, classes: int) -> str:
    """The network as one SVG element, about 460 units wide, for images of `shape` (C, H, W)."""
    plan = plan_of(architecture, shape, classes)
    inner = [part for _, layer in plan.layers if isinstance(layer, p.Memory) for part in layer.parts]
    named = (*plan.layers, *inner)
    stages = [layer for name, layer in named if name.startswith("stage") and isinstance(layer, p.Sequence)]
    kinds = groups(architecture, stages)
    top, cards = _cards(plan, architecture, stages, kinds)
    bottom, insets = _insets(kinds, top + 14)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom:g}" class="nas-diagram" role="img" '
        f'font-family="inherit" font-size="11" fill="currentColor"><title>{escape(architecture.line())}</title>'
        f"{cards}{insets}</svg>")


# --- the chain of cards -------------------------------------------------------------------------------------------

def _cards(
    plan: p.Sequence, architecture: Architecture, stages: Sequence[p.Sequence], kinds: Sequence[Group],
) -> tuple[float, str]:
    accents = {number: group.accent for group in kinds for number in group.numbers}
    stem = plan.layers[0][1]
    stem_words = "7×7 conv, pool" if architecture.stem == "conv7x7_pool" else "3×3 conv"
    cards = [("stem", stem_words, *_size(stem.out), "", 1)]
    for number, stage in enumerate(stages, 1):
        depth = len(stage.layers)
        cards.append((f"stage {number}", f"×{depth}", *_size(stage.out), accents[number], depth))
    cards.append(("head", "mean, linear", f"{plan.out[0]} classes", "", "", 1))
    entry = f"input {'×'.join(map(str, plan.shape))}, {_order(architecture)}"
    parts, top = [_text(0, 10, entry, size=10, dim=True)], 22.0
    side_by_side = min(len(cards), CARDS_A_ROW)
    width = (WIDTH - 6 - GAP * (side_by_side - 1)) / side_by_side
    for row in (cards[i : i + CARDS_A_ROW] for i in range(0, len(cards), CARDS_A_ROW)):
        lefts = [index * (width + GAP) for index in range(len(row))]
        parts += [_card(left, top, width, *card) for left, card in zip(lefts, row, strict=True)]
        parts += [_arrow(left + width + 1, right - 2, top + CARD_HEIGHT / 2) for left, right in pairwise(lefts)]
        top += CARD_HEIGHT + 12
    return top, "".join(parts)


def _order(architecture: Architecture) -> str:
    order = {"pre": "pre-activation", "post": "post-activation"}.get(architecture.order, architecture.order)
    strides = any(stage.block == "bottleneck" for stage in architecture.stages[1:])
    return f"{order}, {architecture.activation}" + (f", stride in {architecture.stride_in}" if strides else "")


def _size(shape: p.Shape) -> tuple[str, str]:
    return f"{shape[0]} ch", f"{shape[1]}×{shape[2]}"


def _card(
    x: float, y: float, width: float, title: str, what: str, channels: str, size: str, accent: str, depth: int,
) -> str:
    sheets = [_box(x + 3 * i, y - 3 * i, width, CARD_HEIGHT, 0.03) for i in range(min(depth, 3) - 1, 0, -1)]
    middle = x + width / 2
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}"'
    bar = f'<rect {place} height="4" rx="2" style="fill:{accent}"/>' if accent else ""
    paper = f'<rect {place} height="{CARD_HEIGHT}" rx="5" style="fill:var(--nas-paper, Canvas)"/>'
    lines = [
        _text(middle, y + 18, title, size=10, anchor="middle", dim=True, fit=width - 6),
        _text(middle, y + 37, what, size=15 if accent else 10, anchor="middle", bold=bool(accent), fit=width - 6),
        _text(middle, y + 54, channels, anchor="middle", fit=width - 6),
        _text(middle, y + 68, size, size=10, anchor="middle", dim=True, fit=width - 6),
    ]
    return "".join([*sheets, paper, _box(x, y, width, CARD_HEIGHT, 0.04), bar, *lines])


# --- the insets -----------------------------------------------------------------------------------------------------

def _insets(kinds: Sequence[Group], top: float) -> tuple[float, str]:
    """A single inset takes the whole width, its caption at the right; more stand two in a row, captions above."""
    if len(kinds) == 1:
        return _inset(kinds[0], 0, top, wide=True)
    parts = []
    for pair in (kinds[i : i + 2] for i in range(0, len(kinds), 2)):
        drawn = [_inset(group, index * (WIDTH / 2 + 4), top, wide=False) for index, group in enumerate(pair)]
        parts += [part for _, part in drawn]
        top = max(bottom for bottom, _ in drawn) + 12
    return top - 12, "".join(parts)


def _inset(group: Group, x: float, top: float, *, wide: bool) -> tuple[float, str]:
    title = (f'<rect x="{x:.1f}" y="{top:.1f}" width="9" height="9" rx="2" style="fill:{group.accent}"/>'
             + _text(x + 14, top + 9, f"block of {stage_names(group.numbers)}", bold=True))
    left, at = (x + 306, top + 44) if wide else (x, top + 24)
    fit = WIDTH - 310 if wide else WIDTH / 2 - 8
    caption = [_text(left, at + 14 * i, knob, size=10, fit=fit, dim=True) for i, knob in enumerate(group.knobs)]
    below = at + 14 * len(caption)
    bottom, drawing = _flow(group, x + 4, top + 26 if wide else below, 160 if wide else 124, 110 if wide else 74)
    return max(bottom, below), "".join([title, *caption, drawing])


def _flow(group: Group, x: float, top: float, column: float, fit: float) -> tuple[float, str]:
    """The block from its input down to its output; the shortcut runs at the right of the branch."""
    middle = x + column / 2
    parts: list[str] = []
    at = _rows(group.pre, x, column, _wire(middle, top - 2, top + 6, parts), group.accent, parts)
    fork = at + 2
    at = _rows(group.branch, x, column, _wire(middle, at, at + 10, parts), group.accent, parts)
    if group.shortcuts:
        parts.append(_shortcut(group, x, column, fork, at + 12, fit))
        at = _wire(middle, at + 20, at + 24, parts)
    at = _rows(group.post, x, column, at, group.accent, parts)
    parts.append(_arrowhead(middle, at + 5, "down"))
    return at + 8, "".join(parts)


def _rows(rows: Sequence[Row], x: float, column: float, at: float, accent: str, parts: list[str]) -> float:
    """Draws `rows` from `at` down, each with a piece of wire below it; returns where that ends."""
    for row in rows:
        height = BOX[row.kind]
        tint = accent if row.kind != "slim" else ""
        parts.append(_box(x, at, column, height, 0.2 if row.kind == "conv" else 0.08, accent=tint))
        parts.append(_text(x + column / 2, at + height / 2 + 3.6, row.label, size=9 if row.kind == "slim" else 10.5,
                           anchor="middle", fit=column - 8))
        at = _wire(x + column / 2, at + height, at + height + 6, parts)
    return at


def _shortcut(group: Group, x: float, column: float, fork: float, join: float, fit: float) -> str:
    middle, right = x + column / 2, x + column + 16
    path = (f"M{middle:.1f} {fork:.1f}H{right - 8:.1f}q8 0 8 8V{join - 8:.1f}q0 8 -8 8H{middle + 11:.1f}")
    circle = (f'<circle cx="{middle:.1f}" cy="{join:.1f}" r="8" fill="none" stroke="currentColor"/>'
              f'<path d="M{middle - 4:.1f} {join:.1f}h8m-4 -4v8" stroke="currentColor" fill="none"/>')
    start = (fork + join) / 2 - 6 * len(group.shortcuts) + 9
    labels = [_text(right + 6, start + 12 * i, line, size=10, fit=fit, dim=line.endswith(":"))
              for i, line in enumerate(group.shortcuts) if line]
    if group.carry:
        labels.append(_text(right + 6, join + 4, group.carry, size=10, fit=fit))
    line = f'<path d="{path}" fill="none" stroke="currentColor" stroke-width="1.3" style="stroke:{group.accent}"/>'
    return line + circle + _arrowhead(middle + 9, join, "left") + "".join(labels)


# --- strokes and letters --------------------------------------------------------------------------------------------

def _wire(x: float, top: float, bottom: float, parts: list[str]) -> float:
    parts.append(f'<path d="M{x:.1f} {top:.1f}V{bottom:.1f}" stroke="currentColor" stroke-opacity=".6"/>')
    return bottom


def _arrow(left: float, right: float, y: float) -> str:
    return (f'<path d="M{left:.1f} {y:.1f}H{right:.1f}m-4 -3l4 3l-4 3" fill="none" stroke="currentColor" '
            'stroke-opacity=".6"/>')


def _arrowhead(x: float, y: float, to: str) -> str:
    path = "l-3.5 -5h7z" if to == "down" else "l5 -3.5v7z"
    return f'<path d="M{x:.1f} {y:.1f}{path}"/>'


def _box(x: float, y: float, width: float, height: float, opacity: float, *, accent: str = "") -> str:
    style = f' style="fill:{accent};stroke:{accent}"' if accent else ""
    return (f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:g}" rx="4" fill-opacity="{opacity}" '
            f'stroke="currentColor" stroke-opacity=".45"{style}/>')


def _text(
    x: float, y: float, words: str, *, size: float = 11, anchor: str = "start", bold: bool = False, dim: bool = False,
    fit: float = 0,
) -> str:
    """A line of text; smaller where it would be wider than `fit`."""
    extra = f' text-anchor="{anchor}"' if anchor != "start" else ""
    extra += ' font-weight="600"' if bold else ""
    extra += ' fill-opacity=".72"' if dim else ""
    if fit and len(words) * size * EM > fit:
        size = max(6.5, round(fit / (len(words) * EM), 1))
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}"{extra}>{escape(words)}</text>'
