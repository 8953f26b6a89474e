"""`nas confirm`: the front of a search, trained again in full, with several seeds."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli.options import Json, Set, Storage, console, overrides, print_json

if TYPE_CHECKING:
    from nas.study import Study


def confirm(
    name: Annotated[str | None, typer.Argument(help="Of the study; may be left out where there is one.")] = None,
    top: Annotated[int | None, typer.Option(min=1, help=(
        "As many networks, those nearest the front; default: the front, and what is near it within noise."))] = None,
    front: Annotated[bool, typer.Option("--front", help="The front alone.")] = False,
    control: Annotated[int | None, typer.Option(min=0, help=(
        "Random networks of equal cost beside them: what the search is worth."))] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Trainings of each network; default: 3.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of each training; default: twice the search's.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Trainings at once; default: as in the search.")] = None,
    title: Annotated[str | None, typer.Option("--name", help="Of the confirmation; default: NAME-confirm.")] = None,
    storage: Storage = None,
    set_: Set = None,
    json: Json = False,
) -> int:
    """Confirm a front: its networks, and those near it, trained again in full with several seeds, and read on the test
    part. Run again to go on.

    Example: nas confirm resnext --control 4
    """
    from nas.cli.view import view_of
    from nas.confirm import confirmation, report_of
    from nas.confirm.page import write_confirmation
    from nas.confirm.running import confirm as run
    from nas.confirm.words import print_report
    from nas.errors import NasError
    from nas.studies import open_study

    if front and top is not None:
        raise NasError("--front and --top exclude each other: the front alone, or so many networks")
    study = confirmation(
        name, title=title, top=top, front=front, control=control, seeds=seeds, epochs=epochs, storage=storage,
        overrides=overrides({"search.workers": workers}, set_))
    out = console(json)
    out.print(_plan(study), markup=False)
    outcome = run(study, storage, view=view_of(out, epochs=False))
    assert study.confirm is not None, "a confirmation"
    of = study.confirm.study
    report = report_of(outcome.stored, open_study(of, storage).study.recipe.epochs)
    page = write_confirmation(report, outcome.stored.folder)
    if json:
        print_json(report.to_dict() | {"page": str(page), "interrupted": outcome.interrupted})
    else:
        out.print()
        print_report(report, out)
        out.print(f"page      {page}\nfigures   {page.with_name('confirm.json')}", markup=False)
        if report.unfinished:
            lacking = f"{len(report.unfinished)} of {len(study.confirm.networks)} networks lack a training"
            out.print(f"stopped   {lacking}; go on with: {shlex.join(['nas', 'confirm', of])}", markup=False)
    return 130 if outcome.interrupted else 1 if outcome.broken_off else 0


def _plan(study: Study) -> str:
    """What will be trained, in a line."""
    from collections import Counter

    from nas.units import many

    assert study.confirm is not None, "a confirmation"
    roles = Counter(one.role for one in study.confirm.networks.values())
    words = {"front": "of the front", "near": "near it", "control": "drawn at random"}
    shown = ", ".join(f"{count} {words[role]}" for role, count in roles.items())
    networks = f"{many(len(study.confirm.networks), 'network')} ({shown})"
    trainings = f"{many(study.search.repeats, 'seed')} of {many(study.recipe.epochs, 'epoch')}"
    return f"confirm   {study.confirm.study}: {networks}, {trainings}, as study {study.name}"
