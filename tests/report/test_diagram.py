"""The text tells plans apart, the drawing says every knob, and no text of it becomes markup."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations
from xml.etree import ElementTree

import pytest

from nas.architecture import Architecture, Stage
from nas.diagram import svg, text
from nas.plan import plan

SHAPE = (3, 32, 32)
PLAIN = Architecture((Stage(2, 16), Stage(3, 32)))
NARROW = Stage(2, 64, block="bottleneck", cardinality=4, shortcut_depth=4, bottleneck_ratio=0.5)


def staged(**knobs: object) -> Architecture:
    return replace(PLAIN, stages=tuple(replace(stage, **knobs) for stage in PLAIN.stages))


KNOBS = {
    "depth": (replace(PLAIN, stages=(Stage(7, 16),)), "×7"),
    "width": (replace(PLAIN, stages=(Stage(1, 48),)), "48 ch"),
    "kernel": (staged(kernel=5), "5×5 conv"),
    "cardinality": (replace(PLAIN, stages=(NARROW,)), "cardinality 4"),
    "groups": (replace(PLAIN, stages=(NARROW,)), "3×3 conv, 32, 4 groups"),
    "ratio": (replace(PLAIN, stages=(NARROW,)), "inner ratio 0.5"),
    "shortcut depth": (replace(PLAIN, stages=(NARROW,)), "shortcut B over 4 convs"),
    "residual scaling": (staged(residual_scaling=0.25), "α = 0.25"),
    "gate": (staged(gate="highway"), "highway gate"),
    "gate bias": (staged(gate="full", gate_bias=-3.0), "bias -3"),
    "gate kernel": (staged(gate="full", gate_kernel=3), "gate 3×3 conv"),
    "se": (staged(se_ratio=0.25), "SE, hidden 4/8"),
    "stem": (replace(PLAIN, stem="conv7x7_pool"), "7×7 conv, pool"),
    "order": (replace(PLAIN, order="pre"), "pre-activation"),
    "shortcut A": (replace(PLAIN, shortcut="A"), "zero padding"),
    "shortcut C": (replace(PLAIN, shortcut="C"), "1×1 conv"),
    "shortcut none": (replace(PLAIN, shortcut="none"), "no shortcut"),
    "activation": (replace(PLAIN, activation="silu"), "SiLU"),
    "stride": (replace(PLAIN, stages=(NARROW, NARROW), stride_in="conv1x1"), "stride in conv1x1"),
}


def words(architecture: Architecture) -> str:
    """All texts of the drawing, which must be well-formed."""
    root = ElementTree.fromstring(svg(architecture, SHAPE, 10))
    return " | ".join("".join(element.itertext()) for element in root.iter() if element.tag.endswith(("text", "title")))


@pytest.mark.parametrize("knob", KNOBS)
def test_drawing_says_the_knob(knob: str) -> None:
    architecture, said = KNOBS[knob]
    assert said in words(architecture)


def test_text_tells_plans_apart() -> None:
    texts = {name: text(plan(architecture, SHAPE, 10)) for name, (architecture, _) in KNOBS.items()}
    for a, b in combinations(KNOBS, 2):
        assert (texts[a] == texts[b]) == (KNOBS[a][0].id == KNOBS[b][0].id), (a, b)


def test_text_is_equal_for_two_spellings() -> None:
    other = staged(cardinality=8, gate_bias=5.0)
    assert text(plan(other, SHAPE, 10)) == text(plan(PLAIN, SHAPE, 10))
    assert text(plan(PLAIN, SHAPE, 10)).splitlines()[0] == "network: sequence 3×32×32 → 10×1×1"


def test_equal_blocks_stand_once() -> None:
    lines = text(plan(replace(PLAIN, stages=(Stage(9, 16),)), SHAPE, 10)).splitlines()
    assert any(line.strip().startswith("block1..block9: Residual") for line in lines)
    assert len(lines) < 25


def test_blocks_of_one_kind_share_an_inset() -> None:
    assert words(PLAIN).count("block of") == 1
    mixed = replace(PLAIN, stages=(Stage(2, 16), Stage(2, 32, se_ratio=0.25), Stage(2, 64)))
    assert "block of stages 1, 3" in words(mixed)


def test_hostile_words_stay_text() -> None:
    hostile = replace(PLAIN, stride_in="<script>alert(1)</script>", order='"><img src=x onerror=alert(1)>')
    drawn = svg(hostile, SHAPE, 10)
    assert "<script" not in drawn
    assert "<img" not in drawn
    ElementTree.fromstring(drawn)


def test_drawing_refers_to_nothing_outside() -> None:
    for architecture, _ in KNOBS.values():
        drawn = svg(architecture, SHAPE, 10)
        assert re.findall(r"https?://[^\"]+", drawn) == ["http://www.w3.org/2000/svg"]
        assert "href" not in drawn
        assert "url(" not in drawn


@pytest.mark.parametrize("stages", [1, 4, 7, 12])
def test_any_number_of_stages(stages: int) -> None:
    drawn = words(replace(PLAIN, stages=tuple(Stage(1, 16 + i) for i in range(stages))))
    assert f"stage {stages}" in drawn
