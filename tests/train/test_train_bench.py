"""The benchmark runs, pairs its rounds and names its figures."""

import pytest
import torch
from torch import nn
from train_helpers import FAST, network, noise

from nas.bench import row_of
from nas.settings import Recipe
from nas.train import Trainer
from nas.train.bench import Throughput, train_throughput
from nas.train.curves import Augmented, Pair, curves


def test_figures_of_every_network():
    seen = []
    results = train_throughput(
        {"small": lambda: network(1, 2), "smaller": lambda: network(1, 1)}, FAST, channels=1, resolution=8, images=64,
        batch_size=16, rounds=2, on_result=lambda name, throughput: seen.append(name))
    assert list(results) == seen == ["small", "smaller"]
    assert all(value > 0 for value in results["small"].figures("small").values())


def test_ratios_pair_the_rounds():
    throughput = Throughput(ours=(10.0, 30.0, 12.0), plain=(5.0, 10.0, 12.0))
    assert throughput.ratios == (2.0, 3.0, 1.0)
    assert throughput.figures("net") == {
        "net.images_per_second": 12.0, "net.plain_images_per_second": 10.0, "net.ratio": 2.0, "net.ratio_low": 1.0,
        "net.ratio_high": 3.0}


def test_curves_of_both_recipes_are_reproducible():
    recipe = Recipe(epochs=2, batch_size=16, schedule="one_cycle")
    first, again = ([(pair.error, pair.plain_error) for pair in curves(network, noise(), recipe, seed=0, numerics=FAST)]
                    for _ in range(2))
    assert first == again
    assert len(first) == 2
    own = Trainer(network(), noise(), recipe, seed=0, numerics=FAST)
    assert [error for error, _ in first] == [1 - own.run_epoch().accuracy for _ in range(2)]


def test_the_other_recipe_crops_and_flips_every_image_for_itself():
    data = noise()
    images = Augmented(data, torch.Generator().manual_seed(0))
    padded = nn.functional.pad(images.preprocess(images.images[:1])[0], (1, 1, 1, 1))
    cuts = [padded[:, top:top + 8, left:left + 8] for top in range(3) for left in range(3)]
    possible = [*cuts, *(cut.flip(2) for cut in cuts)]
    drawn = [images[0][0] for _ in range(300)]
    found = {next(number for number, one in enumerate(possible) if torch.equal(one, image)) for image in drawn}
    assert found == set(range(18))


def test_rows_are_means_over_seeds():
    row = row_of([Pair(0.2, 1.0, 0.4, 4.0), Pair(0.4, 3.0, 0.8, 4.0)])
    assert row["error"] == pytest.approx(0.3)
    assert row["error_ratio"] == row["seconds_ratio"] == pytest.approx(0.5)
    assert row["error_spread"] == pytest.approx(0.02**0.5)
    assert "error_spread" not in row_of([Pair(0.2, 1.0, 0.4, 4.0)])
