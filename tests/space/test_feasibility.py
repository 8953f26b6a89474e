"""What can be said before anything is spent: what is never legal, the extremes, and limits that nothing can meet."""

from __future__ import annotations

import pytest
from space_cases import CLASSES, SHAPE, SPACES, mistake, space, study
from test_space_points import listed

from nas.errors import InvalidInput
from nas.feasibility import check_limits, extremes, survey
from nas.study import load_study

NARROW = "{stages: 2, block: bottleneck, bottleneck_ratio: 0.5, width: [8, 16, 24]}"


@pytest.mark.parametrize(("network", "words"), [
    ("{block: bottleneck, width: 8, bottleneck_ratio: 0.5, cardinality: [1, ^3]}",
     "network.cardinality.1: 3: is never legal here: stage1: cardinality 3 does not divide the inner width 4"),
    ("{block: bottleneck, shortcut_depth: [^2, 3]}",
     "network.shortcut_depth.0: 2: is never legal here: stage1: a bottleneck's shortcut spans at least 3"),
    ("{shortcut: none, gate: [none, ^full]}",
     "network.gate.1: full: is never legal here: stage1: a gate needs a shortcut"),
])
def test_choices_that_are_never_legal(network: str, words: str) -> None:
    column = len("network: ") + network.index("^") + 1
    assert mistake("network: " + network.replace("^", "")).startswith(f"s.yaml:1:{column}: {words}")


@pytest.mark.parametrize(("network", "words"), [
    ("{block: bottleneck, width: 8, bottleneck_ratio: 0.5, cardinality: 3}", "does not divide the inner width 4"),
    ("{shortcut: none, gate: full}", "a gate needs a shortcut, and shortcut is none"),
    ("{gate: highway, residual_scaling: 0.5}", "T and 1 - T no longer sum to 1"),
    ("{shortcut: A, width: {first: 32, growth: 0.5}}", "shortcut A cannot narrow 32 channels to 16"),
])
def test_space_without_a_legal_network(network: str, words: str) -> None:
    line = mistake(f"network: {network}")
    assert line.startswith("s.yaml:1:")
    assert "no network of the space is legal" in line
    assert words in line


def test_levels_that_have_nothing_to_halve_are_said() -> None:
    """Chang et al. 2018 double every level: 2 levels want a stage of 3 blocks at least."""
    said = survey(space("{stages: 2, depth: {per_stage: {1: [1, 2, 3, 4], 2: 1}}}"), SHAPE, CLASSES, 400)
    (line, share), = said.cautions(levels=2).items()
    assert line.startswith("recipe.levels 2 without a stage of more than 2 blocks: ")
    assert share == pytest.approx(0.5, abs=0.1)
    assert said.cautions() == said.cautions(levels=0) == {}
    assert said.cautions(levels=1).popitem()[1] == pytest.approx(0.25, abs=0.1)


def test_choices_that_are_legal_somewhere_stay() -> None:
    assert study("{block: bottleneck, width: [8, 24], bottleneck_ratio: 0.5, cardinality: [1, 3]}").space.axes


@pytest.mark.parametrize("cost", ["params", "macs", "activations"])
@pytest.mark.parametrize("network", [
    "{stages: 2, depth: {per_stage: [1, 3]}, width: {first: [8, 24], growth: [0.5, 1, 2]}}",
    "{stages: [1, 2], block: [basic, bottleneck], cardinality: [1, 2], width: {per_stage: [8, 32]}, se_ratio: [0, 1]}",
])
def test_extremes_are_the_extremes(network: str, cost: str) -> None:
    """Against listing every network."""
    found = space(network)
    every = [getattr(judged.cost, cost) for judged in (found.judge(point, SHAPE, CLASSES) for point in listed(found))
             if judged.cost]
    ends = extremes(found, SHAPE, CLASSES, by=cost)
    assert ends is not None
    assert [getattr(end[1], cost) for end in ends] == [min(every), max(every)]


