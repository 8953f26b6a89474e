"""Mixed images against closed forms, and a training with them against the trainer's promises."""

import numpy as np
import pytest
import torch
from torch import nn
from train_helpers import FAST, equal, network, noise, norm_free

from nas.evaluation import LATE, recipe_key
from nas.settings import Recipe
from nas.train import Diverged, LevelTrainer, Trainer, accuracy_and_loss
from nas.train.mixing import Mix, Mixing, cut

OPTIONS = [{"mixup": 0.2}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0, "label_smoothing": 0.1}, {"flip_test": True}]


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def batch(count=6, size=8, channels_last=True):
    images = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return images.contiguous(memory_format=layout), torch.arange(count) % 4


def trainer(options, model=None, micro_batch=None, seed=0):
    return Trainer(model or network(), noise(), Recipe(batch_size=16, **options), seed=seed, numerics=FAST,
                   micro_batch=micro_batch)


def results(one, epochs):
    found = [one.run_epoch() for _ in range(epochs)]
    return [(result.epoch, result.train_loss, result.loss, result.accuracy) for result in found]


# --- closed forms -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("share", [0.0, 0.25, 0.8])
@pytest.mark.parametrize("channels_last", [True, False])
def test_mixup_is_the_convex_combination_with_the_image_before(share, channels_last):
    images, labels = batch(channels_last=channels_last)
    mixed, targets = Mixing(1.0, 0.0, 4).mixed(images, labels, Mix(share))
    for number in range(6):
        expected = share * images[number] + (1 - share) * images[number - 1]
        torch.testing.assert_close(mixed[number], expected)
        shares = torch.zeros(4)
        shares[labels[number]] += share
        shares[labels[number - 1]] += 1 - share
        torch.testing.assert_close(targets[number], shares)
    assert mixed.stride() == images.stride()


def test_cutmix_pastes_the_box_and_weighs_labels_by_area():
    images, labels = batch()
    before = images.clone()
    mix = cut(0.75, 4, 0, 8)             # a box of 4 x 4 around the left border, half of it outside
    assert mix == Mix(1 - 8 / 64, (slice(2, 6), slice(0, 2)))
    pasted, targets = Mixing(0.0, 1.0, 4).mixed(images, labels, mix)
    inside = torch.zeros(8, 8, dtype=torch.bool)
    inside[2:6, 0:2] = True
    for number in range(6):
        assert torch.equal(pasted[number][:, inside], images[number - 1][:, inside])
        assert torch.equal(pasted[number][:, ~inside], images[number][:, ~inside])
        assert targets[number, labels[number]] == inside.logical_not().float().mean()
    assert torch.equal(images, before)


def test_shares_are_those_of_beta_and_of_the_area():
    shares = np.array([mix.share for mix in Mixing(0.4, 0.0, 10).draw(20_000, 8, seed=0)])
    assert shares.mean() == pytest.approx(0.5, abs=0.01)
    assert shares.var() == pytest.approx(1 / (4 * (2 * 0.4 + 1)), abs=0.005)        # of Beta(0.4, 0.4)
    mixes = Mixing(0.0, 1.0, 10).draw(4_000, 32, seed=0)
    areas = [(rows.stop - rows.start) * (columns.stop - columns.start) / 1024 for rows, columns in
             (mix.box for mix in mixes)]
    assert [mix.share for mix in mixes] == pytest.approx([1 - area for area in areas])
    assert all(0 <= part.start <= part.stop <= 32 for mix in mixes for part in mix.box)
    # side s = sqrt(1 - share) of 1, uniform share; of a centred length s the border leaves s - s^2 / 4
    s = np.sqrt(np.random.default_rng(1).random(50_000))
    assert np.mean(areas) == pytest.approx(np.mean((s - s**2 / 4) ** 2), abs=0.02)


def test_with_both_on_each_batch_gets_one_of_the_two():
    mixes = Mixing(1.0, 1.0, 10).draw(10_000, 8, seed=0)
    assert np.mean([mix.box is None for mix in mixes]) == pytest.approx(0.5, abs=0.02)


def test_off_means_untouched():
    images, labels = batch()
    for mix in Mixing(0.0, 0.0, 4).draw(3, 8, seed=0):
        same, also = Mixing(0.0, 0.0, 4).mixed(images, labels, mix)
        assert same is images
        assert also is labels


