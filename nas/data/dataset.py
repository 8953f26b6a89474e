"""From `settings.Data` to a `Dataset`: find the source, decode it once, split it once, map what is in the
cache.

Two kinds of cache entries: `decoded`, the whole source at one resolution and number of channels, and
`splits`, the training and validation images of one choice of sizes and seed, written out so that the workers
of a node share their pages. How anything is decoded, split or stored is the other modules'.
"""

from __future__ import annotations

import contextlib
import difflib
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nas.data import cache
from nas.data.named import REGISTRY, Named
from nas.data.split import Indices, Sizes, enough, sizes, split
from nas.data.tree import SIDES, archive_tree, folder_tree
from nas.data.values import DataInfo, Dataset, Labels, Pixels, Progress, Source, Split, Survey, silent
from nas.errors import InvalidInput, NasError, Problem, one_line
from nas.settings import Data

VERSION = 1
"""Of what an entry holds and how it is split; part of every key and checksum."""
PIECE = 16 * 2**20
"""Bytes of images that are copied at once."""
SUFFIXES = (".tar.gz", ".tar.xz", ".tgz", ".tar", ".zip")
TRAIN, TEST = ("train.images", "train.labels"), ("test.images", "test.labels")
VALIDATION = ("validation.images", "validation.labels")


def describe(data: Data, progress: Progress | None = None) -> DataInfo:
    """What `data` is, without downloading or decoding it.

    Of a named data set everything is a constant. Of a folder or an archive the names (and some headers) are
    read, once: seconds for tens of thousands of images, announced through `progress`; then it is in the
    cache. Until the images have been decoded the counts include corrupt ones. Raises `NasError`, as `load`
    does.
    """
    source = find(data)
    progress = progress or silent
    survey = source.survey(progress)
    resolution, channels = shape(data, survey)
    n_train, n_test = survey.n_train, survey.n_test
    try:
        arrays = cache.read_meta(decoded_folder(source, resolution, channels))["arrays"]
        n_train, n_test = arrays["train.labels"]["shape"][0], arrays["test.labels"]["shape"][0]
    except cache.Damaged:
        pass  # not decoded yet
    return info(survey, resolution, channels, sizes(data, n_train, len(survey.classes)), n_test)


def load(data: Data, progress: Progress | None = None) -> Dataset:
    """The data set, decoded and split, mapped from the cache; what is not there yet is made first.

    `progress` is called with one line before every slow step. Safe to call in many processes at once: one
    works, the others wait. Raises `NasError` if the source cannot be read or is refused, if it cannot be
    downloaded, if `data` asks for more images than there are, or if the cache cannot be written.
    """
    source = obtainable(data)
    progress = progress or silent
    survey = source.survey(progress)
    resolution, channels = shape(data, survey)
    decode = partial(decoded, source, survey, resolution, channels, progress)
    whole = cache.read_meta(decode(()))
    wanted = sizes(data, whole["arrays"]["train.labels"]["shape"][0], len(survey.classes))
    checksum = cache.key_of(VERSION, whole["checksum"], wanted.train, wanted.validation, data.seed)

    def build(target: Path) -> cache.Meta:
        folder = decode(TRAIN)
        if cache.read_meta(folder)["checksum"] != whole["checksum"]:
            raise NasError(f"the cache of {survey.name} changed while it was read; try again")
        return divided(opened(folder, TRAIN), wanted, data.seed, len(survey.classes), target)

    folder = cache.entry("splits", checksum, build, TRAIN + VALIDATION, progress)
    meta = cache.read_meta(folder)
    n_test = whole["arrays"]["test.labels"]["shape"][0]
    return Dataset(info(survey, resolution, channels, wanted, n_test), opened(folder, TRAIN),
                   opened(folder, VALIDATION), tuple(meta["mean"]), tuple(meta["std"]), checksum,
                   tuple(whole["skipped"]), lambda: opened(decode(TEST), TEST))


