"""Identity: spellings of one network share an id, networks that differ do not; plans by their text are the witness."""

from __future__ import annotations

import json
import math
import random
from collections import defaultdict
from dataclasses import replace

import pytest
from model_cases import drawn
from shipped import SPACE_NAMES, legal_points

from nas.architecture import CONFLICTING, NETWORK_KNOBS, STAGE_KNOBS, Architecture, Stage
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
    stages = tuple(_respelled(s, a.blocks, rng) for s in a.stages)
    network: dict[str, object] = {}
    if not any(s.block in {"bottleneck", "inverted"} for s in a.stages[1:]):
        network["stride_in"] = rng.choice(["conv3x3", "conv1x1"])
    first = a.stages[0]
    if len(a.stages) == 1 and first.width == a.stem_width:
        if a.shortcut in {"A", "B"}:
            network["shortcut"] = rng.choice(["A", "B"])
        if first.depth == 1:
            stages = (replace(stages[0], share=rng.choice(["none", "stage"])),)
    return replace(a, stages=stages, **network)


def _respelled(s: Stage, blocks: int, rng: random.Random) -> Stage:
    words = {"1/sqrt(L)": 1 / math.sqrt(blocks), "1/sqrt(k)": 1 / math.sqrt(s.branches)}
    changes: dict[str, object] = {"residual_scaling": float(words.get(s.residual_scaling, s.residual_scaling))}
    if s.block in {"basic", "convnext"}:
        changes |= {"cardinality": rng.choice([0, 1, 2, 8]), "base_width": rng.choice([0, 1, 64])}
    if s.block == "basic":
        changes["bottleneck_ratio"] = rng.choice([0.25, 0.5, 1.0])
    if s.block in {"bottleneck", "inverted"}:
        changes |= {"cardinality": s.groups} if s.cardinality == 0 else {}
        changes |= {"base_width": 0, "bottleneck_ratio": s.inner_width / s.width, "cardinality": s.groups} \
            if s.base_width else {}
    if s.block == "convnext":
        changes |= {"shortcut_depth": rng.choice([1, 2, 5]), "dilation": rng.choice([1, 2]),
                    "mixing": rng.choice(["none", "dilated"])}
    elif s.kernel == 1 or s.mixing != "none":
        changes["dilation"] = rng.choice([1, 2, 3])
    if s.gate == "none":
        changes |= {"gate_bias": rng.choice([-3.0, -1, 2.0]), "gate_kernel": rng.choice([1, 3])}
    if s.attention == "eca":
        changes["se_ratio"] = rng.choice([0.0, 0.25])
    elif s.se_ratio:
        changes["se_ratio"] = s.se_hidden / s.width
    if s.gain != "layerscale":
        changes["gain_init"] = rng.choice([1e-4, 1e-2])
    if s.depth == 1:
        changes["share"] = rng.choice(["none", "stage"])
    return replace(s, options=rng.choice([(), (("left", 1),)]), **changes)


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
    {"depth": 4}, {"width": 24}, {"block": "bottleneck", "shortcut_depth": 3}, {"kernel": 5}, {"shortcut_depth": 3},
    {"residual_scaling": 0.5}, {"residual_scaling": "1/sqrt(L)"}, {"gate": "highway"}, {"gate": "full"},
    {"se_ratio": 0.25}, {"attention": "eca"}, {"block": "inverted", "shortcut_depth": 3, "cardinality": 0},
    {"block": "convnext"}, {"block": "bottleneck", "shortcut_depth": 3, "base_width": 32}, {"dilation": 2},
    {"mixing": "dilated"}, {"branches": 2}, {"gain": "zero_gamma"}, {"gain": "skipinit"}, {"gain": "layerscale"},
    {"gain": "layerscale", "gain_init": 0.01}, {"dropout": 0.1}, {"share": "stage"},
]
NETWORK_CHANGES = [
    {"stem": "conv7x7_pool"}, {"stem": "patch2"}, {"stem_width": 8}, {"order": "pre"}, {"shortcut": "A"},
    {"shortcut": "none"}, {"activation": "gelu"}, {"activation": "identity"}, {"activation": "crelu", "order": "pre"},
    {"norm": "group"}, {"norm": "layer"}, {"norm": "none"}, {"init": "xavier"}, {"init": "orthogonal"},
    {"drop_path": 0.2}, {"memory": 4},
]


