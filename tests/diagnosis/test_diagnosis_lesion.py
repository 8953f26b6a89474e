"""Lesions and reorderings against networks from which a block was really taken, and closed forms."""

from __future__ import annotations

import itertools
from collections import OrderedDict

import pytest
import torch
from diagnosis_cases import chain, images, network, scaling
from scipy.stats import kendalltau
from torch import nn

from nas.diagnosis import Undefined, blocks_of, lesion, lesions, reorderings
from nas.diagnosis.lesion import deletions, random_sets
from nas.diagnosis.patches import replaced
from nas.diagnosis.reordering import exchangeable, kendall_distance, reordered
from nas.model.layers import Gate, Residual


def test_a_branch_of_zeros_is_not_missed() -> None:
    model, (x, y) = network(depth=3), images()
    blocks = blocks_of(model, x)
    with torch.no_grad():
        for block in blocks:
            block.module.branch.get_submodule("norm2").weight.zero_()       # type: ignore[operator]
            block.module.branch.get_submodule("norm2").bias.zero_()         # type: ignore[operator]
    found = lesions(model, x, y, calibration=x, draws=2)
    every = (*found.single, *found.downsampling, *found.sets)
    assert len(found.single) == 5
    assert len(found.downsampling) == 1
    assert {one.estimated for one in every} == {found.whole.estimated}
    assert {one.as_is for one in (*found.single, *found.downsampling)} == {found.whole.as_is}
    assert found.median_increase == 0


@pytest.mark.parametrize("shortcut", ["B", "none"])
def test_deleting_a_block_is_as_if_it_were_not_there(shortcut: str) -> None:
    model, (x, _) = network(depth=3, shortcut=shortcut), images()
    blocks = blocks_of(model, x)
    for block in (b for b in blocks if b.removable):
        shorter = network(depth=3, shortcut=shortcut)
        stage = shorter.get_submodule(block.stage)
        del stage[int(block.name[-1]) - 1]      # type: ignore[attr-defined]
        with replaced(deletions([block])):
            assert torch.equal(model(x), shorter(x)), block.name
        assert not torch.equal(model(x), shorter(x))


def test_a_downsampling_block_keeps_its_shortcut_and_its_activation() -> None:
    model, (x, _) = network(), images()
    (block,) = [b for b in blocks_of(model, x) if not b.same_shape]
    given = torch.randn(2, *block.shape)
    assert block.module.shortcut is not None
    with torch.no_grad():
        expected = torch.relu(block.module.shortcut(given))
        with replaced(deletions([block])):
            assert torch.equal(block.module(given), expected)


def test_a_gated_block_becomes_its_input_whatever_its_gate() -> None:
    gate = Gate("highway", transform=nn.Conv2d(3, 3, 1))
    model = nn.Sequential(OrderedDict(stage1=nn.Sequential(OrderedDict(
        block1=Residual(branch=scaling(3, 2.0), shortcut=nn.Identity(), gate=gate)))))
    x = images()[0]
    with replaced(deletions(blocks_of(model, x))):
        assert torch.equal(model(x), x)


def test_a_lesion_of_a_chain_scales_its_output() -> None:
    model, (x, _) = chain(0.5, 2.0, 1.0), images()
    blocks = blocks_of(model, x)
    model.head = nn.Identity()      # type: ignore[assignment]
    for size in range(4):
        for chosen in itertools.combinations(range(3), size):
            factor = torch.tensor([1.5, 3.0, 2.0])[[i for i in range(3) if i not in chosen]].prod()
            with replaced(deletions([blocks[i] for i in chosen])):
                torch.testing.assert_close(model(x), factor * x)


def test_lesions_say_which_norms_they_are_of() -> None:
    model, (x, y) = network(depth=2), images(200)
    block = blocks_of(model, x)[0]
    both = lesion(model, [block], x, y, calibration=x)
    assert lesion(model, [block], x, y, calibration=x, as_is=False).as_is is None
    assert both.deleted == ("stage1.block1",)
    without = network(depth=2, norm="group")
    found = lesion(without, [blocks_of(without, x)[0]], x, y, calibration=x, as_is=False)
    assert found.as_is == found.estimated, "no norm holds statistics"


def test_lesions_are_undefined_where_every_shortcut_is_a_projection() -> None:
    x, y = images()
    with pytest.raises(Undefined, match="shortcut C"):
        lesions(network(shortcut="C"), x, y, calibration=x)
    with pytest.raises(Undefined, match="shortcut C"):
        reorderings(network(shortcut="C"), x, y, calibration=x)
    with pytest.raises(Undefined, match="shape"):
        lesions(network(depth=1, widths=(16, 32)), x, y, calibration=x)
    with pytest.raises(Undefined, match="two same-shape blocks"):
        reorderings(network(depth=2, widths=(16, 32)), x, y, calibration=x)


def test_random_sets_are_distinct_and_of_every_size() -> None:
    blocks = blocks_of(chain(*[0.1] * 6), images()[0])
    found = random_sets(blocks, 8, 4, seed=3)
    assert [len(one) for one in found] == [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4 + [5] * 4 + [6]
    names = [tuple(block.name for block in one) for one in found]
    assert len(set(names)) == len(names)
    assert all(list(one) == sorted(one) for one in names)
    assert names == [tuple(b.name for b in one) for one in random_sets(blocks, 8, 4, seed=3)]
    assert names != [tuple(b.name for b in one) for one in random_sets(blocks, 8, 4, seed=4)]


def test_reordered_blocks_run_in_the_other_order() -> None:
    model, (x, _) = network(depth=4, widths=(8,)), images()
    other = network(depth=4, widths=(8,))
    (group,) = exchangeable(blocks_of(model, x))
    order = [2, 0, 3, 1]
    stage = other.get_submodule("stage1")
    for place, block in enumerate([list(stage.children())[i] for i in order]):
        stage.add_module(f"block{place + 1}", block)
    with replaced(reordered([group], [order])):
        assert torch.equal(model(x), other(x))
    assert not torch.equal(model(x), other(x))


def test_the_order_of_commuting_blocks_does_not_matter() -> None:
    model, (x, y) = chain(0.5, 2.0, 1.0, 0.1), images()
    found = reorderings(model, x, y, calibration=x, swaps=(1, 2, 3), draws=4)
    assert {one.error for one in found.found} == {found.whole}
    assert len({one.order for one in found.found}) == len(found.found) > 4
    assert [one.distance for one in found.found] == sorted(one.distance for one in found.found)
    assert all(0 < one.distance <= 1 for one in found.found)


def test_kendall_distance_is_the_published_one() -> None:
    for order in itertools.permutations(range(5)):
        assert kendall_distance(order) == pytest.approx((1 - kendalltau(range(5), order).statistic) / 2)
    assert kendall_distance([3, 2, 1, 0]) == 1
    assert kendall_distance([0]) == 0


def test_the_median_increase() -> None:
    model, (x, y) = network(depth=3), images(100)
    found = lesions(model, x, y, calibration=x, sizes=0)
    rises = torch.tensor([one.estimated for one in found.single], dtype=torch.float64) - found.whole.estimated
    assert found.sets == ()
    assert found.median_increase == pytest.approx(float(rises.quantile(0.5)))