def find(data: Data) -> Source:
    """The source that `data.source` names. Raises `InvalidInput` if there is none."""
    if data.source in REGISTRY:
        return REGISTRY[data.source]
    path = Path(data.source).expanduser()
    try:
        if path.is_dir():
            return folder_tree(path, one_line(path.resolve().name))
        if path.exists():
            return archive_tree(path, one_line(stem(path.name)))
    except (OSError, ValueError) as error:
        problem = Problem("", "data.source", f"cannot be read ({error})", value=data.source)
        raise InvalidInput([problem]) from error
    close = difflib.get_close_matches(data.source, REGISTRY, 1)
    raise InvalidInput([Problem("", "data.source", value=data.source, rule=(
        f"neither a data set ({', '.join(REGISTRY)}) nor the path of a folder or an archive"),
        remedy=f"did you mean {close[0]}?" if close else "check the path")])


def obtainable(data: Data) -> Source:
    """The source that `data.source` names, if its images can be had. Raises `InvalidInput`."""
    source = find(data)
    if isinstance(source, Named) and source.parse is None:
        raise InvalidInput([Problem("", "data.source", "is known for its costs alone, it has no download", (
            "give the folder of its images: --data PATH --set data.resolution=224"), data.source)])
    return source


def located(data: Data) -> Data:
    """The same data, from wherever it is asked for: a path made absolute."""
    return data if data.source in REGISTRY else data.model_copy(update={
        "source": str(Path(data.source).expanduser().absolute())})


def stem(name: str) -> str:
    """The name of an archive without its suffix."""
    return next((name[: -len(suffix)] for suffix in SUFFIXES if name.lower().endswith(suffix)), name)


def shape(data: Data, survey: Survey) -> tuple[int, int]:
    """Resolution and channels: what is asked for, else the source's own. Raises `InvalidInput`."""
    if data.resolution is None and survey.resolution not in SIDES:
        raise InvalidInput([Problem("", "data.resolution", (
            f"the images of {survey.name} have {survey.resolution} pixels a side"),
            f"give a resolution from {SIDES[0]} to {SIDES[-1]}")])
    return data.resolution or survey.resolution, data.channels or survey.channels


def info(survey: Survey, resolution: int, channels: int, wanted: Sizes, n_test: int) -> DataInfo:
    """The public description."""
    return DataInfo(survey.name, survey.classes, channels, resolution, survey.flips, wanted.train,
                    wanted.validation, n_test)


def decoded_key(source: Source, resolution: int, channels: int) -> str:
    """Key of the entry that holds the whole source at one shape."""
    return cache.key_of(VERSION, source.fingerprint, resolution, channels)


def decoded_folder(source: Source, resolution: int, channels: int) -> Path:
    """Folder of that entry, whether it is there or not."""
    return cache.root() / "decoded" / decoded_key(source, resolution, channels)


def decoded(source: Source, survey: Survey, resolution: int, channels: int, progress: Progress,
            parts: tuple[str, ...]) -> Path:
    """The entry with the whole source, its files `parts` checked; made if need be."""
    def build(target: Path) -> cache.Meta:
        row = (channels, resolution, resolution)
        room(target, (survey.n_train + survey.n_test) * int(np.prod(row)), survey.name)
        with Files(target, row) as sink:
            skipped = source.decode(resolution, channels, sink, progress)
            if skipped:
                progress(f"{survey.name}: left out {len(skipped):,} corrupt images, the first {skipped[0]}")
            counts = np.bincount(sink.train_labels(), minlength=len(survey.classes))
            enough(counts.tolist(), survey.classes, survey.name)
            arrays = sink.finish()
        content = [(name, said["shape"], said["sha256"]) for name, said in arrays.items()]
        checksum = cache.key_of(VERSION, survey.classes, content)
        return {"arrays": arrays, "skipped": skipped, "checksum": checksum}

    return cache.entry("decoded", decoded_key(source, resolution, channels), build, parts, progress)


