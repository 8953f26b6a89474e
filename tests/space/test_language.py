"""The language: four forms, rules, limits; how each mistake is named."""

from __future__ import annotations

import random

import pytest
from space_cases import axis, domain, mistake, mistakes, names, space

from nas.architecture import Stage
from nas.errors import InvalidInput
from nas.space import Choice, Limit, Range


def stages(found: tuple[Stage, ...], knob: str) -> list[object]:
    return [getattr(stage, knob) for stage in found]


# --- the four forms -------------------------------------------------------------------------------------------------

def test_bare_values_are_fixed() -> None:
    found = space("{depth: 3, width: 24, se_ratio: 1/16, order: pre, stem: {kind: conv7x7_pool, width: 12}, stages: 2}")
    assert found.axes == ()
    network = found.decode({})
    assert (network.order, network.stem, network.stem_width) == ("pre", "conv7x7_pool", 12)
    assert network.stages == (Stage(3, 24, se_ratio=1 / 16),) * 2


def test_lists_are_choices_in_the_order_written() -> None:
    found = space("{width: [32, 8, 16], gate: [full, none], residual_scaling: [1, 1/2]}")
    assert domain(found, "width") == Choice((32, 8, 16))
    assert domain(found, "gate") == Choice(("full", "none"))
    assert domain(found, "residual_scaling") == Choice((1.0, 0.5))
    assert stages(found.decode({"width": 8, "gate": "full"}).stages, "width") == [8, 8, 8]


@pytest.mark.parametrize(("form", "expected"), [
    ("{from: 1, to: 4}", Range(1, 4, True)),
    ("{from: 1, to: 64, log: true}", Range(1, 64, True, True)),
    ("{from: 1, to: 4, log: false}", Range(1, 4, True)),
    ("{from: 2, to: 8, step: 3}", Choice((2, 5, 8))),
    ("{from: 2, to: 2}", None), ("{from: 2, to: 2, step: 1}", None), ("[2]", None)])
def test_ranges_of_whole_numbers(form: str, expected: object) -> None:
    found = space(f"{{depth: {form}}}")
    assert (domain(found, "depth") if found.axes else None) == expected
    if expected is None:
        assert stages(found.decode({}).stages, "depth") == [2, 2, 2]


@pytest.mark.parametrize(("form", "expected"), [
    ("{from: 0.1, to: 1}", Range(0.1, 1, False)),
    ("{from: 0.1, to: 1.0, log: true}", Range(0.1, 1, False, True)),
    ("{from: 0.1, to: 0.7, step: 0.2}", Choice((0.1, 0.3, 0.5, 0.7))),
    ("{from: 1/4, to: 1, step: 1/4}", Choice((0.25, 0.5, 0.75, 1.0)))])
def test_ranges_of_numbers(form: str, expected: object) -> None:
    assert domain(space(f"{{residual_scaling: {form}}}"), "residual_scaling") == expected


def test_each_stage_its_own() -> None:
    found = space("{depth: {per_stage: {from: 1, to: 4}}}")
    assert names(found) == ["stage1.depth", "stage2.depth", "stage3.depth"]
    assert [a.stages for a in found.axes] == [(1,), (2,), (3,)]
    point = {"stage1.depth": 1, "stage2.depth": 4, "stage3.depth": 2}
    assert stages(found.decode(point).stages, "depth") == [1, 4, 2]


def test_each_stage_by_number() -> None:
    found = space("{depth: {per_stage: {1: 2, 3: [3, 4], 2: {from: 1, to: 5}}}}")
    assert names(found) == ["stage2.depth", "stage3.depth"]
    assert domain(found, "stage2.depth") == Range(1, 5, True)
    assert stages(found.decode({"stage2.depth": 5, "stage3.depth": 4}).stages, "depth") == [2, 5, 4]


def test_tied_by_growth() -> None:
    found = space("{width: {first: [8, 10], growth: [1.5, 2]}}")
    assert names(found) == ["width.first", "width.growth"]
    assert stages(found.decode({"width.first": 10, "width.growth": 1.5}).stages, "width") == [10, 15, 23]   # 22.5
    assert stages(found.decode({"width.first": 8, "width.growth": 2.0}).stages, "width") == [8, 16, 32]


def test_growth_may_be_fixed_and_may_shrink() -> None:
    found = space("{width: {first: 64, growth: 0.5}, se_ratio: {first: [1/4, 1], growth: 1/2}}")
    assert names(found) == ["se_ratio.first"]
    network = found.decode({"se_ratio.first": 1.0})
    assert stages(network.stages, "width") == [64, 32, 16]
    assert stages(network.stages, "se_ratio") == [1.0, 0.5, 0.25]


