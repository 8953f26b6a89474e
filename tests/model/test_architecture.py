"""Identity: spellings of one network share an id, networks that differ do not; plans by their text are the witness."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from dataclasses import replace

import pytest
from model_cases import SPACE_NAMES, drawn, legal_points

from nas.architecture import Architecture, Stage
from nas.diagram import text
from nas.network_yaml import network_section
from nas.plan import plan
from nas.study import study_from_spec

SHAPE = (3, 16, 16)


def networks(count: int) -> list[Architecture]:
    rng = random.Random(count)
    found = [drawn(rng) for _ in range(count)]
    for name in SPACE_NAMES:
        found += [architecture for _, architecture in legal_points(name, count // 2, seed=count)]
    return found


def respelled(a: Architecture, rng: random.Random) -> Architecture:
    """The same network, with knobs that have no effect drawn anew."""
    stages = []
    for s in a.stages:
        changes: dict[str, object] = {"residual_scaling": float(s.residual_scaling)}
        if s.block == "basic":
            changes |= {"cardinality": rng.choice([1, 2, 8]), "bottleneck_ratio": rng.choice([0.25, 0.5, 1.0])}
        if s.gate == "none":
            changes |= {"gate_bias": rng.choice([-3.0, -1, 2.0]), "gate_kernel": rng.choice([1, 3])}
        if s.se_ratio:
            changes["se_ratio"] = s.se_hidden / s.width
        stages.append(replace(s, **changes))
    network: dict[str, object] = {}
    if not any(s.block == "bottleneck" for s in a.stages[1:]):
        network["stride_in"] = rng.choice(["conv3x3", "conv1x1"])
    if len(a.stages) == 1 and a.stages[0].width == a.stem_width and a.shortcut in {"A", "B"}:
        network["shortcut"] = rng.choice(["A", "B"])
    return replace(a, stages=tuple(stages), **network)


def test_spellings_of_one_network_share_its_id() -> None:
    rng = random.Random(1)
    for architecture in networks(60):
        other = respelled(architecture, rng)
        assert other.id == architecture.id
        assert text(plan(other, SHAPE, 10)) == text(plan(architecture, SHAPE, 10))
        assert other.line() == architecture.line()


def test_equal_ids_have_equal_plans_and_other_plans_other_ids() -> None:
    """At this resolution every stride changes the shape, so the text says all that the id does."""
    texts, ids = defaultdict(set), defaultdict(set)
    for architecture in networks(100):
        seen = text(plan(architecture, (3, 64, 64), 10))
        texts[architecture.id].add(seen)
        ids[seen].add(architecture.id)
    assert all(len(found) == 1 for found in texts.values())
    assert all(len(found) == 1 for found in ids.values())


CHANGES = [
    {"depth": 3}, {"width": 24}, {"block": "bottleneck", "shortcut_depth": 3}, {"kernel": 5}, {"shortcut_depth": 3},
    {"residual_scaling": 0.5}, {"gate": "highway"}, {"gate": "full"}, {"se_ratio": 0.25},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_every_knob_makes_another_network(change: dict[str, object]) -> None:
    one = Architecture((Stage(2, 16), Stage(2, 32)))
    two = replace(one, stages=(one.stages[0], replace(one.stages[1], **change)))
    assert one.id != two.id
    assert text(plan(one, SHAPE, 10)) != text(plan(two, SHAPE, 10))
    assert one.line() != two.line()


def test_numbers_of_either_kind_are_one_network() -> None:
    one, two = (Architecture((Stage(1, 8, gate="full", gate_bias=bias, residual_scaling=scale),))
                for bias, scale in ((-3, 1), (-3.0, 1.0)))
    assert one.id == two.id
    zero, negative = (Architecture((Stage(1, 8, gate="full", gate_bias=bias),)) for bias in (0.0, -0.0))
    assert zero.id == negative.id


def test_id_is_a_constant_of_the_network() -> None:
    """Databases hold ids: a change of this one makes every stored evaluation unreachable."""
    assert Architecture((Stage(2, 16), Stage(2, 32))).id == "7b6bec38243ba28f"


def test_canonical_is_its_own_canonical_form() -> None:
    for architecture in networks(40):
        assert architecture.canonical().canonical() == architecture.canonical()
        assert architecture.canonical().conflict() is None


def test_dictionary_round_trip() -> None:
    for architecture in networks(20):
        assert Architecture.from_dict(json.loads(json.dumps(architecture.to_dict()))) == architecture


def test_network_section_reads_back_as_the_same_network() -> None:
    for architecture in networks(40):
        section = json.loads(json.dumps(network_section(architecture)))
        study = study_from_spec({"name": "one", "network": section})
        assert study.space.axes == ()
        assert study.space.decode({}).id == architecture.id


@pytest.mark.parametrize(("stage", "shortcut", "rule"), [
    (Stage(1, 8, "bottleneck", bottleneck_ratio=0.5, cardinality=3, shortcut_depth=3), "B", "cardinality"),
    (Stage(1, 8, "bottleneck", shortcut_depth=2), "B", "shortcut_depth"),
    (Stage(1, 8, gate="carry"), "none", "gate"),
    (Stage(1, 8, gate="highway", residual_scaling=0.5), "B", "residual_scaling"),
])
def test_rules_between_knobs(stage: Stage, shortcut: str, rule: str) -> None:
    found = Architecture((stage,), stem_width=8, shortcut=shortcut).conflict()
    assert found is not None
    assert found[0] == rule
    assert found[1].startswith("stage1: ")


def test_shortcut_a_cannot_narrow() -> None:
    narrowing = Architecture((Stage(1, 16), Stage(1, 8)), shortcut="A")
    assert narrowing.conflict() == ("shortcut", "stage2: shortcut A cannot narrow 16 channels to 8")
    assert replace(narrowing, shortcut="B").conflict() is None


def test_cardinality_of_a_basic_block_is_no_conflict() -> None:
    assert Architecture((Stage(1, 9, cardinality=2),)).conflict() is None


def test_squeeze_is_never_of_nothing() -> None:
    assert Stage(1, 8, se_ratio=0.01).se_hidden == 1
    assert Stage(1, 48, se_ratio=1 / 16).se_hidden == 3
    assert Stage(1, 8).se_hidden == 0


def test_line_says_what_is_there_and_no_more() -> None:
    plain = Architecture((Stage(2, 16), Stage(3, 32)))
    assert plain.line() == "conv3x3-16 basic 2×16 3×32"
    narrow = Stage(1, 64, "bottleneck", cardinality=4, shortcut_depth=4, se_ratio=0.25, gate="highway")
    line = Architecture((replace(narrow, width=32), narrow), order="pre").line()
    assert line == "conv3x3-16 bottleneck 1×32 1×64 ratio=0.25 C=4 n=4 gate=highway SE=0.25 order=pre"