@pytest.mark.slow
def test_extremes_of_shipped_spaces_hold_the_samples() -> None:
    for path in SPACES:
        found = load_study(path).space
        ends = extremes(found, SHAPE, CLASSES)
        assert ends is not None
        seen = survey(found, SHAPE, CLASSES, draws=100, seed=3)
        macs = [judged.cost.macs for _, judged in seen.feasible if judged.cost]
        assert ends.smallest[1].macs <= min(macs)
        assert max(macs) <= ends.largest[1].macs


def bounds(network: str, cost: str) -> tuple[int, int]:
    ends = extremes(space(network), SHAPE, CLASSES, by=cost)
    assert ends is not None
    return getattr(ends.smallest[1], cost), getattr(ends.largest[1], cost)


@pytest.mark.parametrize("cost", ["params", "macs", "activations"])
def test_limits_that_nothing_can_meet(cost: str) -> None:
    least, most = bounds(NARROW, cost)
    check_limits(space(NARROW, limits=f"{{{cost}: {{from: {most}}}}}"), SHAPE, CLASSES)
    check_limits(space(NARROW, limits=f"{{{cost}: {{to: {least}}}}}"), SHAPE, CLASSES)
    for bound, value, words in (("to", least - 1, "is below the smallest network of the space"),
                                ("from", most + 1, "is above the largest network of the space")):
        with pytest.raises(InvalidInput) as caught:
            check_limits(space(NARROW, limits=f"{{{cost}: {{{bound}: {value}}}}}"), SHAPE, CLASSES)
        line = str(caught.value)
        assert line.startswith(f"limits.{cost}.{bound}: ")
        assert words in line
        assert "at 8x8 pixels" in line


def test_all_limits_that_nothing_can_meet_are_said() -> None:
    with pytest.raises(InvalidInput) as caught:
        check_limits(space(NARROW, limits="{macs: {to: 1}, params: {from: 1T}}"), SHAPE, CLASSES)
    assert len(str(caught.value).splitlines()) == 2


def test_limits_on_params_are_not_judged_by_the_network_of_fewest_macs() -> None:
    """Late stages hold the weights, early ones the multiply-adds: the two extremes are two networks."""
    network = ("{stages: 3, width: {per_stage: {1: [8, 64], 2: 8, 3: [8, 64]}}, "
               "depth: {per_stage: {1: [1, 9], 2: 1, 3: 1}}}")
    for cost in ("params", "macs", "activations"):
        least, _ = bounds(network, cost)
        check_limits(space(network, limits=f"{{{cost}: {{to: {least}}}}}"), SHAPE, CLASSES)


def test_survey_counts_what_is_broken() -> None:
    found = space("{block: bottleneck, width: 8, bottleneck_ratio: [0.5, 3/8], cardinality: [1, 3], "
                  "gate_bias: [-1, -2]}")
    seen = survey(found, SHAPE, CLASSES, draws=400)
    assert seen.drawn == 400
    assert len(seen.feasible) + sum(seen.broken.values()) == 400
    assert set(seen.broken) == {"cardinality"}
    assert seen.share == pytest.approx(0.75, abs=0.08)
    assert seen.idle == ("gate_bias",)


def test_what_is_seldom_wise_is_said_with_its_share() -> None:
    found = survey(space("{stages: 1, gate: [none, transform], se_ratio: 1/4}"), (3, 8, 8), 10).cautions()
    (sentence, share), = found.items()
    assert sentence == "a gate and channel attention on one branch: both rescale it"
    assert 0.35 < share < 0.65
    assert survey(space("{stages: 1, depth: [1, 2]}"), (3, 8, 8), 10).cautions() == {}
    stalled = survey(space("{gain: skipinit, shortcut_depth: 3}"), (3, 8, 8), 10).cautions()
    assert [sentence.split(":")[0] for sentence in stalled] == ["shortcut_depth 3 with skipinit"]