def test_growth_stays_within_the_bounds_of_the_knob() -> None:
    found = space("{stages: 8, width: {first: 1024, growth: 16}, depth: {first: 1, growth: 0.1}}")
    assert stages(found.decode({}).stages, "width") == [1024] + [16_384] * 7
    assert stages(found.decode({}).stages, "depth") == [1] * 8


def test_growth_of_a_single_stage_is_no_axis_where_stages_vary() -> None:
    found = space("{stages: [1, 3], width: {first: [8, 16], growth: [1, 2]}}")
    assert "width.growth" not in found.sample(first_that(found, stages=1))
    assert "width.growth" in found.sample(first_that(found, stages=3))


def first_that(found: object, **wanted: object) -> random.Random:
    """A generator whose next sample has these values."""
    for seed in range(1000):
        point = found.sample(random.Random(seed))  # type: ignore[attr-defined]
        if all(point[name] == value for name, value in wanted.items()):
            return random.Random(seed)
    raise AssertionError(wanted)


def test_defaults_of_what_is_not_written() -> None:
    network = space("{depth: [1, 2]}").decode({"depth": 1})
    assert network.stages == (Stage(1, 32),) * 3
    assert space("{block: [basic, bottleneck]}").decode({"block": "bottleneck"}).stages[0].shortcut_depth == 3
    assert space("{block: [basic, bottleneck]}").decode({"block": "basic"}).stages[0].shortcut_depth == 2


def test_number_of_stages_is_an_axis() -> None:
    found = space("{stages: {from: 1, to: 4}, depth: {per_stage: [1, 2]}}")
    assert names(found) == ["stages", *(f"stage{n}.depth" for n in (1, 2, 3, 4))]
    assert found.most_stages == 4
    assert set(found.sample(first_that(found, stages=2))) == {"stages", "stage1.depth", "stage2.depth"}
    assert len(found.decode({"stages": 2, "stage1.depth": 1, "stage2.depth": 2}).stages) == 2


def test_what_decides_comes_first() -> None:
    found = space("{cardinality: [1, 2], bottleneck_ratio: [0.5, 1], gate_bias: [-1, -2], gate: [none, full], "
                  "block: [basic, bottleneck], stages: [1, 2]}")
    order = names(found)
    assert order[0] == "stages"
    assert order.index("block") < min(order.index("cardinality"), order.index("bottleneck_ratio"))
    assert order.index("gate") < order.index("gate_bias")


def test_rules_put_what_they_read_first() -> None:
    found = space("{depth: [1, 2], width: [8, 16], se_ratio: [0, 1/4]}",
                  "[{when: {se_ratio: 1/4}, set: {width: 8}}, {when: {width: 16}, set: {depth: 1}}]")
    assert names(found) == ["se_ratio", "width", "depth"]


# --- conditions and rules -------------------------------------------------------------------------------------------

def test_cardinality_exists_only_in_bottlenecks() -> None:
    found = space("{block: [basic, bottleneck], cardinality: [1, 2], bottleneck_ratio: [0.5, 1]}")
    assert set(found.sample(first_that(found, block="basic"))) == {"block"}
    assert set(found.sample(first_that(found, block="bottleneck"))) == {"block", "cardinality", "bottleneck_ratio"}


def test_cardinality_of_each_stage_follows_its_block() -> None:
    found = space("{stages: 2, block: {per_stage: {1: basic, 2: [basic, bottleneck]}}, "
                  "cardinality: {per_stage: [1, 2]}}")
    assert set(found.sample(first_that(found, **{"stage2.block": "bottleneck"}))) == {
        "stage2.block", "stage2.cardinality"}


def test_rule_sets_and_takes_the_axis_away() -> None:
    found = space("{gate: [none, highway], residual_scaling: [0.1, 0.5]}",
                  "[{when: {gate: highway}, set: {residual_scaling: 1.0}}]")
    gated = found.sample(first_that(found, gate="highway"))
    assert gated == {"gate": "highway"}
    assert stages(found.decode(gated).stages, "residual_scaling") == [1.0] * 3
    assert "residual_scaling" in found.sample(first_that(found, gate="none"))


