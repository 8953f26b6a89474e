"""`nas measure`: how long networks take on this machine, and a table that predicts it for a whole space."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from nas.cli.options import DataOption, Json, Set, Storage, console, overrides, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from nas.architecture import Architecture
    from nas.latency.records import Latency, Setting
    from nas.nodes import Shape
    from nas.study import Study


class Device(StrEnum):
    """Where networks run."""

    cpu = "cpu"
    cuda = "cuda"


class _Measured(NamedTuple):
    """A network, and the images (C, H, W) that it is for."""

    name: str
    architecture: Architecture
    shape: Shape
    classes: int


def measure(
    network: Annotated[str, typer.Argument(metavar="STUDY|FOLDER|NAME|SPACE.yaml", help=(
        "A study, a folder that nas export wrote, a reference network, e.g. resnet20, or a file of one network; "
        "with --table a space."))],
    trial: Annotated[int | None, typer.Option(min=0, help="Of the study; default: its front.")] = None,
    front: Annotated[bool, typer.Option("--front", help="Every network of the study's front (the default).")] = False,
    device: Annotated[Device, typer.Option(help="cpu or cuda.")] = Device.cpu,
    batch: Annotated[int, typer.Option(min=1, help="Images at once.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Cores that a forward pass uses.")] = 1,
    table: Annotated[bool, typer.Option("--table", help=(
        "Measure networks of a space and keep what predicts all of them, for search.latency: table."))] = False,
    points: Annotated[int, typer.Option(min=10, help="Networks that a table is fitted to.")] = 60,
    data: DataOption = None,
    set_: Set = None,
    storage: Storage = None,
    json: Json = False,
) -> None:
    """Measure the latency of networks here, with no training of nas beside it; or make a table for a space.

    Example: nas measure resnet20 --batch 8
    """
    from nas.errors import NasError

    if trial is not None and front:
        raise NasError("--trial and --front exclude each other; give one")
    out, given = console(json), overrides({"data.source": data}, set_)
    if table:
        _table(network, given, (device.value, batch, threads), points, out, json)
        return
    found = _chosen(network, trial, front, given, storage)
    from nas.latency.timing import setting_of

    setting = setting_of(device.value, batch, threads)
    out.print(f"machine   {setting.line()}", markup=False)
    measured = [(one, _latency(one, setting, out)) for one in found]
    if json:
        print_json({"machine": setting.line(), "networks": [_facts(one, latency) for one, latency in measured]})


def _latency(one: _Measured, setting: Setting, out: Console) -> Latency:
    from nas.latency.timing import measure as measured
    from nas.plan import plan

    with out.status(f"{one.name}: measured alone, once trainings here have ended their epoch"):
        found = measured(plan(one.architecture, one.shape, one.classes), one.architecture.id, setting)
    out.print(f"{one.name}: {found.median_ms:.3g} ms (quartiles {found.low_ms:.3g} to {found.high_ms:.3g}, 95 % within "
              f"{found.p95_ms:.3g}), {found.images_per_second:,.0f} images/s"
              + (f"\n  noisy: {found.noise}" if found.noise else ""), markup=False)
    return found


def _facts(one: _Measured, latency: Latency) -> dict[str, Any]:
    from dataclasses import asdict

    return {"name": one.name, "architecture": one.architecture.line(), **asdict(latency),
            "images_per_second": latency.images_per_second}


def _table(what: str, given: list[str], where: tuple[str, int, int], points: int, out: Console, json: bool) -> None:
    from dataclasses import asdict
    from functools import partial

    from nas.errors import NasError
    from nas.latency.fitting import SECONDS, make_table
    from nas.latency.table import record_table
    from nas.latency.timing import rounds_of, setting_of, threads
    from nas.study import load_study

    study, setting = load_study(what, given), setting_of(*where)
    if not study.space.axes:
        raise NasError(f"{what}: is one network; a table is for a space of several: leave --table out")
    shape, classes = _images(study)
    out.print(f"machine   {setting.line()}", markup=False)
    with threads(setting.threads), out.status("") as live:
        found = make_table(study, shape, classes, setting, points,
                           partial(rounds_of, device=setting.device, batch=setting.batch, seconds=SECONDS),
                           lambda done, every: live.update(f"{done} of {every} measurements"))
    record_table(found)
    if json:
        print_json(asdict(found))
        return
    for line in (f"table     {found.name}, images {'x'.join(map(str, shape))}: {found.points} networks, each twice; "
                 f"the two differ by {found.repeat:.1%} (median), {found.noisy} of {2 * found.points} were noisy",
                 f"error     {found.error}, of networks not fitted to", f"MACs only {found.macs}"):
        out.print(line, markup=False)


def _chosen(what: str, trial: int | None, front: bool, given: list[str], storage: str | None) -> list[_Measured]:
    """The networks that the command line means. Raises `NasError`."""
    from nas.errors import NasError
    from nas.exported.manifest import FACTS
    from nas.reference import is_reference

    a_file = Path(what).is_file() or Path(what).suffix in (".yaml", ".yml") or is_reference(what)
    a_folder = (Path(what) / FACTS).is_file() or "/" in what
    if not (a_file or a_folder):
        return list(_of_study(what, trial, storage))
    if trial is not None or front:
        raise NasError(f"{'--front' if front else f'--trial {trial}'}: {what} is one network; leave it out, or name a "
                       "study")
    return [_of_file(what, given) if a_file else _of_folder(Path(what))]


def _of_study(name: str, trial: int | None, storage: str | None) -> Iterator[_Measured]:
    from nas.errors import NasError
    from nas.report.results import empty_text
    from nas.studies import open_study

    stored = open_study(name, storage)
    numbers = [int(number) for number in stored.front()["number"]] if trial is None else [trial]
    if not numbers:
        raise NasError(f"study {name} has nothing to measure: {empty_text(stored.results)}")
    for number in numbers:
        if number not in stored.records:
            last = f"trials 0 to {max(stored.records)}" if stored.records else "no trials yet"
            raise NasError(f"study {name} has no trial {number}; it has {last}")
        yield _Measured(f"{name}-trial-{number}", stored.records[number].architecture, stored.shape,
                        stored.info.n_classes)


def _of_folder(folder: Path) -> _Measured:
    from nas.exported.loading import read_plan
    from nas.exported.manifest import ARCHITECTURE, read_manifest
    from nas.study import load_study

    facts = read_manifest(folder)
    read_plan(folder, facts)        # or it says what is wrong with the folder
    architecture = load_study(folder / ARCHITECTURE).space.decode({})
    return _Measured(f"{facts.training.study}-trial-{facts.training.trial}", architecture, facts.shape,
                     len(facts.classes))


def _of_file(what: str, given: list[str]) -> _Measured:
    """A file of one network, or a reference network, which knows its images where no others are given."""
    from nas.errors import NasError
    from nas.reference import reference
    from nas.study import is_named, load_study

    study = load_study(what, given)
    if study.space.axes:
        names = ", ".join(axis.name for axis in study.space.axes[:4])
        raise NasError(f"{what}: is a space of several networks ({names}); make a table of it with --table, or fix "
                       "them with --set")
    architecture = study.space.decode({})
    if broken := architecture.conflict():
        raise NasError(f"{what}: {broken[1]}")
    if is_named(what) and not given:
        found = reference(what)
        return _Measured(found.name, architecture, found.shape, found.classes)
    return _Measured(study.name, architecture, *_images(study))


def _images(study: Study) -> tuple[Shape, int]:
    """Of the study's data: the shape of one, and how many classes there are."""
    from nas.data import describe

    with study.blamed():
        info = describe(study.data)
    return (info.channels, info.resolution, info.resolution), info.n_classes
