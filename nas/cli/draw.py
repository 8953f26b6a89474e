"""`nas draw`: one network as a drawing. Needs neither torch nor Ray."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from nas.cli.options import DataOption, Json, Set, Storage, console, overrides, print_json

if TYPE_CHECKING:
    from nas.architecture import Architecture
    from nas.nodes import Shape


class _Drawn(NamedTuple):
    """A network, and the images (C, H, W) that it is for."""

    name: str
    architecture: Architecture
    shape: Shape
    classes: int


def draw(
    network: Annotated[str, typer.Argument(metavar="ARCHITECTURE.yaml|NAME|STUDY", help=(
        "A file of one network, an exported folder, a reference network, e.g. resnet50; or a study."))],
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE.svg", help=(
        "Where to; default: NAME.svg here."))] = None,
    trial: Annotated[int | None, typer.Option(min=0, help="Of a study; default: the most accurate one.")] = None,
    resolution: Annotated[int | None, typer.Option(min=1, help="Pixels a side; default: the data's.")] = None,
    channels: Annotated[int | None, typer.Option(min=1, help="Of an image; default: the data's.")] = None,
    classes: Annotated[int | None, typer.Option(min=1, help="Default: the data's.")] = None,
    text: Annotated[bool, typer.Option("--text", help="Print the network as an indented tree; draw nothing.")] = False,
    data: DataOption = None,
    set_: Set = None,
    storage: Storage = None,
    json: Json = False,
) -> None:
    """Draw a network: stages with shapes and costs, the inside of each distinct block; an SVG to look at or print.

    Example: nas draw resnet50 -o resnet50.svg
    """
    from nas.cost import cost
    from nas.diagram import svg
    from nas.diagram import text as text_of
    from nas.errors import NasError
    from nas.plan import plan

    if output is not None and output.suffix.lower() != ".svg":
        raise NasError(f"--output {output}: a drawing is an .svg file; open it in a browser to print or convert it")
    found = _trial(network, trial, storage) if trial is not None or _is_study(network, storage) else _network(
        network, overrides({"data.source": data}, set_), all((resolution, channels, classes)))
    side, depth = (resolution, resolution) if resolution else found.shape[1:], channels or found.shape[0]
    shape, count = (depth, *side), classes or found.classes
    made = plan(found.architecture, shape, count)
    facts = {"network": found.architecture.line(), "shape": list(shape), "classes": count, **cost(made)._asdict()}
    if text:
        tree = text_of(made)
        print_json(facts | {"text": tree}) if json else console().print(tree, markup=False)
        return
    path = output or Path(f"{found.name}.svg")
    _write(path, svg(found.architecture, shape, count, found.name))
    print_json(facts | {"drawing": str(path)}) if json else console().print(f"{path}", markup=False)


def _network(what: str, given: list[str], known: bool) -> _Drawn:
    """The one network of a file, an exported folder or a name. known: the images are said, no data is looked at."""
    from nas.data import describe
    from nas.errors import NasError
    from nas.reference import is_reference
    from nas.study import is_named, load_study

    try:
        study = load_study(what, given)
    except NasError as error:
        if is_named(what) and not is_reference(what):
            raise NasError(f"{error}; nor is it that of a study") from None
        raise
    if study.space.axes:
        names = ", ".join(axis.name for axis in study.space.axes[:4])
        raise NasError(f"{what}: is a space of several networks ({names}); fix them with --set, or draw one that a "
                       "study has tried: nas draw STUDY, with --trial N")
    architecture = study.space.decode({})
    if broken := architecture.conflict():
        raise NasError(f"{what}: {broken[1]}")
    if known:
        return _Drawn(study.name, architecture, (0, 0, 0), 0)
    with study.blamed():
        info = describe(study.data)
    return _Drawn(study.name, architecture, (info.channels, info.resolution, info.resolution), info.n_classes)


def _is_study(what: str, storage: str | None) -> bool:
    from nas.errors import NasError
    from nas.reference import is_reference
    from nas.studies import study_names
    from nas.study import is_named

    try:
        return is_named(what) and not is_reference(what) and what in study_names(storage)
    except NasError:        # no database, no study
        return False


def _trial(name: str, number: int | None, storage: str | None) -> _Drawn:
    """number: None for the most accurate one."""
    from nas.errors import NasError
    from nas.network import architecture_of
    from nas.report.results import best, empty_text
    from nas.studies import open_study

    stored = open_study(name, storage)
    if number is None:
        found = best(stored.results)
        if found is None:
            raise NasError(f"study {name} has nothing to draw: {empty_text(stored.results)}")
        number = int(found["number"])
    if number not in stored.records:
        last = f"trials 0 to {max(stored.records)}" if stored.records else "no trials yet"
        raise NasError(f"study {name} has no trial {number}; it has {last}")
    architecture = architecture_of(stored.records[number].network)
    return _Drawn(f"{stored.name}-trial-{number}", architecture, stored.shape, stored.info.n_classes)


def _write(path: Path, drawing: str) -> None:
    from nas.errors import NasError

    try:
        path.write_text(drawing + "\n", encoding="utf-8")
    except OSError as error:
        raise NasError(f"--output {path}: cannot be written: {error.strerror}") from error
