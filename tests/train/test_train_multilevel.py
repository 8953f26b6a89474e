"""Multi-level training: the levels and what they save in closed form, growth as a mapping, the trainer across it."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from train_helpers import FAST, PLAIN, equal, noise

from nas.architecture import Architecture, Stage
from nas.cost import cost
from nas.errors import InvalidInput
from nas.evaluation import recipe_key
from nas.levels import (
    closed_form,
    level_architectures,
    level_epochs,
    level_macs,
    levels_line,
    macs_until,
    saved_blocks,
    saved_macs,
    training_macs,
)
from nas.model import build
from nas.plan import plan
from nas.search.effort import Effort
from nas.search.pace import Pace
from nas.search.run import run
from nas.settings import Recipe
from nas.study import load_study, study_from_spec, study_from_text
from nas.train import LevelTrainer, Trainer, grow
from nas.train.interpolation import interpolation_gain

SHAPE = (3, 8, 8)


def paper(depth: int) -> Architecture:
    """The paper's networks: three stages of `depth`, widths 16, 32, 64, shortcut A."""
    return Architecture(tuple(Stage(depth=depth, width=width) for width in (16, 32, 64)), shortcut="A")


def tiny(*depths: int, **knobs: object) -> Architecture:
    stages = tuple(Stage(depth=depth, width=4 * 2**n, **knobs) for n, depth in enumerate(depths))  # type: ignore[arg-type]
    return Architecture(stages, stem_width=4)


def built(architecture: Architecture, seed: int = 0) -> torch.nn.Module:
    return build(plan(architecture, SHAPE, 10), seed=seed)


def state(architecture: Architecture, seed: int = 0) -> dict[str, torch.Tensor]:
    """With norm statistics that are those of no other block."""
    model = built(architecture, seed)
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.add_(0.1 * torch.randn(value.shape, generator=torch.Generator().manual_seed(seed)).abs())
    return model.state_dict()


# --- levels and savings -----------------------------------------------------------------------------------------------

def test_macs_are_those_of_the_paper_s_networks() -> None:
    found = level_macs(paper(8), 2, (3, 32, 32), 10)
    assert [round(macs / 1e6, 1) for macs in found] == [26.4, 54.7, 111.3]
    assert found[-1] == cost(plan(paper(8), (3, 32, 32), 10)).macs


@pytest.mark.parametrize(("levels", "percent"), [(1, 25.0), (2, 41.7), (3, 53.1)])
def test_savings_have_their_closed_form(levels: int, percent: float) -> None:
    recipe = Recipe(epochs=3 * (levels + 1), levels=levels)
    assert round(100 * closed_form(levels), 1) == percent
    assert saved_blocks(paper(8), recipe) == pytest.approx(closed_form(levels))
    macs = saved_macs(paper(8), recipe, (3, 32, 32), 10)
    assert closed_form(levels) < macs < closed_form(levels) + 0.02, "what begins a stage is cheaper than its copies"


def test_training_macs_are_summed_over_epochs() -> None:
    recipe = Recipe(epochs=11, levels=2)
    coarse, middle, full = level_macs(paper(8), 2, SHAPE, 10)
    assert level_epochs(11, 2) == (3, 3, 5)
    assert training_macs(paper(8), recipe, SHAPE, 10) == 3 * coarse + 3 * middle + 5 * full
    assert training_macs(paper(8), Recipe(epochs=11), SHAPE, 10) == 11 * full
    assert [macs_until((1, 10, 100), 11, n) for n in (1, 3, 4, 6, 7, 11)] == [1, 3, 13, 33, 133, 533]
    assert levels_line([paper(8)] * 2, Recipe(epochs=21, levels=2), (3, 32, 32), 10) == (
        "3 levels (2-2-2, 4-4-4, 8-8-8) of 7, 7 and 7 epochs; 42.4% of the MACs saved, 41.7% of the blocks")


def test_the_step_halves_as_the_depth_doubles() -> None:
    found = level_architectures(tiny(8, 4, residual_scaling=0.5), 2)
    assert [[stage.depth for stage in one.stages] for one in found] == [[2, 1], [4, 2], [8, 4]]
    assert [[stage.residual_scaling for stage in one.stages] for one in found] == [[2, 2], [1, 1], [0.5, 0.5]]
    assert found[-1] == tiny(8, 4, residual_scaling=0.5)


