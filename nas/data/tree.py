"""Images by class in a folder or an archive: which name means which class and part, what size they are, and
decoding.

Two passes: a survey of the names and of some headers, which fixes the layout and is kept in the cache, then
the decoding. Both only stream. How an archive is read safely, and how an image is decoded, is known
elsewhere.

Layouts: `train/CLASS/...` with `test/CLASS/...`, or `CLASS/...` of which we hold out the test part. Folders
that wrap all of it are looked through. Hidden files, `__MACOSX` and files that are no images by their suffix
are passed over. The resolution and the channels of a source are those of the majority among the first images
of each folder.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from nas.data import archive, cache, picture
from nas.data.split import chosen_for_test, enough
from nas.data.values import Pixels, Progress, Sink, Survey
from nas.errors import NasError, one_line, shown

VERSION = 1
SAMPLE = 64
"""Images of each folder whose headers are read for the majority."""
SIDES = range(4, 1025)
"""Resolutions that are decoded to without being asked for."""


@dataclass(frozen=True, slots=True)
class File:
    """One image file: its name from the top, with `/`, its size in bytes, and a way to read it."""

    name: str
    size: int
    read: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Layout:
    """How names are read: folders to look through, whether train/ and test/ follow, and what was counted."""

    strip: int
    parted: bool
    classes: tuple[str, ...]
    train: tuple[int, ...]
    test: tuple[int, ...]

    def place(self, name: str) -> tuple[str, str]:
        """Part ("train", "test", or "" where we split) and class of an image."""
        parts = name.split("/")[self.strip:]
        return (parts[0].lower(), parts[1]) if self.parted else ("", parts[0])


Placed = tuple[str, int, File]
"""Part, class index and file."""


@dataclass(frozen=True)
class Tree:
    """A folder or an archive of images by class; a `Source`. Files that are `streamed` are read in order."""

    path: Path
    name: str
    fingerprint: str
    files: Callable[[], Iterable[File]]
    streamed: bool

    def survey(self, progress: Progress) -> Survey:
        """See `Source`. Raises `NasError` if what is there is no data set."""
        layout, side, channels = self.facts(progress)
        return Survey(self.name, tuple(map(one_line, layout.classes)), side, channels, flips=channels == 3,
                      n_train=sum(layout.train), n_test=sum(layout.test))

    def facts(self, progress: Progress) -> tuple[Layout, int, int]:
        """Layout, side in pixels and channels, from the cache where they are known."""
        key = cache.key_of(VERSION, self.fingerprint)
        found: dict[str, Any] = {}

        def build(_: Path) -> cache.Meta:
            progress(f"listing the images of {self.path} (once)")
            found.update(self.explored())
            return {"arrays": {}, **found}

        meta = cache.read_meta(cache.entry("surveys", key, build, (), progress))
        layout = Layout(meta["strip"], meta["parted"], tuple(meta["classes"]), tuple(meta["train"]),
                        tuple(meta["test"]))
        return layout, meta["side"], meta["channels"]

    def explored(self) -> dict[str, Any]:
        """The first pass: all names, some headers. Raises `NasError`."""
        names: list[str] = []
        sampled: Counter[str] = Counter()
        sides: Counter[int] = Counter()
        channels: Counter[int] = Counter()
        with picture.quiet():
            for file in self.files():
                names.append(file.name)
                folder = file.name.rpartition("/")[0]
                if sampled[folder] < SAMPLE and (header := header_of(file, self.path)):
                    sampled[folder] += 1
                    sides[header[0]] += 1
                    channels[header[1]] += 1
        layout = layout_of(names, self.path)
        if not sides:
            raise all_broken(self.path, names)
        return {**asdict(layout), "side": most(sides), "channels": most(channels)}

    def decode(self, resolution: int, channels: int, sink: Sink, progress: Progress) -> list[str]:
        """See `Source`. Raises `NasError` if every image is corrupt, or one is a decompression bomb."""
        layout, _, _ = self.facts(progress)
        total = sum(layout.train) + sum(layout.test)
        progress(f"decoding {total:,} images of {self.path} to {channels}x{resolution}x{resolution} (once)")
        skipped: list[str] = []
        work = partial(decoded, top=self.path, resolution=resolution, channels=channels)
        with picture.quiet():
            for batch in picture.mapped(work, self.placed(layout), lambda item: item[2].size):
                skipped += [one_line(name) for _, _, name, pixels in batch if pixels is None]
                for part in ("train", "test"):
                    write(sink, part, [(label, pixels) for where, label, _, pixels in batch
                                       if where == part and pixels is not None])
        if len(skipped) == total:
            raise all_broken(self.path, skipped)
        return skipped

    def placed(self, layout: Layout) -> Iterator[Placed]:
        """Part, class index and file of every image, in the order of the source."""
        ours = [] if layout.parted else chosen_for_test(
            [train + test for train, test in zip(layout.train, layout.test, strict=True)])
        index = {label: i for i, label in enumerate(layout.classes)}
        rank = [0] * len(index)
        for file in self.files():
            try:
                part, label = layout.place(file.name)
                i = index[label]
            except LookupError as error:
                raise NasError(one_line(f"{self.path}: changed while it was read; try again")) from error
            if not layout.parted:
                part = "test" if rank[i] in ours[i] else "train"
                rank[i] += 1
            yield part, i, in_memory(file) if self.streamed else file


def write(sink: Sink, part: str, images: list[tuple[int, Pixels]]) -> None:
    """Write labelled images, if there are any."""
    if images:
        labels = np.array([label for label, _ in images], np.int64)
        sink.write(part, np.stack([pixels for _, pixels in images]), labels)


def decoded(item: Placed, top: Path, resolution: int, channels: int) -> tuple[str, int, str, Pixels | None]:
    """Part, class index, name and pixels of a placed file of `top`; no pixels if it is corrupt or cannot be read."""
    part, label, file = item
    try:
        data = file.read()
    except OSError:
        return part, label, file.name, None
    return part, label, file.name, picture.decoded(data, f"{top}: {file.name}", resolution, channels)


def in_memory(file: File) -> File:
    """`file` with its content read."""
    data = file.read()
    return File(file.name, len(data), lambda: data)


def header_of(file: File, top: Path) -> tuple[int, int] | None:
    """Side and channels of an image of `top`, None if it is corrupt or cannot be read."""
    try:
        return picture.header(file.read(), f"{top}: {file.name}")
    except OSError:
        return None


def most(votes: Counter[int]) -> int:
    """The most frequent value; of equally frequent ones the largest."""
    return max(votes, key=lambda value: (votes[value], value))


def all_broken(path: Path, names: list[str]) -> NasError:
    """The refusal of a source without one sound image."""
    return NasError(one_line(f"{path}: not one of its {len(names):,} images can be read (the first is "
                             f"{shown(names[0])})"))


def is_image(name: str) -> bool:
    """True for a visible file with the suffix of an image."""
    parts = name.split("/")
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and PurePosixPath(name).suffix.lower() in picture.SUFFIXES


def layout_of(names: list[str], path: Path) -> Layout:
    """What the names of the images of `path` mean. Raises `NasError` where they mean no data set."""
    if not names:
        raise NasError(one_line(f"{path}: holds no images ({', '.join(sorted(picture.SUFFIXES))})"))
    split = [name.split("/") for name in names]
    strip = 0
    while len({parts[strip] for parts in split}) == 1 and min(map(len, split)) >= strip + 3:
        strip += 1
    parted = is_parted([parts[strip:] for parts in split], path)
    depth = strip + parted
    for name, parts in zip(names, split, strict=True):
        if len(parts) < depth + 2:
            raise NasError(one_line(f"{path}: {shown(name)} lies in no class folder; move or remove it"))
    counted = Counter((parts[strip].lower() if parted else "train", parts[depth]) for parts in split)
    return counted_layout(strip, parted, counted, path)


def is_parted(split: list[list[str]], path: Path) -> bool:
    """True if train/ and test/ (in any case) with class folders stand at the top.

    Raises `NasError` if what stands there looks like parts, but under other names.
    """
    tops = {parts[0].lower() for parts in split}
    if any(parts[0].lower() == "train" and len(parts) > 2 for parts in split):
        if tops == {"train", "test"}:
            return True
        others = ", ".join(shown(top) for top in sorted(tops - {"train", "test"})[:3])
        raise NasError(one_line(
            f"{path}: beside train/ only test/ may stand, not {others}; rename or remove it"))
    if tops == {"train", "test"}:
        raise NasError(one_line(f"{path}: train/ holds no class folders; give each class a folder in it"))
    inner: dict[str, set[str]] = {parts[0]: set() for parts in split}
    for parts in split:
        inner[parts[0]].add(parts[1] if len(parts) > 2 else "")
    first = next(iter(inner.values()))
    if len(inner) > 1 and len(first) > 1 and all(each == first for each in inner.values()):
        raise NasError(one_line(f"{path}: {', '.join(map(shown, sorted(inner)[:3]))} hold the same folders; if they "
                                "are parts, call them train and test; if they are classes, take those folders out"))
    return False


def counted_layout(strip: int, parted: bool, counted: Counter[tuple[str, str]], path: Path) -> Layout:
    """The layout with its counts. Raises `NasError` unless there are two classes that can be trained on."""
    classes = tuple(sorted({label for part, label in counted if part == "train"}))
    if strange := sorted({label for _, label in counted} - set(classes)):
        raise NasError(one_line(f"{path}: class {shown(strange[0])} is in test/ but not in train/"))
    if len(classes) < 2:
        raise NasError(one_line(f"{path}: holds only one class, {shown(classes[0])}; two or more are needed"))
    train = [counted["train", label] for label in classes]
    test = [counted["test", label] for label in classes]
    if not parted:
        test = [len(chosen) for chosen in chosen_for_test(train)]
        train = [count - held for count, held in zip(train, test, strict=True)]
    enough(train, classes, str(path))
    return Layout(strip, parted, classes, tuple(train), tuple(test))


def archive_tree(path: Path, name: str) -> Tree:
    """The `Tree` of an archive. Raises `NasError` if it cannot be read."""
    archive.kind(path)
    return Tree(path, name, archive.fingerprint(path), partial(archive_files, path), streamed=True)


def archive_files(path: Path) -> Iterator[File]:
    """The images of an archive, to be read one after the other."""
    return (File(member.name, member.size, member.read)
            for member in archive.members(path) if is_image(member.name))


def folder_tree(path: Path, name: str) -> Tree:
    """The `Tree` of a folder, known by where it is and its images' names, sizes and times of change."""
    listing = sorted(listed(path))
    fingerprint = cache.key_of(str(path.resolve()), listing)
    return Tree(path, name, fingerprint, lambda: [
        File(file, size, (path / file).read_bytes) for file, size, _ in listing], streamed=False)


def listed(path: Path) -> Iterator[tuple[str, int, int]]:
    """Name, size and time of change of the images below a folder; links are followed, loops are not."""
    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(path, onerror=raised, followlinks=True):
        facts = os.stat(folder)
        if (facts.st_dev, facts.st_ino) in seen:
            folders.clear()
            continue
        seen.add((facts.st_dev, facts.st_ino))
        top = os.path.relpath(folder, path).replace(os.sep, "/")
        for file in files:
            name = file if top == "." else f"{top}/{file}"
            if is_image(name) and (known := regular(Path(folder, file))):
                yield name, *known


def raised(error: OSError) -> None:
    """Raises what `os.walk` would swallow: a folder that cannot be listed."""
    raise error


def regular(path: Path) -> tuple[int, int] | None:
    """Size and time of change (ns) of a plain file, None of anything else: reading a pipe would never end."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return (facts.st_size, facts.st_mtime_ns) if stat.S_ISREG(facts.st_mode) else None
