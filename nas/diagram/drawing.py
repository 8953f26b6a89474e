"""The SVG drawing: the network as a table from input to classes, below it an inset for each distinct block.

Within a page the colours are the page's; a drawing that stands alone brings its own, for light, dark and paper.
Nothing refers to anything outside the drawing, and nothing in it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from nas import nodes as n
from nas.architecture import NETWORK_KNOBS, Architecture
from nas.cost import cost
from nas.diagram.flow import block, wide
from nas.diagram.overview import Row, overview, rows
from nas.diagram.parts import Group, groups
from nas.diagram.strokes import ACCENTS, LARGE, SMALL, USUAL, Canvas, broken
from nas.plan import plan as plan_of

WIDTH, MARGIN, BETWEEN = 460, 18, 16        # units; around a drawing that stands alone; between two insets


def svg(architecture: Architecture, shape: n.Shape, classes: int, title: str = "") -> str:
    """The network as one SVG element, 460 units wide, for images of `shape` (C, H, W).

    With a `title` it can stand alone, as a file: it has the title above it, a margin, and colours of its own.
    """
    plan = plan_of(architecture, shape, classes)
    kinds = groups(architecture, _stages(plan.layers))
    parts = rows(architecture, plan)
    canvas = Canvas()
    top = _caption(canvas, architecture, plan, title)
    top = overview(canvas, plan, parts, kinds, top + 10)
    bottom = _insets(canvas, kinds, top + 20)
    named = f"{title}: {architecture.line()}" if title else architecture.line()
    head = f"<title>{escape(named)}</title>"
    if title:
        head += f"<desc>{escape(_described(parts, kinds))}</desc>{_alone(bottom)}"
    return _frame(bottom, head, "".join(canvas.marks), bool(title))


def _stages(layers: Sequence[tuple[str, n.Node]]) -> list[n.Sequence]:
    """The sequences of residual blocks, in order."""
    found: list[n.Sequence] = []
    for _, layer in layers:
        if isinstance(layer, n.Sequence):
            found += [layer] if isinstance(layer.layers[0][1], n.Residual) else _stages(layer.layers)
    return found


def _frame(bottom: float, head: str, body: str, alone: bool) -> str:
    edge = MARGIN if alone else 1
    box = f"{-edge} {-edge} {WIDTH + 2 * edge} {bottom + 2 * edge:.1f}"
    wide, high = 1.5 * (WIDTH + 2 * edge), 1.5 * (bottom + 2 * edge)
    size = f' width="{wide:g}" height="{high:.0f}" color="#1b2230"' if alone else ""
    family = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif" if alone else "inherit"
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}"{size} class="nas-diagram" role="img" '
            f'font-family="{family}" font-size="{USUAL}" fill="currentColor">{head}{body}</svg>')


def _alone(bottom: float) -> str:
    """Colours, and paper below all of it."""
    accents = "".join(f"--nas-{place}:{colour};" for place, colour in enumerate(ACCENTS, 1))
    size = f'width="{WIDTH + 2 * MARGIN}" height="{bottom + 2 * MARGIN:.1f}"'
    return (
        f"<style>.nas-diagram{{{accents}--nas-paper:#ffffff;max-width:100%;height:auto}}"
        "@media screen and (prefers-color-scheme:dark){.nas-diagram{--nas-paper:#181c23;color:#e6e9ef;"
        "background:#181c23}}</style>"
        f'<rect x="{-MARGIN}" y="{-MARGIN}" {size} fill="#ffffff" style="fill:var(--nas-paper, #ffffff)"/>')


# --- words ----------------------------------------------------------------------------------------------------------

def _caption(canvas: Canvas, architecture: Architecture, plan: n.Sequence, title: str) -> float:
    params, macs, activations = cost(plan)
    top = canvas.lines(0, 0, broken(title, 1.3 * LARGE, WIDTH, bold=True), 1.3 * LARGE, bold=True) + 4 if title else 0.0
    totals = f"{params:,} parameters · {macs:,} MACs · {activations:,} activations"
    top = canvas.lines(0, top, broken(totals, USUAL, WIDTH), USUAL)
    return canvas.lines(0, top, broken(_style(architecture), SMALL, WIDTH), SMALL, dim=True)


def _style(architecture: Architecture) -> str:
    """The knobs of the whole network: order, norm and activation always, others where they are not as usual."""
    a = architecture.canonical()
    order = {"pre": "pre-activation", "post": "post-activation"}.get(a.order, a.order)
    words = [order, "no norm" if a.norm == "none" else f"{a.norm} norm", a.activation]
    strides = any(stage.block in ("bottleneck", "inverted") for stage in a.stages[1:])
    words += [f"stride in {a.stride_in}"] if strides else []
    told = ("stem", "stem_width", "order", "norm", "activation", "stride_in", "shortcut", "memory")
    for name, knob in NETWORK_KNOBS.items():
        if name not in told and getattr(a, name) != knob.default:
            words.append(f"{name.replace('_', ' ')} {getattr(a, name)}")
    return ", ".join(words)


def _described(parts: Sequence[Row], kinds: Sequence[Group]) -> str:
    """The drawing in words, for those who hear it."""
    listed = [f"{row.title}: {f'{row.depth} × ' if row.depth else ''}{row.about}, "
              f"{'×'.join(map(str, row.out))}, {row.cost.params:,} params, {row.cost.macs:,} MACs" for row in parts]
    return ". ".join([*listed, *(f"{group.title}: {', '.join(group.about)}" for group in kinds)])


# --- insets ---------------------------------------------------------------------------------------------------------

def _insets(canvas: Canvas, kinds: Sequence[Group], top: float) -> float:
    """Two narrow ones stand side by side; one that is alone in its row has its words at the right."""
    places = list(enumerate(kinds))
    while places:
        (place, group), *places = places
        canvas.accent = place % len(ACCENTS)
        if not wide(group) and places and not wide(places[0][1]):
            (second, other), *places = places
            half = (WIDTH - BETWEEN) / 2
            ends = [_inset(canvas, group, 0, half, top)]
            canvas.accent = second % len(ACCENTS)
            ends.append(_inset(canvas, other, half + BETWEEN, half, top))
            top = max(ends) + BETWEEN
        elif wide(group):
            top = _inset(canvas, group, 0, WIDTH, top) + BETWEEN
        else:
            top = _beside(canvas, group, top) + BETWEEN
    return top - BETWEEN


def _inset(canvas: Canvas, group: Group, x: float, width: float, top: float) -> float:
    top = _words(canvas, group, x, width, top)
    return block(canvas, group, x, width, top + 6)


def _beside(canvas: Canvas, group: Group, top: float) -> float:
    left = 300 if group.ways else 210
    words = _words(canvas, group, left + 16, WIDTH - left - 16, top)
    return max(words, block(canvas, group, 0, left, top))


def _words(canvas: Canvas, group: Group, x: float, width: float, top: float) -> float:
    canvas.swatch(x, top + 2, 9)
    top = canvas.lines(x + 14, top, broken(group.title, USUAL, width - 14, bold=True), USUAL, bold=True) + 3
    for sentence in group.about:
        top = canvas.lines(x, top, broken(sentence, SMALL, width), SMALL, dim=True) + 2
    return top