def test_rule_holds_stage_by_stage() -> None:
    found = space("{stages: 2, gate: {per_stage: [none, highway]}, residual_scaling: {per_stage: [0.1, 0.5]}}",
                  "[{when: {gate: highway}, set: {residual_scaling: 1.0}}]")
    point = found.sample(first_that(found, **{"stage1.gate": "highway", "stage2.gate": "none"}))
    assert set(point) == {"stage1.gate", "stage2.gate", "stage2.residual_scaling"}
    assert stages(found.decode(point).stages, "residual_scaling") == [1.0, point["stage2.residual_scaling"]]


def test_shared_axis_lives_while_one_stage_needs_it() -> None:
    found = space("{stages: 2, gate: {per_stage: [none, highway]}, residual_scaling: [0.1, 0.5]}",
                  "[{when: {gate: highway}, set: {residual_scaling: 1.0}}]")
    one = found.sample(first_that(found, **{"stage1.gate": "highway", "stage2.gate": "none"}))
    both = found.sample(first_that(found, **{"stage1.gate": "highway", "stage2.gate": "highway"}))
    assert "residual_scaling" in one
    assert "residual_scaling" not in both


def test_rule_of_one_stage_on_another() -> None:
    found = space("{stages: 2, depth: {per_stage: [1, 2]}, width: {per_stage: [8, 16]}}",
                  "[{when: {stage1.depth: 2}, set: {stage2.width: 7}}]")
    point = found.sample(first_that(found, **{"stage1.depth": 2, "stage1.width": 8}))
    assert set(point) == {"stage1.depth", "stage2.depth", "stage1.width"}
    assert stages(found.decode(point).stages, "width") == [8, 7]
    assert "stage2.width" in found.sample(first_that(found, **{"stage1.depth": 1}))


def test_rule_on_a_network_wide_knob_by_a_stage() -> None:
    found = space("{shortcut: [A, B], gate: {per_stage: [none, full]}}",
                  "[{when: {stage1.gate: full}, set: {shortcut: C}}]")
    gated = found.sample(first_that(found, **{"stage1.gate": "full"}))
    assert "shortcut" not in gated
    assert found.decode(gated).shortcut == "C"
    assert "shortcut" in found.sample(first_that(found, **{"stage1.gate": "none"}))


@pytest.mark.parametrize(("when", "depth", "holds"), [
    ("{depth: {from: 2, to: 3}}", 3, True), ("{depth: {from: 2, to: 3}}", 4, False), ("{depth: [1, 4]}", 4, True),
    ("{depth: [1, 4]}", 2, False), ("{depth: 4, order: post}", 4, True), ("{depth: 4, order: pre}", 4, False),
    ("{stages: 3}", 1, True), ("{stage3.depth: 4}", 4, True)])
def test_conditions(when: str, depth: int, holds: bool) -> None:
    found = space("{depth: {from: 1, to: 4}}", f"[{{when: {when}, set: {{width: 8}}}}]")
    assert stages(found.decode({"depth": depth}).stages, "width") == ([8] if holds else [32]) * 3


def test_condition_on_a_stage_that_is_not_there() -> None:
    found = space("{stages: [1, 2], depth: 1}", "[{when: {stage2.depth: 1}, set: {width: 8}}]")
    assert stages(found.decode({"stages": 1}).stages, "width") == [32]
    assert stages(found.decode({"stages": 2}).stages, "width") == [8, 8]


def test_rules_see_what_other_rules_set_in_any_order() -> None:
    rules = ["{when: {gate: full}, set: {width: 8}}", "{when: {width: 8}, set: {depth: 5}}"]
    for written in (rules, rules[::-1]):
        found = space("{gate: [none, full], width: [16, 24]}", f"[{', '.join(written)}]")
        assert stages(found.decode({"gate": "full"}).stages, "depth") == [5] * 3
        assert stages(found.decode({"gate": "none", "width": 16}).stages, "depth") == [2] * 3


def test_last_of_two_rules_on_one_knob_wins() -> None:
    rules = "[{when: {gate: full}, set: {width: 8}}, {when: {order: post}, set: {width: 9}}]"
    found = space("{gate: [none, full]}", rules)
    assert stages(found.decode({"gate": "full"}).stages, "width") == [9] * 3


def test_regnet_is_of_bottlenecks_unless_told() -> None:
    numbers = "regnet: {depth: 4, w_0: 16, w_a: 8, w_m: 2}"
    plain, same, other = (space(f"{{{block}{numbers}}}").decode({})
                          for block in ("", "block: bottleneck, ", "block: basic, "))
    assert plain.id == same.id != other.id
    assert {stage.block for stage in plain.stages} == {"bottleneck"}
    assert {stage.shortcut_depth for stage in plain.stages} == {3}


