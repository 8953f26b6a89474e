"""Commands that use an exported folder: what its network says of images (`predict`), how right it is (`evaluate`)."""

from __future__ import annotations

import json as json_text
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli.options import DataOption, Json, console, print_json

if TYPE_CHECKING:
    from nas.exported.predicting import Prediction
    from nas.exported.scoring import Score

_ALL_CLASSES = 20       # so many are all shown, of more the worst
_SHOWN = 10


class Device(StrEnum):
    """Where to compute."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Part(StrEnum):
    """Of a data set."""

    test = "test"
    validation = "validation"
    train = "train"


Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="That nas export or nas train wrote.")]
DeviceOption = Annotated[Device, typer.Option(help="auto: a GPU where there is one.")]


def predict(
    folder: Folder,
    images: Annotated[list[str], typer.Argument(metavar="IMAGES...", help=(
        "Image files, folders of them, or globs in quotes."))],
    top: Annotated[int, typer.Option(min=1, help="Classes to name of each image.")] = 3,
    device: DeviceOption = Device.auto,
    json: Json = False,
) -> int:
    """Say what is on images: for each one the most probable classes.

    Images are cut, resized and converted as training data is. Exit code 2 where one could not be read.

    Example: nas predict studies/resnext/export/trial-7 photos --top 1
    """
    from nas.exported import load, read_manifest
    from nas.exported.predicting import Prediction, line, predictions
    from nas.train import usable

    where = usable(device.value)
    said = predictions(load(folder), read_manifest(folder), images, top, where)
    unreadable: list[dict[str, str]] = []

    def readable() -> Iterator[Prediction]:
        for found in said:
            if isinstance(found, Prediction):
                yield found
            else:
                unreadable.append({"image": found.path, "reason": found.reason})
                _complain(found.path, found.reason)

    if json:
        _stream_json(readable(), unreadable, {"folder": str(folder), "device": where})
    else:
        for found in readable():
            print(line(found))
    return 2 if unreadable else 0


def _complain(path: str, reason: str) -> None:
    from nas.errors import one_line

    print(f"nas: {one_line(path)}: {reason}", file=sys.stderr)


def _stream_json(found: Iterator[Prediction], unreadable: list[dict[str, str]], about: dict[str, Any]) -> None:
    """One object, written as it comes: there may be more images than fit the memory."""
    print(json_text.dumps(about)[:-1], end=', "images": [')
    for number, one in enumerate(found):
        classes = [{"class": name, "probability": share if share == share else None} for name, share in one.classes]
        print("," * (number > 0), json_text.dumps({"image": one.path, "classes": classes}), sep="\n", end="")
    print(f'\n], "unreadable": {json_text.dumps(unreadable)}}}')


def evaluate(
    folder: Folder,
    data: DataOption = None,
    part: Annotated[Part, typer.Option(help="Of the data: which images.")] = Part.test,
    device: DeviceOption = Device.auto,
    json: Json = False,
) -> None:
    """Say how right a network is: accuracy and its 95 % interval, loss, by class, what it takes for what.

    On the data that it was trained on, its test part; or on other data of the same classes.

    Example: nas evaluate studies/resnext/export/trial-7 --part validation
    """
    from nas.exported.scoring import score

    found = score(folder, data, part.value, device.value)
    if json:
        print_json(found.to_dict())
        return
    for line in _lines(found):
        console().print(line, markup=False)


def _lines(found: Score) -> Iterator[str]:
    low, high = found.interval
    yield f"network   {found.network}: {found.line}"
    note = "" if found.same else "; not the data that it was trained on"
    yield f"data      {found.data}, {found.part} part: {found.images:,} images{note}"
    yield f"accuracy  {found.accuracy:.4f} ({low:.4f} to {high:.4f} at 95 %, Wilson)"
    yield f"loss      {found.loss:.4f} nats"
    yield f"speed     {found.images / found.seconds:,.0f} images a second on {found.device}"
    yield from _by_class(found)
    for number, (true, said, count) in enumerate(found.confusions[:_SHOWN]):
        yield f"{'' if number else 'confused':10}{count:,} of {true} taken for {said}"


def _by_class(found: Score) -> Iterator[str]:
    shown = [one for one in found.by_class if one.images]
    if len(shown) > _ALL_CLASSES:
        shown = sorted(shown, key=lambda one: one.accuracy)[:_SHOWN]
    title = "by class" if len(shown) == len(found.by_class) else "worst"
    for number, one in enumerate(shown):
        yield f"{'' if number else title:10}{one.accuracy:.4f}  {one.name} ({one.right:,} of {one.images:,})"
