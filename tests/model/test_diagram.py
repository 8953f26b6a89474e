"""The text tells plans apart, the drawing says every knob and every number, and no text of it becomes markup."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
from model_cases import drawn

from nas.architecture import Architecture, Stage
from nas.cost import COSTS, cost
from nas.diagram import svg, text
from nas.nodes import Node
from nas.plan import plan
from nas.units import human_count

SHAPE = (3, 32, 32)
PLAIN = Architecture((Stage(2, 16), Stage(3, 32)))
NARROW = Stage(2, 64, block="bottleneck", cardinality=4, shortcut_depth=4, bottleneck_ratio=0.5)


def staged(**knobs: object) -> Architecture:
    return replace(PLAIN, stages=tuple(replace(stage, **knobs) for stage in PLAIN.stages))


KNOBS = {
    "depth": (replace(PLAIN, stages=(Stage(7, 16),)), "×7"),
    "width": (replace(PLAIN, stages=(Stage(1, 48),)), "48×32×32"),
    "kernel": (staged(kernel=5), "5×5 conv"),
    "cardinality": (replace(PLAIN, stages=(NARROW,)), "cardinality 4"),
    "groups": (replace(PLAIN, stages=(NARROW,)), "3×3 conv, 32, 4 groups"),
    "ratio": (replace(PLAIN, stages=(NARROW,)), "bottleneck ratio 0.5"),
    "shortcut depth": (replace(PLAIN, stages=(NARROW,)), "shortcut depth 4"),
    "residual scaling": (staged(residual_scaling=0.25), "× α = 0.25"),
    "gate": (staged(gate="highway"), "y = ReLU(s·(1 − T) + F·T)"),
    "transform": (staged(gate="transform"), "y = ReLU(s + F·T)"),
    "carry": (staged(gate="carry"), "y = ReLU(s·C + F)"),
    "gate bias": (staged(gate="full", gate_bias=-3.0), "bias from -3"),
    "gate kernel": (staged(gate="full", gate_kernel=3), "T = σ(3×3 conv, 16/32)"),
    "se": (staged(se_ratio=0.25), "SE, hidden 4/8"),
    "attention": (staged(attention="eca"), "ECA, kernel 3"),
    "stem": (replace(PLAIN, stem="conv7x7_pool"), "3×3 max pool, stride 2"),
    "order": (replace(PLAIN, order="pre"), "BN · ReLU before the fork"),
    "shortcut A": (replace(PLAIN, shortcut="A"), "first of stage 2: zero padding (A), stride 2"),
    "shortcut B": (PLAIN, "identity | first of stage 2: 1×1 conv, 32, stride 2 BN"),
    "shortcut C": (replace(PLAIN, shortcut="C"), "1×1 conv, 16/32 BN"),
    "shortcut none": (replace(PLAIN, shortcut="none"), "no shortcut"),
    "activation": (replace(PLAIN, activation="silu"), "SiLU"),
    "norm": (replace(PLAIN, norm="group"), "GN · ReLU"),
    "init": (replace(PLAIN, init="orthogonal"), "init orthogonal"),
    "stride": (replace(PLAIN, stages=(NARROW, NARROW), stride_in="conv1x1"), "stride in conv1x1"),
    "dilation": (staged(dilation=2), "3×3 conv, 16/32, dilation 2"),
    "branches": (staged(branches=5), "sum of 5"),
    "mixing": (staged(mixing="dilated"), "halves swapped"),
    "zero gamma": (staged(gain="zero_gamma"), "BN, γ from 0"),
    "skipinit": (staged(gain="skipinit"), "× g, from 0"),
    "layerscale": (staged(gain="layerscale"), "× g by channel, from 0.0001"),
    "dropout": (staged(dropout=0.3), "dropout 0.3"),
    "drop path": (replace(PLAIN, drop_path=0.5), "stochastic depth 0.1–0.5"),
    "share": (staged(share="stage"), "dashed: one set of weights"),
    "memory": (replace(PLAIN, memory=7), "LSTM over all blocks, 7 units"),
}


def marks(architecture: Architecture, title: str = "") -> ElementTree.Element:
    """The drawing, which must be well-formed."""
    return ElementTree.fromstring(svg(architecture, SHAPE, 10, title))


def words(architecture: Architecture) -> str:
    """All texts of the drawing, those of a box in one piece, and its title."""
    said: list[str] = []
    for element in marks(architecture).iter():
        kind = element.tag.rpartition("}")[2]
        if kind in ("text", "title"):
            said[-1:] = [f"{said[-1]} {element.text}".strip()] if said else [str(element.text)]
        elif said and said[-1]:
            said.append("")
    return " | ".join(said)


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
    assert "basic block of stages 1 and 3" in words(mixed)


def nodes(node: Node) -> Iterator[Node]:
    yield node
    for _, part in node.parts:
        yield from nodes(part)


@pytest.mark.parametrize("seed", range(60))
def test_random_networks_are_drawn_with_all_their_numbers(seed: int) -> None:
    """Each repeated block's boxes are there with their numbers, each row has the exact costs, which sum to all."""
    architecture = drawn(random.Random(seed))
    made, said = plan(architecture, SHAPE, 10), words(architecture)
    blocks = [stage.parts[-1][1] for stage in nodes(made) if stage.parts and "branch" in dict(stage.parts[-1][1].parts)]
    assert len(blocks) == len(architecture.stages)
    spoken = re.sub(r"[\s|]", "", said)
    for block in blocks:
        for node in nodes(dict(block.parts)["branch"]):
            look, label, numbers = node.words
            if not node.parts and look != "slim":
                assert re.search(_pattern(label, numbers), spoken), (label, numbers)
        assert human_count(cost(block).macs) in said
    rows = re.findall(r": ([\d,]+) params, ([\d,]+) MACs, ([\d,]+) activations", said)
    assert len(rows) >= 2 + len(architecture.stages)
    totals = [sum(int(row[place].replace(",", "")) for row in rows) for place in range(len(COSTS))]
    assert totals == list(cost(made))
    params, macs, activations = (f"{one:,}" for one in cost(made))
    assert f"{params} parameters · {macs} MACs · {activations} activations" in said