def test_odd_depths_keep_the_sum_of_their_steps() -> None:
    found = level_architectures(tiny(7, 3, 1), 2)
    assert [[stage.depth for stage in one.stages] for one in found] == [[2, 1, 1], [4, 2, 1], [7, 3, 1]]
    for one in found:
        assert [s.depth * s.residual_scaling for s in one.stages] == pytest.approx([7, 3, 1])


def test_what_cannot_be_halved_repeats() -> None:
    assert level_architectures(tiny(1, 1), 3) == (tiny(1, 1),) * 4
    assert saved_macs(tiny(1, 1), Recipe(epochs=8, levels=3), SHAPE, 10) == 0


def test_a_highway_gate_is_the_step_itself() -> None:
    for one in level_architectures(tiny(4, gate="highway"), 2):
        assert one.conflict() is None
        assert one.stages[0].residual_scaling == 1


def test_each_level_takes_an_epoch() -> None:
    with pytest.raises(InvalidInput, match=r"levels.*must be less than recipe.epochs, 3"):
        study_from_text("network: {depth: 1}\nrecipe: {epochs: 3, levels: 3}")
    assert study_from_text("network: {depth: 1}\nrecipe: {epochs: 4, levels: 3}").recipe.levels == 3


def test_epochs_are_part_of_what_identifies_a_recipe_with_levels() -> None:
    short, long = Recipe(epochs=4, levels=1), Recipe(epochs=8, levels=1)
    assert recipe_key(short) != recipe_key(long)
    assert recipe_key(Recipe(epochs=4)) == recipe_key(Recipe(epochs=8)) != recipe_key(long)


def test_a_study_from_before_there_were_levels_goes_on() -> None:
    study = study_from_text("network: {depth: [1, 2]}")
    spec = study.spec()
    del spec["recipe"]["levels"]
    assert study.changes(spec) == []
    assert study_from_spec(study.spec() | {"recipe": {"levels": 1}}).changes(spec) == ["recipe.levels: 0 -> 1"]


# --- growth -----------------------------------------------------------------------------------------------------------

BLOCKS = [
    ((2, 2), (4, 4), [1, 1, 2, 2], [1, 2, 2, 2]), ((2, 3), (3, 5), [1, 1, 2], [1, 2, 2, 2, 3]),
    ((1, 1), (2, 1), [1, 1], [1]), ((3, 2), (3, 2), [1, 2, 3], [1, 2]),
]
"""Depths before and after, and which block becomes each of the two stages'; the second stage begins with a stride."""


@pytest.mark.slow
@pytest.mark.parametrize(("small", "large", "first", "second"), BLOCKS)
@pytest.mark.parametrize("knobs", [
    {}, {"gate": "full", "se_ratio": 0.25}, {"block": "bottleneck", "shortcut_depth": 3}])
def test_growth_copies_blocks_whole(
    small: tuple[int, ...], large: tuple[int, ...], first: list[int], second: list[int], knobs: dict[str, object]
) -> None:
    before, start = state(tiny(*small, **knobs), 1), state(tiny(*large, **knobs), 2)
    grown = grow(before, start)
    assert grown.keys() == start.keys()
    built(tiny(*large, **knobs)).load_state_dict(grown)
    for stage, sources in (("stage1", first), ("stage2", second)):
        for number, source in enumerate(sources, 1):
            rests = [name.split(".", 2)[2] for name in start if name.startswith(f"{stage}.block{number}.")]
            assert len(rests) >= 10
            for rest in rests:
                assert torch.equal(grown[f"{stage}.block{number}.{rest}"], before[f"{stage}.block{source}.{rest}"])
    for name in before:
        if "block" not in name:
            assert torch.equal(grown[name], before[name])


def test_a_block_that_changes_the_shape_alone_is_followed_by_one_as_it_starts() -> None:
    before, start = state(tiny(1, 1), 1), state(tiny(1, 2), 2)
    grown = grow(before, start)
    assert torch.equal(grown["stage2.block1.branch.conv1.weight"], before["stage2.block1.branch.conv1.weight"])
    assert torch.equal(grown["stage2.block2.branch.conv1.weight"], start["stage2.block2.branch.conv1.weight"])