def test_the_loss_is_the_mean_of_both_answers_losses():
    """Zhang et al.'s two forms are one: mixed answers, or mixed losses."""
    images, labels = batch()
    mixed, targets = Mixing(1.0, 0.0, 10).mixed(images, labels, Mix(0.3))
    logits = norm_free()(mixed)
    losses = [nn.functional.cross_entropy(logits, answers, label_smoothing=0.1) for answers in (labels, labels.roll(1))]
    found = nn.functional.cross_entropy(logits, targets, label_smoothing=0.1)
    torch.testing.assert_close(found, 0.3 * losses[0] + 0.7 * losses[1])


# --- trainings --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("options", OPTIONS)
def test_reproducible_and_resumable(options, tmp_path):
    whole, again, begun = (trainer(options) for _ in range(3))
    found = results(whole, 3)
    assert results(again, 3) == found
    assert equal(again.state(), whole.state())
    first = results(begun, 1)
    torch.save(begun.state(), tmp_path / "state.pt")
    resumed = trainer(options, network(seed=99))
    resumed.load_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert first + results(resumed, 2) == found
    assert equal(resumed.weights(), whole.weights())
    assert results(trainer(options, seed=1), 1) != found[:1]
    assert results(trainer({}), 1) != found[:1], "the option does something"


@pytest.mark.parametrize("options", OPTIONS[:3])
def test_parts_of_a_batch_are_mixed_as_the_whole(options):
    whole, parts = trainer(options, norm_free()), trainer(options, norm_free(), micro_batch=5)
    assert results(parts, 2)[-1][1:] == pytest.approx(results(whole, 2)[-1][1:], rel=1e-4)


@pytest.mark.parametrize("options", OPTIONS)
def test_one_level_is_the_trainer(options):
    levels = LevelTrainer([network], noise(), Recipe(batch_size=16, **options), seed=0, numerics=FAST)
    assert results(levels, 2) == results(trainer(options), 2)


def test_the_bound_of_a_diverged_training_holds_for_mixed_images():
    one = trainer({"mixup": 1.0, "learning_rate": 1e-9}, norm_free())
    for parameter in one.model.parameters():
        parameter.data.zero_()                      # equal logits: log(classes), whatever the answers
    assert one.train_epoch() == pytest.approx(np.log(10), rel=1e-4)
    with pytest.raises(Diverged, match=r"in epoch 1.*over 10 times that of guessing"):
        trainer({"mixup": 1.0}, nn.Sequential(norm_free(), Times(1e6))).run_epoch()


class Times(nn.Module):
    """Logits, so many times as large."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor


def test_flip_test_is_the_mean_over_the_mirror_image():
    data = noise()
    one = trainer({"flip_test": True})
    result = one.run_epoch()
    fresh = network(seed=3)
    fresh.load_state_dict(one.weights())
    mean, std = (np.array(values)[:, None, None] for values in (data.mean, data.std))
    images = torch.tensor((data.validation.images / 255 - mean) / std, dtype=torch.float32)
    labels = torch.tensor(data.validation.labels)
    fresh.eval()
    with torch.no_grad():
        logits = (fresh(images) + fresh(images.flip(3))) / 2
    assert result.accuracy == pytest.approx(float((logits.argmax(1) == labels).double().mean()))
    assert result.loss == pytest.approx(nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)
    again = accuracy_and_loss(fresh, data.validation, data.mean, data.std, flip=True)
    assert again == (result.accuracy, result.loss), "to the last bit, as an export wants it"
    assert again != accuracy_and_loss(fresh, data.validation, data.mean, data.std)


# --- the key of stored results ----------------------------------------------------------------------------------------

def test_stored_results_keep_their_keys():
    """Frozen before the fields of LATE came: a recipe that does what it did has the key it had."""
    assert recipe_key(Recipe()) == recipe_key(Recipe(epochs=9)) == "fc8a901efcd234a9"
    assert recipe_key(Recipe(schedule="one_cycle")) == "64b67a5515ee84f9"
    assert recipe_key(Recipe(levels=2, epochs=12)) == "6bdce89bb7228aab"


def test_a_late_field_that_says_something_has_a_key_of_its_own():
    keys = {recipe_key(Recipe(**options)) for options in ({}, {"mixup": 0.1}, {"cutmix": 0.1}, {"flip_test": True})}
    assert len(keys) == 4
    assert all(getattr(Recipe(), name) == value for name, value in LATE.items()), "new fields are off by default"