@pytest.mark.parametrize("change", [*CHANGES, *NETWORK_CHANGES], ids=str)
def test_every_knob_makes_another_network(change: dict[str, object]) -> None:
    one = Architecture((Stage(2, 16), Stage(3, 32)))
    two = replace(one, **change) if change in NETWORK_CHANGES else replace(
        one, stages=(one.stages[0], replace(one.stages[1], **change)))
    assert two.conflict() is None
    assert one.id != two.id
    assert text(plan(one, SHAPE, 10)) != text(plan(two, SHAPE, 10))
    assert one.line() != two.line()


def test_changes_are_of_every_knob() -> None:
    """A knob that is added must be added here."""
    changed = {name for change in [*CHANGES, *NETWORK_CHANGES] for name in change}
    idle = {"bottleneck_ratio", "cardinality", "gate_bias", "gate_kernel", "stride_in"}     # in a plain network
    assert changed | idle == {*STAGE_KNOBS, *NETWORK_KNOBS}


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


GROUPED = Stage(1, 8, "bottleneck", bottleneck_ratio=0.5, cardinality=2, shortcut_depth=3)


@pytest.mark.parametrize(("stage", "network", "rule", "words"), [
    (replace(GROUPED, cardinality=3), {}, "cardinality", "cardinality 3 does not divide the inner width 4"),
    (replace(GROUPED, base_width=16), {}, "base_width", "base_width 16 leaves no channel: 8 / 4 x 16 / 64 is below 1"),
    (replace(GROUPED, shortcut_depth=2), {}, "shortcut_depth", "a bottleneck's shortcut spans at least 3"),
    (replace(GROUPED, block="inverted", shortcut_depth=2), {}, "shortcut_depth", "a inverted's shortcut"),
    (replace(GROUPED, mixing="dilated"), {}, "mixing", "mixing needs a basic block"),
    (Stage(1, 8, shortcut_depth=1, mixing="dilated"), {}, "mixing", "mixing needs a basic block"),
    (Stage(1, 8, gate="carry"), {"shortcut": "none"}, "gate", "a gate needs a shortcut"),
    (Stage(1, 8, gate="highway", residual_scaling=0.5), {}, "residual_scaling", "T and 1 - T no longer sum to 1"),
    (Stage(4, 8, gate="highway", residual_scaling="1/sqrt(L)"), {}, "residual_scaling", "1/sqrt(L) beside a highway"),
    (Stage(1, 8, gain="zero_gamma"), {"order": "pre"}, "gain", "zero_gamma needs a norm at the end of the branch"),
    (Stage(1, 8, gain="zero_gamma"), {"norm": "none"}, "gain", "zero_gamma needs a norm at the end of the branch"),
    (Stage(1, 8, "convnext", gain="zero_gamma"), {}, "gain", "zero_gamma needs a norm at the end of the branch"),
    (Stage(1, 8, gain="zero_gamma"), {"shortcut": "none"}, "gain", "without a shortcut: nothing would pass"),
    (Stage(1, 8, gain="skipinit"), {"shortcut": "none"}, "gain", "without a shortcut: nothing would pass"),
])
def test_rules_between_knobs(stage: Stage, network: dict[str, str], rule: str, words: str) -> None:
    found = Architecture((stage,), stem_width=8, **network).conflict()
    assert found is not None
    assert found[0] == rule
    assert found[1].startswith("stage1: ")
    assert words in found[1]
    assert rule in CONFLICTING