def _pattern(label: str, numbers: tuple[int, ...]) -> str:
    """`label` with its numbers, each alone or among others: 16/32/64."""
    pieces = [re.escape(re.sub(r"\s", "", piece)) for piece in label.split("{}")]
    between = [rf"(?:[^,/]+/)*{number}(?:/[^,/]+)*" for number in numbers]
    return "".join(a + b for a, b in zip(pieces, [*between, ""], strict=True))


def test_costs_of_the_rows_are_those_of_the_parts() -> None:
    made, said = plan(PLAIN, SHAPE, 10), words(PLAIN)
    for name, layer in made.layers:
        params, macs, activations = cost(layer)
        title = name.replace("stage", "stage ")
        assert f"{title}: {params:,} params, {macs:,} MACs, {activations:,} activations" in said
        assert human_count(params) in said
        assert f"{macs / cost(made).macs:.1%}".replace("%", " %") in said or macs / cost(made).macs < 0.001


def test_equal_branches_stand_for_each_other_and_others_do_not() -> None:
    five = words(replace(PLAIN, stages=(Stage(1, 16, branches=5, shortcut_depth=1),)))
    assert "⋯" in five
    assert five.count("3×3 conv, 16") == 1 + 3      # the stem's, and three of five


def test_alone_it_has_a_name_and_colours_of_its_own() -> None:
    alone, within = svg(PLAIN, SHAPE, 10, "mine & <yours>"), svg(PLAIN, SHAPE, 10)
    assert "prefers-color-scheme:dark" in alone
    assert "<style" not in within
    root = marks(PLAIN, "mine & <yours>")
    said = [element.text for element in root.iter() if element.tag.endswith("}text")]
    assert said[0] == "mine & <yours>"
    assert [element.tag.rpartition("}")[2] for element in root][:2] == ["title", "desc"]
    paper = next(element for element in root if element.tag.endswith("}rect"))
    assert [paper.get(key) for key in ("x", "y", "width")] == str(root.get("viewBox")).split()[:3]


def test_hostile_words_stay_text() -> None:
    hostile = replace(PLAIN, init="<script>alert(1)</script>", order='"><img src=x onerror=alert(1)>')
    drawing = svg(hostile, SHAPE, 10, "</title></svg><script>alert(2)</script>&")
    assert "<script" not in drawing
    assert "<img" not in drawing
    assert drawing.count("</svg>") == 1
    ElementTree.fromstring(drawing)


OWN = """
from nas.nodes import Activation, Conv, Norm, Sum, chain
def ways(shape, out, stride, values):
    narrow, broad = Conv(shape, out, 1, stride), chain([("c", Conv(shape, out, 5, stride)), ("n", Norm(out))])
    return [("ways", Sum(shape, out, (narrow, broad, Conv(shape, out, 7, stride)))), ("act", Activation("relu", out))]
"""


def test_a_block_of_a_user_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "drawn_ways.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    options = (("colour", "<b>red"), ("many", 3))
    said = words(Architecture((Stage(2, 16), Stage(2, 24, "drawn_ways:ways", options=options))))
    for expected in ("ways block of stage 2", "colour <b>red, many 3", "1×1 conv, 24", "5×5 conv, 24", "7×7 conv, 24",
                     "sum of 3"):
        assert expected in said


def test_drawing_refers_to_nothing_outside() -> None:
    for architecture, _ in KNOBS.values():
        for drawing in (svg(architecture, SHAPE, 10), svg(architecture, SHAPE, 10, "alone")):
            assert re.findall(r"https?://[^\"]+", drawing) == ["http://www.w3.org/2000/svg"]
            assert "href" not in drawing
            assert "url(" not in drawing
            assert "<script" not in drawing


@pytest.mark.parametrize("stages", [1, 4, 7, 12])
def test_any_number_of_stages(stages: int) -> None:
    assert f"stage {stages}" in words(replace(PLAIN, stages=tuple(Stage(1, 16 + i) for i in range(stages))))
