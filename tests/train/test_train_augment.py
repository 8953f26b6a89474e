"""Augmentation against a slow reference, and batches against what an epoch must be."""

import numpy as np
import pytest
import torch
from train_helpers import noise

from nas.settings import Recipe
from nas.train.augment import Augmentation, Batches, Draws, cutout_mask
from nas.train.data import Preprocess, tensor

CPU = torch.device("cpu")


def make(data, augmentation, batch=16, channels_last=True):
    return Batches(data.train, Preprocess(data.mean, data.std), augmentation, batch, CPU, channels_last)


def draw(count, augmentation, size=8, seed=0):
    return Draws.of(count, size, size, augmentation, torch.Generator().manual_seed(seed))


def slow(images, draws, augmentation, preprocess):
    """One image at a time: pad with the blank pixel, cut, flip, normalise, erase."""
    results = []
    for number, image in enumerate(images.numpy()):
        p, (channels, height, width) = augmentation.crop, image.shape
        padded = np.empty((channels, height + 2 * p, width + 2 * p), np.uint8)
        padded[:] = np.array(preprocess.blank, np.uint8)[:, None, None]
        padded[:, p:p + height, p:p + width] = image
        top, left = int(draws.top[number]), int(draws.left[number])
        cut = padded[:, top:top + height, left:left + width]
        cut = cut[:, :, ::-1] if draws.flip[number] else cut
        x = preprocess(torch.from_numpy(cut.copy())[None])[0]
        if side := augmentation.cutout:
            y0, x0 = int(draws.y[number]) - side // 2, int(draws.x[number]) - side // 2
            x[:, max(0, y0):max(0, y0 + side), max(0, x0):max(0, x0 + side)] = 0
        results.append(x)
    return torch.stack(results)


@pytest.mark.parametrize("augmentation", [
    Augmentation(), Augmentation(crop=2), Augmentation(flip=True), Augmentation(crop=1, flip=True, cutout=3),
    Augmentation(crop=3, flip=True, cutout=8)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("channels_last", [True, False])
def test_equals_the_slow_reference(augmentation, channels, channels_last):
    data = noise(channels=channels)
    draws = draw(16, augmentation)
    images = tensor(data.train.images[:16])
    result = make(data, augmentation, channels_last=channels_last).augmented(images, draws)
    assert torch.equal(result, slow(images, draws, augmentation, Preprocess(data.mean, data.std)))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert result.is_contiguous(memory_format=layout)


def test_a_second_chunk_sees_nothing_of_the_first():
    data, augmentation = noise(), Augmentation(crop=2, flip=True)
    batches, draws = make(data, augmentation), draw(16, augmentation)
    images = tensor(data.train.images)
    expected = make(data, augmentation).augmented(images[:16], draws)
    batches.augmented(images[16:32], draws)
    assert torch.equal(batches.augmented(images[:16], draws), expected)


def test_a_constant_image_stays_constant_under_crop_and_flip():
    data = noise()
    data.train.images = np.full_like(data.train.images, 128)
    data.mean = (128 / 255,) * 3
    (images, _), *_ = next(make(data, Augmentation(crop=2, flip=True)).epoch(torch.Generator()))
    assert images.abs().max() < 1e-6


def test_flip_comes_half_of_the_time_and_crops_reach_every_corner():
    draws = draw(20_000, Augmentation(crop=2, flip=True))
    assert draws.flip.float().mean() == pytest.approx(0.5, abs=0.02)
    corners = torch.bincount(draws.top * 5 + draws.left, minlength=25)
    assert corners.min() > 0.8 * 20_000 / 25
    assert corners.max() < 1.2 * 20_000 / 25


def test_flipping_twice_gives_the_image_back():
    data, augmentation = noise(), Augmentation(flip=True)
    batches = make(data, augmentation)
    draws = draw(16, augmentation)._replace(flip=torch.ones(16, dtype=torch.bool))
    images = tensor(data.train.images[:16])
    plain = Preprocess(data.mean, data.std)(images)
    assert torch.equal(batches.augmented(images, draws), plain.flip(3))
    assert torch.equal(batches.augmented(images.flip(3), draws), plain)


def test_the_cutout_is_a_square_that_the_border_may_cut():
    mask = cutout_mask(draw(5_000, Augmentation(cutout=3)), 8, 8, 3)
    areas = mask.sum((1, 2))
    assert set(areas.tolist()) == {4, 6, 9}                         # a corner, an edge, inside
    assert (areas == 9).float().mean() == pytest.approx((6 / 8) ** 2, abs=0.03)
    assert mask.any(0).all()


def test_every_pixel_value_arrives():
    values = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16).repeat(4, 0)
    data = noise(channels=1, size=16)
    data.train.images, data.train.labels = values, np.arange(4)
    (images, _), = next(make(data, Augmentation()).epoch(torch.Generator()))
    back = (images * data.std[0] + data.mean[0]) * 255
    assert back.round().unique().tolist() == list(range(256))


@pytest.mark.parametrize(("count", "batch", "steps", "used"), [(100, 16, 6, 96), (100, 100, 1, 100), (10, 64, 1, 10)])
def test_an_epoch_takes_every_image_once_but_an_unfilled_batch(count, batch, steps, used):
    data = noise(train=count)
    data.train.labels = np.arange(count)
    batches = make(data, Augmentation(), batch=batch)
    chunks = list(batches.epoch(torch.Generator().manual_seed(1)))
    labels = torch.cat([labels for chunk in chunks for _, labels in chunk])
    assert batches.steps == steps
    assert len(labels) == len(labels.unique()) == used
    assert labels.tolist() != sorted(labels.tolist()) or used < 3


def test_an_epoch_of_several_chunks_is_the_epoch_of_one(monkeypatch):
    data, augmentation = noise(train=100), Augmentation(crop=1, flip=True, cutout=2)
    one = [pair for chunk in make(data, augmentation).epoch(torch.Generator().manual_seed(3)) for pair in chunk]
    monkeypatch.setattr("nas.train.augment.CHUNK_PIXELS", 16 * 64)
    small = make(data, augmentation)
    chunks = list(small.epoch(torch.Generator().manual_seed(3)))
    assert len(chunks) == 6
    for (x, y), (u, v) in zip(one, [pair for chunk in chunks for pair in chunk], strict=True):
        assert torch.equal(x, u)
        assert torch.equal(y, v)


def test_the_recipe_defaults_suit_the_data():
    info = noise(flips=True).info
    assert Augmentation.of(Recipe(), info, 8) == Augmentation(1, True, 0)
    assert Augmentation.of(Recipe(), info, 32) == Augmentation(4, True, 0)
    assert Augmentation.of(Recipe(crop=0, flip=False, cutout=0.5), info, 32) == Augmentation(0, False, 16)


def test_read_only_memory_is_taken_without_a_copy(tmp_path):
    data = noise()
    np.save(tmp_path / "images.npy", data.train.images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert tensor(mapped).data_ptr() == mapped.ctypes.data
