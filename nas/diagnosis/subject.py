"""Whom to diagnose: an exported folder, or a trial of a study whose weights are kept; its network and its images.

The images are of the validation part, and of the training part for norm statistics; the test part is never opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load as tensors_of
from torch import Tensor, nn

from nas.cost import cost
from nas.data import Dataset
from nas.diagnosis.patches import CALIBRATION
from nas.errors import NasError
from nas.export.choice import choose
from nas.export.writing import dataset_of, weights_of
from nas.exported.images import images_of
from nas.exported.loading import load, read_plan
from nas.exported.manifest import FACTS, read_manifest
from nas.model import build
from nas.nodes import Cost, Sequence
from nas.plan import plan
from nas.studies import HOME, StoredStudy, open_study
from nas.train import Preprocess, Split


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A trained network and what it is diagnosed on.

    name: of study and trial. line: the architecture in one line. images: (N, C, H, W), normalised, in channels_last;
    labels: (N,). calibration: training images that norm statistics are estimated on. about: of the data, in words.
    home: the folder that a diagnosis goes to.
    """

    name: str
    line: str
    model: nn.Module
    cost: Cost
    images: Tensor
    labels: Tensor
    calibration: Tensor
    classes: tuple[str, ...]
    about: str
    home: Path


def subject_of(
    what: str, trial: int | None = None, images: int = 1000, seed: int = 0, data: str | None = None,
    storage: str | None = None,
) -> Subject:
    """The subject that `what` names: an exported folder, or a study; of that `trial`, by default the most accurate one.

    images: of the validation part, drawn by `seed`; all, where there are fewer. data: where the images are, if not
    where they were. Raises `NasError`.
    """
    if (Path(what) / FACTS).is_file() or "/" in what or Path(what).is_absolute():
        if trial is not None:
            raise NasError(f"--trial {trial}: {what} is a folder of one network; leave --trial out, or name a study")
        return _of_folder(Path(what), images, seed, data)
    return _of_trial(open_study(what, storage), trial, images, seed, data)


def _of_folder(folder: Path, images: int, seed: int, source: str | None) -> Subject:
    facts, network = read_manifest(folder), load(folder)
    dataset, same = images_of(folder, facts, source)
    note = "" if same else "; not the images that it was trained on"
    name = f"{facts.training.study}-trial-{facts.training.trial}"
    return _subject(name, facts.network.line, network, read_plan(folder, facts), network.preprocess, dataset, images,
                    seed, HOME / "diagnoses" / name, note)


def _of_trial(stored: StoredStudy, trial: int | None, images: int, seed: int, source: str | None) -> Subject:
    (number,) = choose(stored, trial if trial is not None else "best")
    record = stored.records[number]
    settings = stored.study.data
    if source is not None:
        settings = settings.model_copy(update={"source": source})
    dataset = dataset_of(settings, record)
    shape = (dataset.info.channels, dataset.info.resolution, dataset.info.resolution)
    described = plan(record.architecture, shape, len(dataset.info.classes))
    network = build(described, device="meta")
    network.load_state_dict(tensors_of(weights_of(stored, record)), assign=True)
    return _subject(f"{stored.name}-trial-{number}", record.line, network, described,
                    Preprocess(dataset.mean, dataset.std), dataset, images, seed,
                    stored.folder / "diagnosis" / f"trial-{number}", "")


def _subject(
    name: str, line: str, network: nn.Module, described: Sequence, preprocess: Preprocess, dataset: Dataset,
    images: int, seed: int, home: Path, note: str,
) -> Subject:
    network.to(memory_format=torch.channels_last).eval()        # type: ignore[call-overload]
    generator = np.random.default_rng(seed)
    x, labels = _drawn(dataset.validation, images, generator, preprocess)
    calibration, _ = _drawn(dataset.train, CALIBRATION, generator, preprocess)
    about = f"{len(x):,} validation images of {dataset.info.name}{note}"
    return Subject(name, line, network, cost(described), x, labels, calibration, dataset.info.classes, about, home)


def _drawn(
    split: Split, count: int, generator: np.random.Generator, preprocess: Preprocess,
) -> tuple[Tensor, Tensor]:
    """`count` images at random, or all, and their labels; in an order that has nothing to do with their classes."""
    chosen = generator.permutation(len(split.labels))[:count]
    images = preprocess(np.ascontiguousarray(split.images[chosen])).contiguous(memory_format=torch.channels_last)
    return images, torch.from_numpy(np.ascontiguousarray(split.labels[chosen]))