def test_limits() -> None:
    found = space("{depth: 1}", limits="{macs: {from: 1k, to: 60M}, params: {to: 2M}, activations: {from: 5}}")
    assert [limit[:3] for limit in found.limits] == [
        ("macs", 1000, 60_000_000), ("params", None, 2_000_000), ("activations", 5, None)]


def test_excess_is_a_share_of_the_bound() -> None:
    from nas.cost import Cost

    limit = Limit("macs", 100, 200)
    assert [round(limit.excess(Cost(1, macs, 1)), 9) for macs in (50, 100, 150, 200, 300)] == [0.5, 0, -0.25, 0, 0.5]


# --- mistakes -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("network", "words"), [
    ("{^dpeth: 1}", "network.dpeth: is not a knob; did you mean depth?"),
    ("{^qqq: 1}", "network.qqq: is not a knob; known: activation, attention, base_width"),
    ("{^stem: 16}", "stem is written {kind: ..., width: ...}"),
    ("{stem: {^colour: 3}}", "network.stem.colour: is not a knob"),
    ("{^stem.width: 3}", "network.stem.width: is not a knob"),
    ("{^depth: one}", "network.depth: one: must be a whole number"),
    ("{^depth: 1.5}", "network.depth: 1.5: must be a whole number"),
    ("{^depth: true}", "network.depth: True: must be a whole number"),
    ("{^depth: null}", "network.depth: null: must be a whole number"),
    ("{^depth: 0}", "network.depth: 0: must be from 1 to 1000"),
    ("{^depth: -3}", "must be from 1 to 1000"),
    ("{^depth: 99999999999999999999}", "must be from 1 to 1000"),
    ("{^depth: 1e3}", "must be a whole number"),
    ("{^width: 16385}", "must be from 1 to 16384"),
    ("{^residual_scaling: .inf}", "must be a number"),
    ("{^residual_scaling: .nan}", "must be a number"),
    ("{residual_scaling: [^.NaN, 1]}", "must be a number"),
    ("{^residual_scaling: 0}", "must be from 0.001 to 10"),
    ("{^se_ratio: 1/0}", "must be a number, or a fraction"),
    ("{^se_ratio: 17/16}", "must be from 0 to 1"),
    ("{^kernel: 4}", "must be odd"),
    ("{^kernel: {from: 3, to: 7}}", "passes even numbers"),
    ("{kernel: {from: 3, to: 7, ^step: 1}}", "passes even numbers"),
    ("{^kernel: {first: 3, growth: 2}}", "must be odd, so it cannot grow"),
    ("{gate_kernel: [1, ^2]}", "must be odd"),
    ("{^order: port}", "must be one of post, pre; did you mean post?"),
    ("{^norm: what}", "network.norm: what: must be one of batch, group, layer, none"),
    ("{^block: my_blocks.separable}", "bottleneck, inverted, convnext; write my_blocks:separable"),
    ("{^block: q}", "must be one of basic, bottleneck, inverted, convnext; your own is written module:function"),
    ("{^shortcut: {per_stage: [A, B]}}", "is one knob for the whole network, not one a stage; write a value, a list"),
    ("{block: [basic, bottleneck], ^options: {repeats: 2}}", "network.options: are knobs of a block of your own"),
    ("{gate: [none, ^highwya]}", "did you mean highway?"),
    ("{^order: {from: 1, to: 2}}", "is none of the forms"),
    ("{^order: {first: 1, growth: 2}}", "is one knob for the whole network"),
    ("{^gate: {first: none, growth: 2}}", "holds words, which cannot grow"),
    ("{^depth: []}", "is an empty list of choices"),
    ("{depth: [^[1]]}", "must be a whole number"),
    ("{depth: [1, 2, ^1]}", "is given twice among the choices"),
    ("{residual_scaling: [1, ^1.0]}", "is given twice among the choices"),
    ("{^depth: {}}", "is none of the forms"),
    ("{^depth: {min: 1, max: 2}}", "is none of the forms"),
    ("{^depth: {from: 1}}", "needs both from and to"),
    ("{^depth: {from: 4, to: 1}}", "is an empty range: from is above to; swap them"),
    ("{depth: {from: 1, to: 4, ^stpe: 1}}", "did you mean step?"),
    ("{depth: {from: 1, to: 4, ^step: 2}}", "does not lead from 1 to 4 in whole steps"),
    ("{depth: {from: 1, to: 4, ^step: 0}}", "does not lead"),
    ("{depth: {from: 1, to: 4, ^step: -1}}", "does not lead"),
    ("{depth: {from: 1, to: 4, ^step: 1.5}}", "does not lead"),
    ("{depth: {from: 1, to: 4, ^step: .nan}}", "must be a number"),
    ("{depth: {from: 1, to: 4, ^step: x}}", "must be a number"),
    ("{residual_scaling: {from: 0.1, to: 1, ^step: 1e-9}}", "does not lead"),
    ("{residual_scaling: {from: 0.1, to: 1, ^step: 1e-320}}", "does not lead"),
    ("{depth: {from: 1, to: 4, ^log: 1}}", "must be true or false"),
    ("{^depth: {from: 1, to: 4, log: true, step: 1}}", "log goes with neither"),
    ("{^se_ratio: {from: 0, to: 1, log: true}}", "log goes with neither"),
    ("{depth: {^per_stage: {1: 1, 2: 2}}}", "must give stages 1 to 3; add 3"),
    ("{depth: {^per_stage: {1: 1, 2: 2, 3: 3, 4: 4}}}", "must give stages 1 to 3; remove 4"),
    ("{depth: {per_stage: {1: 1, ^2: x, 3: 3}}}", "network.depth.per_stage.2: x: must be a whole number"),
    ("{depth: {^per_stage: x}}", "must be a whole number"),
    ("{depth: {^per_stage: {per_stage: 1}}}", "is none of the forms"),
    ("{depth: {per_stage: 1, ^first: 2}}", "network.depth.first: is not known here"),
    ("{^order: {per_stage: post}}", "is one knob for the whole network"),
    ("{^width: {first: 8}}", "needs both first and growth"),
    ("{^width: {growth: 2}}", "needs both first and growth"),
    ("{width: {first: 8, ^growth: 0}}", "must be from 0.1 to 16"),
    ("{width: {first: 8, growth: 2, ^last: 9}}", "is not known here"),
    ("{width: {^first: {per_stage: 8}, growth: 2}}", "is none of the forms"),
    ("{^stages: 9}", "must be from 1 to 8"),
    ("{^stages: {per_stage: 1}}", "is one knob for the whole network"),
    ("{}", "holds no knob"),
    ("[]", "must be a mapping"),
    ("5", "must be a mapping"),
    ("null", "is missing"),
    (f"{{^residual_scaling: {[n / 10_000 for n in range(2000, 4000)]}}}", "more than 1000 choices"),
])
def test_mistakes_of_the_network(network: str, words: str) -> None:
    """The mark ^ stands before the place that the line must name; without one it is the section's."""
    line = mistake("network: " + network.replace("^", ""))
    column = len("network: ") + network.find("^") + 1 if "^" in network else 1
    assert line.startswith(f"s.yaml:1:{column}: network"), line
    assert words in line
    assert "known: batch" not in line, "the choices are said once"