def test_a_block_of_a_user_s_own_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "levels_own.py").write_text(
        "from torch import nn\n\n\ndef block(shape, out, stride, values):\n"
        "    return nn.Sequential(nn.Conv2d(shape[0], out[0], 3, stride, 1), nn.BatchNorm2d(out[0]))\n")
    monkeypatch.syspath_prepend(tmp_path)
    coarse, target = level_architectures(tiny(4, 4, block="levels_own:block"), 1)
    before, start = built(coarse, 1).state_dict(), built(target, 2).state_dict()
    grown = grow(before, start)
    built(target).load_state_dict(grown)
    names = [name for name, value in start.items() if name.startswith("stage2.") and value.ndim == 4]
    assert len(names) >= 4
    assert all(any(torch.equal(grown[name], other) for other in before.values() if other.shape == grown[name].shape)
               for name in names)


def test_without_copies_only_old_blocks_are_taken_over() -> None:
    before, start = state(tiny(2, 2), 1), state(tiny(4, 4), 2)
    grown = grow(before, start, copies=False)
    for stage in ("stage1", "stage2"):
        for number, source in ((1, before), (2, start), (3, before), (4, start)):
            old = {1: 1, 2: 2, 3: 2, 4: 4}[number]
            rest = "branch.conv2.weight"
            assert torch.equal(grown[f"{stage}.block{number}.{rest}"], source[f"{stage}.block{old}.{rest}"])


def test_growth_shares_nothing() -> None:
    before, start = state(tiny(2)), state(tiny(4))
    kept = copy.deepcopy((before, start))
    for value in grow(before, start).values():
        value.zero_()
    assert equal({"a": before, "b": start}, {"a": kept[0], "b": kept[1]})


def test_two_half_steps_of_a_linear_branch_compose_as_they_must() -> None:
    """With F linear and no norms, (I + h/2 F)^2 = I + h F + h^2/4 F^2: the last term is all that growing changes."""
    one, two = level_architectures(tiny(2, shortcut_depth=1, residual_scaling=0.5), 1)
    small, large = built(one), built(two, seed=1)
    for model in (small, large):
        for block in model.stage1:
            block.post = None
            block.branch.norm1 = torch.nn.Identity()
    with torch.no_grad():
        for value in small.parameters():
            value.mul_(0.3)
    large.load_state_dict(grow(small.state_dict(), large.state_dict()))
    small.double(), large.double()
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    conv = small.stage1.block1.branch
    f = conv(x)
    assert one.stages[0].residual_scaling == 1
    torch.testing.assert_close(small.stage1(x), x + f)
    torch.testing.assert_close(large.stage1(x), x + f + conv(f) / 4)


# --- the trainer ------------------------------------------------------------------------------------------------------

RECIPE = Recipe(epochs=7, levels=2, batch_size=16, warmup_epochs=1)
TARGET = tiny(4, 3)


def trainer(
    recipe: Recipe = RECIPE, seed: int = 0, numerics=FAST, target: Architecture = TARGET
) -> LevelTrainer:
    networks = [partial(built, one, seed) for one in level_architectures(target, recipe.levels)]
    return LevelTrainer(networks, noise(), recipe, seed=seed, numerics=numerics)


def results(one: LevelTrainer | Trainer, epochs: int):
    return [(r.epoch, r.train_loss, r.loss, r.accuracy) for r in (one.run_epoch() for _ in range(epochs))]


@pytest.mark.parametrize("numerics", [PLAIN, FAST])
def test_equal_seeds_give_equal_bits(numerics) -> None:
    first, second, other = trainer(numerics=numerics), trainer(numerics=numerics), trainer(seed=1, numerics=numerics)
    found = results(first, 7)
    assert results(second, 7) == found
    assert equal(first.state(), second.state())
    assert results(other, 7) != found


