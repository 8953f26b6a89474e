"""Small image folders to train on and to use networks on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

STUDY = """
name: hues
network: {{stem: {{kind: conv3x3, width: 4}}, stages: 2, depth: 1, width: {{first: 4, growth: 2}}}}
data: {{source: {source}, resolution: 8}}
recipe: {{epochs: 2, precision: float32, batch_size: 16, flip: false}}
search: {{sampler: random, executor: local, early_stopping: none, keep: all}}
budget: {{trials: 1}}
"""


def hues(folder: Path, classes: tuple[str, ...] = ("grün", "rot", "синий"), each: int = 20, seed: int = 0,
         mode: str = "RGB") -> Path:
    """A folder of images by class, of 20 x 24 pixels: each class has a brightness of its own, and noise."""
    random = np.random.default_rng(seed)
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for index in range(each):
            pixels = random.integers(0, 120, (20, 24, 3)) + 50 * number
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).convert(mode).save(folder / name / f"{index}.png")
    return folder