@pytest.mark.parametrize(("rules", "words"), [
    ("5", "rules: must be a list"),
    ("{when: {depth: 1}}", "rules: must be a list"),
    ("[5]", "rules.0: must have when"),
    ("[{when: {depth: 1}}]", "rules.0: must have when"),
    ("[{when: {}, set: {depth: 1}}]", "rules.0: must have when"),
    ("[{when: [depth], set: {depth: 1}}]", "rules.0: must have when"),
    ("[{when: {depth: 1}, set: {width: 8}, else: 1}]", "rules.0.else: is not known here"),
    ("[{when: {dpeth: 1}, set: {width: 8}}]", "rules.0.when.dpeth: is not a knob; did you mean depth?"),
    ("[{when: {depth: 1}, set: {wdith: 8}}]", "rules.0.set.wdith: is not a knob; did you mean width?"),
    ("[{when: {depth: 0}, set: {width: 8}}]", "rules.0.when.depth: 0: must be from 1 to 1000"),
    ("[{when: {depth: []}, set: {width: 8}}]", "rules.0.when.depth: must be from 1 to 1000 values"),
    ("[{when: {depth: {from: 3, to: 1}}, set: {width: 8}}]", "rules.0.when.depth: {'from': 3, 'to': 1}: is an empty"),
    ("[{when: {depth: {from: 3}}, set: {width: 8}}]", "rules.0.when.depth: {'from': 3}: must be a whole number"),
    ("[{when: {order: {from: post, to: pre}}, set: {width: 8}}]", "holds words, which have no range"),
    ("[{when: {gate: hihgway}, set: {width: 8}}]", "did you mean highway?"),
    ("[{when: {depth: 1}, set: {width: [8, 9]}}]", "rules.0.set.width: [8, 9]: must be a whole number"),
    ("[{when: {depth: 1}, set: {kernel: 2}}]", "must be odd"),
    ("[{when: {depth: 1}, set: {stages: 2}}]", "is decided before any rule"),
    ("[{when: {stage4.depth: 1}, set: {width: 8}}]", "names a stage beyond 3"),
    ("[{when: {stage².depth: 1}, set: {width: 8}}]", "is not a knob"),
    ("[{when: {stage1.order: pre}, set: {width: 8}}]", "is not a knob"),
    ("[{when: {gate: full}, set: {order: pre}}]", "is network-wide, but a condition holds stage by stage"),
])
def test_mistakes_of_rules(rules: str, words: str) -> None:
    line = mistake(f"network: {{depth: 1}}\nrules: {rules}")
    assert line.startswith("s.yaml:2:"), line
    assert words in line