@pytest.mark.parametrize("stop", [3, *(pytest.param(stop, marks=pytest.mark.slow) for stop in (1, 2, 4, 5, 6))])
def test_resumed_equals_uninterrupted_at_every_epoch(stop: int) -> None:
    whole = trainer()
    found = results(whole, 7)
    begun = trainer()
    results(begun, stop)
    resumed = trainer()
    resumed.load_state(copy.deepcopy(begun.state()))
    assert equal(resumed.weights(), begun.weights())
    assert results(resumed, 7 - stop) == found[stop:]
    assert equal(resumed.state(), whole.state())
    assert equal(resumed.weights(), whole.weights())


@pytest.mark.slow
@pytest.mark.parametrize("knobs", [
    {"share": "stage"}, {"branches": 2, "gain": "layerscale", "gain_init": 0.1}, {"dropout": 0.2, "attention": "eca"},
    {"block": "convnext", "kernel": 3}, {"gate": "highway", "gain": "skipinit"}], ids=str)
@pytest.mark.parametrize("stop", [2, 3, 4])
def test_every_kind_of_network_is_gone_on_with_across_a_boundary(knobs: dict[str, object], stop: int) -> None:
    target = replace(tiny(4, 3, **knobs), memory=5, drop_path=0.2)
    whole = trainer(target=target)
    found = results(whole, 7)
    begun, resumed = trainer(target=target), trainer(target=target)
    results(begun, stop)
    resumed.load_state(copy.deepcopy(begun.state()))
    assert results(resumed, 7 - stop) == found[stop:]
    assert equal(resumed.state(), whole.state())
    built(target).load_state_dict(resumed.weights())


def test_what_is_shared_stays_shared_as_it_grows() -> None:
    """Convolutions of a stage are one set at every level; norms are added a step."""
    one, counts = trainer(target=tiny(4, 4, share="stage")), []
    for _ in range(7):
        one.run_epoch()
        names = [name for name in one.weights() if name.startswith("stage1.")]
        counts.append((sum("conv1.weight" in name for name in names), sum("norm1.weight" in name for name in names)))
    assert counts == [(1, 1)] * 2 + [(1, 2)] * 2 + [(1, 4)] * 3


def test_levels_take_their_parts_and_end_with_the_network_itself() -> None:
    one, depths = trainer(), []
    for _ in range(7):
        one.run_epoch()
        names = one.weights()
        depths.append(tuple(len({name.split(".")[1] for name in names if name.startswith(stage)})
                            for stage in ("stage1", "stage2")))
    assert depths == [(1, 1)] * 2 + [(2, 2)] * 2 + [(4, 3)] * 3
    built(TARGET).load_state_dict(one.weights())
    assert [block.scale for block in one.model.stage1] == [1.0] * 4


def test_a_level_begins_with_what_was_evaluated_and_without_momentum() -> None:
    one = trainer(RECIPE.model_copy(update={"learning_rate": 1e-9}))
    results(one, 2)
    weights = one.weights()
    results(one, 1)
    for name, value in one.state()["model"].items():
        if name.startswith("stage1") and "running" not in name:
            torch.testing.assert_close(value, weights[name.replace("block2", "block1")], rtol=0, atol=1e-6)


@pytest.mark.parametrize("schedule", ["constant", "one_cycle"])
def test_the_rate_restarts_at_every_level(schedule: str) -> None:
    one, rates = trainer(RECIPE.model_copy(update={"schedule": schedule})), []
    for _ in range(7):
        one.run_epoch()
        inner = one._trainer
        rates.append(inner._schedule(inner.epoch - inner._before))
    expected = [1.0] * 7 if schedule == "constant" else [1, 0, 1, 0, 1, 0.5, 0]
    assert rates == pytest.approx(expected)


def test_one_level_is_the_plain_trainer_to_the_bit() -> None:
    recipe = RECIPE.model_copy(update={"levels": 0, "epochs": 3})
    plain = Trainer(built(TARGET), noise(), recipe, seed=0, numerics=FAST)
    one = trainer(recipe)
    assert results(one, 3) == results(plain, 3)
    assert equal(one.state(), plain.state())


# --- the search -------------------------------------------------------------------------------------------------------

