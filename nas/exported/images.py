"""The images that an exported folder is judged on: those that it was trained on, or others of the same classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from nas.data import Dataset, Split
from nas.data import load as load_data
from nas.errors import InvalidInput, NasError, one_line, shown
from nas.exported.loading import read_study
from nas.exported.manifest import Manifest
from nas.settings import Data


def images_of(folder: Path, facts: Manifest, source: str | None = None) -> tuple[Dataset, bool]:
    """The images in the shape that the network takes, with labels in the order of its logits; and whether they are
    those that it was trained on.

    source: where other images are, or where they are now; by default they are where they were. Of images fewer than
    it was trained on all are taken. Raises `NasError` where there are none, or of other classes.
    """
    own = read_study(folder).data
    settings = own.model_copy(update={
        "source": source or own.source, "resolution": facts.input.resolution, "channels": facts.input.channels})
    dataset = _there(settings, folder) if source is None else _others(settings)
    if dataset.checksum == facts.data.checksum:
        return dataset, True
    if source is None:
        raise NasError(one_line(f"the images of {settings.source} are not those that {folder} was trained on; put them "
                                "back, or say with --data which to use"))
    _same_classes(source, dataset.info.classes, folder, facts.classes)
    return _relabelled(dataset, facts.classes), False


def _there(settings: Data, folder: Path) -> Dataset:
    try:
        return load_data(settings)
    except NasError as error:
        raise NasError(one_line(f"{folder}: the images that it was trained on: {str(error).splitlines()[0]}; say with "
                                "--data where they are")) from None


def _others(settings: Data) -> Dataset:
    try:
        return load_data(settings)
    except InvalidInput:        # perhaps of data.train, which counts the other images
        return load_data(settings.model_copy(update={"train": None}))


def _same_classes(source: str, found: tuple[str, ...], folder: Path, wanted: tuple[str, ...]) -> None:
    first = next((f"have no class {shown(name)}, one of the {len(wanted)} that {folder} tells apart"
                  for name in wanted if name not in found), None)
    first = first or next((f"have a class {shown(name)}, which {folder} does not know"
                           for name in found if name not in wanted), None)
    if first:
        raise NasError(one_line(f"--data {source}: its images {first}; give images of the same classes"))


def _relabelled(dataset: Dataset, classes: tuple[str, ...]) -> Dataset:
    """The same images, labelled by their place in `classes`, which are the same names in perhaps another order."""
    if dataset.info.classes == classes:
        return dataset
    places = np.array([classes.index(name) for name in dataset.info.classes])

    def moved(part: Split) -> Split:
        return Split(part.images, places[part.labels])

    return replace(dataset, info=replace(dataset.info, classes=classes), train=moved(dataset.train),
                   validation=moved(dataset.validation), open_test=lambda: moved(dataset.open_test()))