def room(folder: Path, needed: int, name: str) -> None:
    """Raises `NasError` if `needed` bytes have no room in the cache."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise NasError(f"{name}: needs {needed / 1e9:,.1f} GB in {cache.root()}, which has {free / 1e9:,.1f} GB "
                       "free; make room, set NAS_CACHE to another folder, or ask for a smaller data.resolution")


class Files(contextlib.ExitStack):
    """The `Sink` that writes the arrays of an entry: images of shape (N, *row) and labels, for each part."""

    def __init__(self, folder: Path, row: tuple[int, ...], parts: tuple[str, ...] = ("train", "test")):
        super().__init__()
        self.row = row
        self.images = {part: self.enter_context(cache.Writer(folder / f"{part}.images")) for part in parts}
        self.labels = {part: self.enter_context(cache.Writer(folder / f"{part}.labels")) for part in parts}
        self.seen: list[Labels] = []

    def write(self, part: str, images: Pixels, labels: Labels) -> None:
        """See `Sink`."""
        assert images.shape[1:] == self.row, "an image of another shape"
        self.images[part].append(images)
        self.labels[part].append(labels.astype("<i8"))
        if part == "train":
            self.seen.append(labels)

    def train_labels(self) -> Labels:
        """The labels of the training part so far."""
        return np.concatenate(self.seen) if self.seen else np.empty(0, np.int64)

    def finish(self) -> dict[str, cache.Meta]:
        """Sync all files; what `meta.json` says of them."""
        images = {f"{part}.images": writer.finish("uint8", self.row) for part, writer in self.images.items()}
        return images | {f"{part}.labels": writer.finish("<i8", ()) for part, writer in self.labels.items()}


def divided(whole: Split, wanted: Sizes, seed: int, classes: int, target: Path) -> cache.Meta:
    """Write the training and validation images of the training part `whole`; returns the `meta.json`."""
    row = whole.images.shape[1:]
    train, validation = split(np.asarray(whole.labels), wanted, seed, classes)
    with Files(target, row, ("train", "validation")) as files:
        total = copy(whole, train, files, "train")
        copy(whole, validation, files, "validation")
        mean, std = moments(total, len(train) * row[1] * row[2])
        return {"arrays": files.finish(), "mean": mean, "std": std}


def copy(whole: Split, chosen: Indices, files: Files, part: str) -> Any:
    """Write the `chosen` images of `whole` as `part`; returns their sums, as `sums` does."""
    row = whole.images.shape[1:]
    step = max(1, PIECE // int(np.prod(row)))
    total = np.zeros((2, row[0]), np.int64)
    for start in range(0, len(chosen), step):
        piece = chosen[start:start + step]
        images = whole.images[piece]
        files.write(part, images, whole.labels[piece])
        total += sums(images)
    return total


def sums(images: Pixels) -> Any:
    """Sum and sum of squares per channel, of shape (2, C), exact, of images of shape (N, C, H, W)."""
    squares = np.square(images, dtype=np.uint16)
    return np.stack([values.sum(axis=(0, 2, 3), dtype=np.int64) for values in (images, squares)])


def moments(total: Any, pixels: int) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per channel in [0, 1] units; at least one grey level, to be divided by."""
    mean = [int(value) / pixels for value in total[0]]
    variance = [int(square) / pixels - value * value for square, value in zip(total[1], mean, strict=True)]
    return [value / 255 for value in mean], [max(value, 1.0) ** 0.5 / 255 for value in variance]


def opened(folder: Path, parts: tuple[str, ...]) -> Split:
    """Images and labels of an entry whose files were checked."""
    arrays = cache.read_meta(folder)["arrays"]
    images, labels = (cache.array(folder / part, arrays[part]) for part in parts)
    return Split(images, labels)