SEARCH = """
name: s
network: {stem: {kind: conv3x3, width: 4}, stages: 2, depth: [1, 2, 3], width: {first: 4, growth: 2}}
data: {train: 200}
recipe: {epochs: 4, levels: 1, batch_size: 32}
search: {sampler: random, executor: local, keep: all, early_stopping: {first: 2}}
budget: {trials: 3}
"""


@pytest.mark.slow
def test_a_search_with_levels_completes_and_exports(tmp_path: Path) -> None:
    from nas.export import export

    outcome = run(study_from_text(SEARCH), home=tmp_path)
    complete = [one for one in outcome.stored.records.values() if one.state == "COMPLETE"]
    assert complete
    assert outcome.new_trials == 3
    best = complete[0]
    folder = export(outcome.stored, best.number, formats=())        # checks the accuracy against the database
    import nas

    model = nas.load(folder)
    assert model.state_dict().keys() == build(plan(best.network, (1, 8, 8), 10)).state_dict().keys()  # type: ignore[arg-type]


def test_the_shipped_space_halves_twice_everywhere() -> None:
    study = load_study(Path(__file__).parents[2] / "search_spaces" / "multilevel.yaml")
    assert study.recipe.levels == 2
    assert study.recipe.epochs % 3 == 0
    depths = [axis.domain.probe() for axis in study.space.axes if axis.knob == "depth"]
    assert len(depths) == 3
    assert all(depth % 4 == 0 for one in depths for depth in one)


def test_the_pace_counts_the_macs_of_the_level() -> None:
    recipe = Recipe(epochs=6, levels=1)
    effort = Effort(recipe, (3, 32, 32), 10)
    small, large = level_macs(paper(4), 1, (3, 32, 32), 10)
    assert [effort.at(paper(4), large, epoch) for epoch in range(1, 7)] == [small] * 3 + [large] * 3
    assert effort.mean(paper(4), large, 3) == small
    assert effort.mean(paper(4), large, 6) == (small + large) / 2
    assert Effort(Recipe(epochs=6), (3, 32, 32), 10).at(paper(4), large, 1) == large
    assert Pace(3.0).epoch(effort.mean(paper(4), large, 6)) * 6 == pytest.approx(3 * (small + large))


@pytest.mark.slow
def test_copies_start_better_than_blocks_as_they_start() -> None:
    """On digits in seconds; `nas verify` repeats it on CIFAR-10."""
    from train_helpers import digits

    gains = [interpolation_gain(digits(), Recipe(epochs=4, schedule="one_cycle"), seed, numerics=FAST,
                                architecture=tiny(4, 4)) for seed in range(2)]
    for gain in gains:
        assert math.isfinite(gain.before)
        assert gain.copied < gain.random


@pytest.mark.slow
@pytest.mark.parametrize("knobs", [
    {"share": "stage"}, {"branches": 2, "gain": "layerscale"}, {"attention": "eca", "gain": "skipinit"},
    {"residual_scaling": "1/sqrt(L)"}, {"block": "convnext", "kernel": 3}, {"mixing": "dilated"},
], ids=str)
@pytest.mark.parametrize("network", [{}, {"memory": 6, "drop_path": 0.2}, {"norm": "group", "order": "pre"}], ids=str)
def test_every_kind_of_network_grows(knobs, network) -> None:
    """The grown state is that of the deeper network, and what is shared grows by norms alone."""
    architecture = Architecture(tuple(Stage(5, width, **knobs) for width in (16, 32)), **network)
    small, large = (build(plan(one, (3, 8, 8), 4), seed)
                    for seed, one in enumerate(level_architectures(architecture, 1)))
    grown = grow(small.state_dict(), large.state_dict())
    large.load_state_dict(grown)
    stage = "memory.stage2" if network.get("memory") else "stage2"
    kept = [name for name in small.state_dict() if name.startswith(f"{stage}.block1.")]
    assert kept
    assert all(torch.equal(grown[name], small.state_dict()[name]) for name in kept)
    fresh = [name for name, value in grown.items() if value.ndim > 1 and f"{stage}." in name and not any(
        other.shape == value.shape and torch.equal(other, value) for other in small.state_dict().values())]
    assert fresh == []
    assert torch.isfinite(large.eval()(torch.randn(2, 3, 8, 8))).all()