@pytest.mark.parametrize(("network", "rule", "words"), [
    ({"activation": "crelu"}, "activation", "crelu after the sum would double its channels"),
    ({"init": "looks_linear"}, "init", "looks_linear is of networks with crelu, not relu"),
    ({"drop_path": 0.1, "shortcut": "none"}, "drop_path", "drop_path without a shortcut"),
])
def test_rules_of_the_whole_network(network: dict[str, object], rule: str, words: str) -> None:
    found = Architecture((Stage(1, 8),), **network).conflict()
    assert found is not None
    assert found[0] == rule
    assert words in found[1]
    assert rule in CONFLICTING


def test_alpha_that_comes_to_one_is_no_conflict_beside_a_highway_gate() -> None:
    for alpha, branches in (("1/sqrt(k)", 1), ("1/sqrt(L)", 2)):
        network = Architecture((Stage(1, 8, gate="highway", residual_scaling=alpha, branches=branches),))
        assert network.conflict() is None
        assert network.canonical().conflict() is None


@pytest.mark.parametrize(("stage", "words"), [
    (Stage(1, 8, shortcut_depth=3, gain="zero_gamma"), "a zero Hessian, and training may stall"),
    (Stage(1, 8, shortcut_depth=3, gain="skipinit"), "a zero Hessian, and training may stall"),
    (Stage(1, 8, gate="full", se_ratio=0.25), "a gate and channel attention on one branch"),
    (Stage(1, 8, gate="full", attention="eca"), "a gate and channel attention on one branch"),
])
def test_cautions(stage: Stage, words: str) -> None:
    network = Architecture((stage, stage))
    assert network.conflict() is None
    assert len(network.cautions()) == 1         # once, not a stage
    assert words in network.cautions()[0]


def test_branches_without_norms_are_cautioned_unless_scaled() -> None:
    for alpha, count in ((1.0, 1), ("1/sqrt(k)", 0)):
        network = Architecture((Stage(1, 8, branches=3, residual_scaling=alpha),), norm="none")
        assert len(network.cautions()) == count
    assert Architecture((Stage(2, 8), Stage(2, 16))).cautions() == ()


def test_cardinality_and_branches_go_together() -> None:
    network = Architecture((replace(GROUPED, branches=2, residual_scaling="1/sqrt(k)"),))
    assert network.conflict() is None
    assert network.canonical().stages[0].residual_scaling == pytest.approx(2**-0.5)


def test_shortcut_a_behind_a_crelu_takes_twice_the_channels() -> None:
    network = Architecture((Stage(1, 16), Stage(1, 24)), order="pre", activation="crelu", shortcut="A")
    assert network.conflict() == (
        "shortcut", "stage2: shortcut A cannot narrow 32 channels behind a crelu to 24")
    assert replace(network, stages=(Stage(1, 16), Stage(1, 32))).conflict() is None


def test_cardinality_of_a_basic_block_is_no_conflict() -> None:
    assert Architecture((Stage(1, 9, cardinality=2),)).conflict() is None


def test_squeeze_is_never_of_nothing() -> None:
    assert Stage(1, 8, se_ratio=0.01).se_hidden == 1
    assert Stage(1, 48, se_ratio=1 / 16).se_hidden == 3
    assert Stage(1, 8).se_hidden == 0


def test_line_says_what_is_there_and_no_more() -> None:
    plain = Architecture((Stage(2, 16), Stage(3, 32)))
    assert plain.line() == "conv3x3-16 basic 2×16 3×32"
    narrow = Stage(1, 64, "bottleneck", cardinality=4, shortcut_depth=4, se_ratio=0.25, gate="highway", gain="skipinit")
    line = Architecture((replace(narrow, width=32), narrow), order="pre").line()
    assert line == "conv3x3-16 bottleneck 1×32 1×64 ratio=0.25 C=4 n=4 SE=0.25 gate=highway gain=skipinit order=pre"
