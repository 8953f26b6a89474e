"""How right an exported network is on one part of a data set: overall, by class, and what it takes for what.

Accuracy and loss come from `nas.train.accuracy_and_loss`, as those in the database do: on the validation part they are
equal to the last bit, on the machine that trained the network.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from nas.data import Dataset, Split
from nas.errors import NasError
from nas.exported.images import images_of
from nas.exported.loading import load
from nas.exported.manifest import Manifest, read_manifest
from nas.intervals import wilson
from nas.train import accuracy_and_loss, usable

Part: TypeAlias = Literal["test", "validation", "train"]
Device: TypeAlias = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Of the images of one class, how many there are and how many were named right."""

    name: str
    images: int
    right: int

    @property
    def accuracy(self) -> float:
        """In [0, 1]; NaN where there are no images."""
        return self.right / self.images if self.images else math.nan


@dataclass(frozen=True, slots=True)
class Score:
    """accuracy in [0, 1], loss in nats, seconds of the evaluation. same: the network was trained on this data.

    confusions: (what it is, what it was taken for, how many images), the most frequent first.
    """

    network: str
    line: str
    data: str
    same: bool
    part: Part
    images: int
    accuracy: float
    loss: float
    by_class: tuple[ClassScore, ...]
    confusions: tuple[tuple[str, str, int], ...]
    seconds: float
    device: str

    @property
    def interval(self) -> tuple[float, float]:
        """Of the accuracy, at 95 %."""
        return wilson(round(self.accuracy * self.images), self.images)

    def to_dict(self) -> dict[str, Any]:
        """All figures, for JSON."""
        return {
            "network": self.network, "line": self.line, "data": self.data, "trained_on_this_data": self.same,
            "part": self.part, "images": self.images, "accuracy": self.accuracy, "interval_95": list(self.interval),
            "loss": self.loss, "images_per_second": self.images / self.seconds, "device": self.device,
            "classes": [{"class": one.name, "images": one.images, "right": one.right, "accuracy": one.accuracy}
                        for one in self.by_class],
            "confusions": [{"class": true, "taken_for": said, "images": count}
                           for true, said, count in self.confusions],
        }


def score(folder: Path, source: str | None = None, part: Part = "test", device: Device = "auto") -> Score:
    """Evaluate the network of an exported folder on a part of its data, or of others of the same classes.

    Others are normalised as the network's own are. auto: where the network was trained, if that can be. Raises
    `NasError`.
    """
    facts, network = read_manifest(folder), load(folder)
    dataset, same = images_of(folder, facts, source)
    images = _part(dataset, part)
    if not len(images):
        raise NasError(f"{dataset.info.name} has no {part} images; give another --part or other --data")
    where, said = _where(facts, device), list[Tensor]()
    began = time.perf_counter()
    accuracy, loss = accuracy_and_loss(network, images, facts.normalisation.mean, facts.normalisation.std, where,
                                       flip=facts.flip_test, seen=lambda logits: said.append(logits.argmax(1).cpu()))
    seconds = time.perf_counter() - began
    by_class, confusions = _told_apart(np.asarray(images.labels), torch.cat(said).numpy(), facts.classes)
    return Score(f"{facts.training.study}-trial-{facts.training.trial}", facts.network.line, dataset.info.name, same,
                 part, len(images), accuracy, loss, by_class, confusions, seconds, where)


def _part(dataset: Dataset, part: Part) -> Split:
    return dataset.test if part == "test" else dataset.validation if part == "validation" else dataset.train


def _where(facts: Manifest, device: Device) -> Literal["cpu", "cuda"]:
    return "cpu" if device == "auto" and facts.training.device.startswith("cpu") else usable(device)


def _told_apart(
    labels: np.ndarray[Any, Any], said: np.ndarray[Any, Any], classes: tuple[str, ...],
) -> tuple[tuple[ClassScore, ...], tuple[tuple[str, str, int], ...]]:
    images = np.bincount(labels, minlength=len(classes)).tolist()
    right = np.bincount(labels[labels == said], minlength=len(classes)).tolist()
    wrong = Counter(zip(labels[labels != said].tolist(), said[labels != said].tolist(), strict=True))
    most = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))
    return (tuple(map(ClassScore, classes, images, right)),
            tuple((classes[true], classes[taken], count) for (true, taken), count in most))