@pytest.mark.parametrize("rules", [
    "[{when: {depth: 1}, set: {depth: 2}}]",
    "[{when: {depth: 1}, set: {width: 8}}, {when: {width: 8}, set: {depth: 2}}]",
    "[{when: {cardinality: 2}, set: {block: basic}}]"])
def test_rules_in_a_circle(rules: str) -> None:
    line = mistake(f"network: {{depth: [1, 2], cardinality: [1, 2], block: [basic, bottleneck]}}\nrules: {rules}")
    assert line.startswith("s.yaml:2:1: rules: decide each other in a circle: ")
    assert line.endswith("; remove a rule")


@pytest.mark.parametrize(("limits", "words"), [
    ("5", "limits: must be a mapping"),
    ("[]", "limits: must be a mapping"),
    ("{mac: {to: 1M}}", "limits.mac: is not a cost; did you mean macs?"),
    ("{flops: {to: 1M}}", "limits.flops: is not a cost"),
    ("{macs: 60M}", "limits.macs: 60M: must be {from: ..., to: ...}"),
    ("{macs: {}}", "must be {from: ..., to: ...}"),
    ("{macs: {to: null}}", "must be {from: ..., to: ...}"),
    ("{macs: {max: 60M}}", "limits.macs.max: is not known here"),
    ("{macs: {to: 60MB}}", "limits.macs.to: 60MB: must be a count"),
    ("{macs: {to: -1}}", "limits.macs.to: -1: must be a count"),
    ("{macs: {to: .inf}}", "limits.macs.to: inf: must be a count"),
    ("{macs: {to: .nan}}", "limits.macs.to: nan: must be a count"),
    ("{macs: {to: 1e300}}", "must be a whole count of at most 1e+18"),
    ("{macs: {to: true}}", "must be a count"),
    ("{macs: {to: 0}}", "limits.macs.to: 0: leaves no network"),
    ("{macs: {from: 2M, to: 1M}}", "limits.macs: {'from': '2M', 'to': '1M'}: is empty: from is above to"),
])
def test_mistakes_of_limits(limits: str, words: str) -> None:
    line = mistake(f"network: {{depth: 1}}\nlimits: {limits}")
    assert line.startswith("s.yaml:2:"), line
    assert words in line


def test_all_mistakes_in_one_go() -> None:
    found = mistakes("network: {dpeth: 1, width: x}\nrules: [{when: {a: 1}, set: {b: 2}}]\nlimits: {mac: 1}\n"
                     "objectives: {speed: max}\nbudget: {trials: 0}\nseed: -1\nname: ../up\nwhat: 1")
    assert sorted(line.split(": ")[1] for line in found) == [
        "budget.trials", "limits.mac", "name", "network.dpeth", "network.width", "objectives.speed", "rules.0.set.b",
        "rules.0.when.a", "seed", "what"]


def test_same_form_for_every_stage_is_complained_of_once() -> None:
    assert len(mistakes("network: {depth: {per_stage: [x, y]}}")) == 2


def test_thousands_of_mistakes_are_not_thousands_of_lines() -> None:
    with pytest.raises(InvalidInput) as caught:
        space(f"{{{', '.join(f'k{n}: 1' for n in range(300))}}}")
    lines = str(caught.value).splitlines()
    assert len(lines) == 50
    assert lines[-1].endswith("(and 250 more mistakes)")
    assert len(caught.value.problems) == 300


def test_axis_of_the_helper() -> None:
    assert axis(space("{depth: [1, 2]}"), "depth").stages == (1, 2, 3)
