"""Small data sets and networks for the training room's tests."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from nas.train import Numerics

PLAIN = Numerics("cpu", "float32", channels_last=False)
FAST = Numerics("cpu", "float32", channels_last=True)


def dataset(images, labels, validation_images, validation_labels, flips=False, classes=10):
    """A data set as the training room sees one, with the mean and deviation of its training part."""
    scaled = images / 255
    return SimpleNamespace(
        info=SimpleNamespace(classes=tuple(str(label) for label in range(classes)), flips=flips),
        train=SimpleNamespace(images=images, labels=labels),
        validation=SimpleNamespace(images=validation_images, labels=validation_labels),
        mean=tuple(scaled.mean((0, 2, 3)).tolist()),
        std=tuple(scaled.std((0, 2, 3)).tolist()),
    )


def noise(train=100, validation=60, channels=3, size=8, seed=0, flips=True):
    """Random images whose label is the brightest tenth they fall in: something to learn, little to store."""
    generator = np.random.default_rng(seed)
    count = train + validation
    labels = generator.integers(0, 10, count)
    base = generator.integers(0, 100, (count, channels, size, size)) + 15 * labels[:, None, None, None]
    images = base.astype(np.uint8)
    return dataset(images[:train], labels[:train], images[train:], labels[train:], flips)


def digits():
    """scikit-learn's digits, 8 x 8 grey: 1,437 to train on, 360 to validate."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = (bunch.images * (255 / 16)).round().astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(labels))
    train, validation = order[:1437], order[1437:]
    return dataset(images[train], labels[train], images[validation], labels[validation])


def network(channels=3, width=8, seed=0):
    """Two convolutions with batch norms, and a head."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, 2, padding=1, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, 10),
    )


def norm_free(channels=3, seed=0):
    """A network whose images do not see each other."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(channels, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 64, 10))


def equal(first, second):
    """Whether two nested states hold the same bits."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    return torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second
