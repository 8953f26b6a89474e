"""Drawings in a real Chromium: no text leaves the drawing or its box, none lies on another, whatever the knobs."""

from __future__ import annotations

import random
from typing import Any

import pytest
from model_cases import drawn

from nas.architecture import Architecture, Stage
from nas.diagram import svg

pytestmark = pytest.mark.slow

FAULTS = """() => {
  const drawing = document.querySelector("svg").getBoundingClientRect(), faults = [];
  const placed = (element) => [element.textContent, element.getBoundingClientRect()];
  const of = (selector) => [...document.querySelectorAll(selector)].map(placed);
  const across = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left);
  const down = (a, b) => Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  const texts = of("text"), boxes = of("rect[rx='4'], rect[rx='9']").map(([, box]) => box);
  for (const [words, r] of texts) {
    if (across(r, drawing) < r.width - 0.5 || down(r, drawing) < r.height - 0.5) faults.push(["leaves it", words]);
    const x = (r.left + r.right) / 2, y = (r.top + r.bottom) / 2;
    const around = boxes.filter((b) => b.left < x && x < b.right && b.top < y && y < b.bottom);
    if (around.some((b) => across(r, b) < r.width - 0.5)) faults.push(["leaves its box", words]);
    if (!around.length && boxes.some((b) => across(r, b) > 1 && down(r, b) > 5)) faults.push(["lies on a box", words]);
  }
  texts.forEach(([words, a], i) => texts.slice(i + 1).forEach(([other, b]) => {
    if (across(a, b) > 1 && down(a, b) > 5) faults.push(["lies on another", words, other]);
  }));
  return { texts: texts.length, boxes: boxes.length, faults };
}"""
WIDE = Architecture(
    tuple(Stage(99, 4096, "bottleneck", cardinality=4096, shortcut_depth=4, branches=9, gate="full", se_ratio=1.0,
                dilation=16, base_width=0, bottleneck_ratio=4.0, gain="layerscale", dropout=0.125) for _ in range(8)),
    stem_width=4096, drop_path=0.5, memory=4096, norm="none", shortcut="C", order="pre")


@pytest.fixture(scope="module")
def page(chromium: Any) -> Any:
    return chromium.new_page(viewport={"width": 480, "height": 600})


def faults(page: Any, drawing: str) -> Any:
    page.set_content(f"<body style='margin: 0; font-family: system-ui'><div style='width: 460px'>{drawing}</div>")
    found = page.evaluate(FAULTS)
    assert found["texts"] > 20
    assert found["boxes"] > 5
    return found["faults"]


@pytest.mark.parametrize("title", ["", "a_long_name_" * 12])
def test_texts_stay_in_their_places(page: Any, title: str) -> None:
    rng = random.Random(title)
    for architecture in [WIDE, *(drawn(rng) for _ in range(60))]:
        assert faults(page, svg(architecture, (3, 224, 224), 1000, title)) == [], architecture.line()


def test_a_text_that_is_too_long_is_seen(page: Any) -> None:
    """The check can fail."""
    drawing = svg(Architecture((Stage(2, 16),)), (3, 32, 32), 10)
    assert faults(page, drawing) == []
    assert faults(page, drawing.replace(">BN · ReLU<", f">{'BN · ReLU · ' * 9}<"))
    assert faults(page, drawing.replace(">total<", ' transform="translate(0 -30)">total<'))
