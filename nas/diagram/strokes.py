"""Strokes and letters of the drawings: boxes, wires, text that fits. What a network looks like stands elsewhere.

Every colour is said twice: as an attribute for programs that know no variables, and as a style that the page's own
`--nas-1` to `--nas-4` and `--nas-paper` change. Ink is `currentColor`. Every text is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from html import escape

ACCENTS = ("#2f86c9", "#d55e00", "#009e73", "#b8629a")      # after Okabe and Ito; readable on light and on dark
SMALL, USUAL, LARGE = 9, 10, 12                             # font sizes
LINE = 1.22                                                 # height of a line of text at font size 1
_WIDTHS = (("ijlI.,:;·'|! ", 0.34), ("ftr()[]/-", 0.42), ("mwMW×−⋯%+=→@", 0.95))
_BREAKS = r" (?![0-9])|(?<![a-z]) "                         # not between a word and a number
_WORD_ENDS = "_-./:"                                        # where a word that is too long is best broken


def _n(number: float) -> str:
    return f"{round(number, 1):g}"


def width_of(words: str, size: float, bold: bool = False) -> float:
    """How wide a line is at most, in units: after the letters of DejaVu Sans, the widest of the usual fonts."""
    return sum(_width(letter) for letter in words) * size * (1.12 if bold else 1)


@lru_cache(maxsize=1024)
def _width(letter: str) -> float:
    for letters, width in _WIDTHS:
        if letter in letters:
            return width
    return 0.72 if letter.isupper() else 0.64 if letter.isascii() or letter.isalpha() else 1.0


@lru_cache(maxsize=16_384)
def broken(words: str, size: float, fit: float, bold: bool = False) -> tuple[str, ...]:
    """`words` in lines no wider than `fit`: broken behind commas and dots, where that is not enough between words, but
    not before a number, and within those that are too long for a line.
    """
    def fits(line: str) -> bool:
        return width_of(line, size, bold) <= fit

    lines = [""]
    for phrase in re.split("(?<=[,·]) ", words):
        for glued in [phrase] if fits(phrase) else re.split(_BREAKS, phrase):
            for word in [glued] if fits(glued) else glued.split(" "):
                longer = f"{lines[-1]} {word}".strip()
                if fits(longer):
                    lines[-1] = longer
                else:
                    lines += _pieces(word, size, fit, bold)
    return tuple(line for line in lines if line)


def _pieces(word: str, size: float, fit: float, bold: bool) -> list[str]:
    pieces = []
    while width_of(word, size, bold) > fit and len(word) > 1:
        end = next(n for n in range(len(word) - 1, 0, -1) if n == 1 or width_of(word[:n], size, bold) <= fit)
        after = max(word.rfind(mark, end // 2, end) for mark in _WORD_ENDS) + 1
        pieces.append(word[:after or end])
        word = word[after or end:]
    return [*pieces, word]


def height_of(lines: Sequence[str], size: float) -> float:
    """Of lines of text, in units."""
    return len(lines) * size * LINE


@dataclass(slots=True)
class Canvas:
    """Marks as they are made; `accent` is the place of the colour in use."""

    marks: list[str] = field(default_factory=list)
    accent: int = 0

    def box(self, x: float, y: float, width: float, height: float, *, tint: float = 0, accent: bool = False,
            dashed: bool = False, round_: float = 4, bare: bool = False, paper: bool = False) -> None:
        """A rectangle; tint: how much of the accent, or else of the ink, fills it.

        bare: without an edge. paper: on paper, which hides what lies below.
        """
        place = f'x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" rx="{round_:g}"'
        if paper:
            self.marks.append(f'<rect {place} fill="#ffffff" style="fill:var(--nas-paper, Canvas)"/>')
        colour = self._colour("fill") if accent else 'fill="currentColor"'
        edge = self._edge(accent, dashed) if not bare else ""
        self.marks.append(f'<rect {place} {colour} fill-opacity="{tint:g}"{edge}/>')

    def _edge(self, accent: bool, dashed: bool) -> str:
        colour = f'stroke="{ACCENTS[self.accent]}"' if accent else 'stroke="currentColor" stroke-opacity=".45"'
        return f" {colour}" + (' stroke-dasharray="4 2.5" stroke-width="1.3"' if dashed else "")

    def _colour(self, of: str) -> str:
        colour = ACCENTS[self.accent]
        return f'{of}="{colour}" style="{of}:var(--nas-{self.accent + 1}, {colour})"'

    def line(self, path: str, *, accent: bool = False, dashed: bool = False) -> None:
        """A stroke along an SVG path."""
        ink = 'stroke="currentColor" stroke-opacity=".6"'
        colour = f'{self._colour("stroke")} stroke-width="1.4"' if accent else ink
        dashes = ' stroke-dasharray="3 2.5"' if dashed else ""
        self.marks.append(f'<path d="{path}" fill="none" {colour}{dashes}/>')

    def wire(self, x: float, top: float, bottom: float) -> float:
        """Straight down; returns where it ends."""
        if bottom > top:
            self.line(f"M{_n(x)} {_n(top)}V{_n(bottom)}")
        return bottom

    def arrow(self, x: float, y: float, to: str) -> None:
        """The head of an arrow that ends at a point."""
        path = {"down": "l-3.4 -5.5h6.8z", "left": "l5.5 -3.4v6.8z", "right": "l-5.5 -3.4v6.8z"}[to]
        self.marks.append(f'<path d="M{_n(x)} {_n(y)}{path}" fill="currentColor" fill-opacity=".75"/>')

    def dot(self, x: float, y: float) -> None:
        """Where a wire forks."""
        self.marks.append(f'<circle cx="{_n(x)}" cy="{_n(y)}" r="2.1" fill="currentColor"/>')

    def sign(self, x: float, y: float, sign: str) -> None:
        """A circle with + or x in it."""
        strokes = "h9m-4.5 -4.5v9" if sign == "+" else "m1.3 -3.2l6.4 6.4m0 -6.4l-6.4 6.4"
        self.marks.append(
            f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{SIGN}" fill="#ffffff" stroke="currentColor" '
            f'style="fill:var(--nas-paper, Canvas)"/>'
            f'<path d="M{_n(x - 4.5)} {_n(y)}{strokes}" stroke="currentColor" stroke-width="1.2" fill="none"/>')

    def text(self, x: float, y: float, words: str, size: float = USUAL, *, anchor: str = "start", bold: bool = False,
             dim: bool = False) -> None:
        """One line; y is its base."""
        extra = f' text-anchor="{anchor}"' if anchor != "start" else ""
        extra += ' font-weight="600"' if bold else ""
        extra += ' fill-opacity=".75"' if dim else ""
        self.marks.append(f'<text x="{_n(x)}" y="{_n(y)}" font-size="{size:g}"{extra}>{escape(words)}</text>')

    def lines(self, x: float, top: float, lines: Sequence[str], size: float = USUAL, *, anchor: str = "start",
              bold: bool = False, dim: bool = False) -> float:
        """Lines of text from `top` down; returns where they end."""
        for index, words in enumerate(lines):
            self.text(x, top + (index + 0.8) * size * LINE, words, size, anchor=anchor, bold=bold, dim=dim)
        return top + height_of(lines, size)

    def swatch(self, x: float, y: float, size: float) -> None:
        """A square of the accent."""
        self.marks.append(f'<rect x="{_n(x)}" y="{_n(y)}" width="{size:g}" height="{size:g}" rx="2" '
                          f'{self._colour("fill")}/>')

    def bar(self, x: float, y: float, width: float, share: float) -> None:
        """A thin bar, `share` of `width` of it in the accent."""
        self.box(x, y, width, 4, tint=0.1, round_=2, bare=True)
        if share > 0:
            self.box(x, y, max(1.0, width * share), 4, tint=1, accent=True, round_=2, bare=True)


SIGN = 7.5      # radius of a sum or a product
