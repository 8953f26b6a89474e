"""`nas diagnose`: what the papers of the residual family measured, for a trained network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli.options import DataOption, Json, Storage, console, print_json, writable

if TYPE_CHECKING:
    from rich.console import Console

    from nas.diagnosis.running import Finding

_NAME_WIDTH, _SECONDS_WIDTH = 12, 7


def diagnose(
    network: Annotated[str, typer.Argument(metavar="STUDY|FOLDER", help="A study, or a folder that nas export wrote.")],
    trial: Annotated[int | None, typer.Option(min=0, help="Of the study; default: the most accurate one.")] = None,
    images: Annotated[int, typer.Option(min=50, help="Validation images to measure on.")] = 1000,
    only: Annotated[str | None, typer.Option(metavar="MEASURE,...", help=(
        "lesion, reordering, paths, depth, correlation, residual, estimation, gates, excitation, curvature."))] = None,
    output: Annotated[Path | None, typer.Option(help=(
        "Folder; default: studies/STUDY/diagnosis/trial-N, or studies/diagnoses/NAME of an exported folder."))] = None,
    data: DataOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the images and of all random choices.")] = 0,
    storage: Storage = None,
    json: Json = False,
) -> None:
    """Diagnose a trained network: lesions, paths, effective depth, gradients, gates, curvature; one page.

    Example: nas diagnose resnext --images 500
    """
    from nas.diagnosis.page import write_diagnosis
    from nas.diagnosis.running import chosen_measures, diagnose
    from nas.diagnosis.subject import subject_of

    out, measures = console(json), chosen_measures(only)
    subject = subject_of(network, trial, images, seed, data, storage)
    folder = output or subject.home
    writable(folder)
    out.print(f"{subject.name}: {subject.line}\n{subject.about}", markup=False)
    with out.status("") as live:
        found = diagnose(subject, measures, seed, live.update, lambda finding: _print(finding, out))
    page = write_diagnosis(found, folder)
    if json:
        print_json(found.to_dict() | {"page": str(page)})
    else:
        out.print(f"page      {page}\nfigures   {page.with_name('diagnosis.json')}", markup=False)


def _print(finding: Finding, out: Console) -> None:
    """A row of the table of findings, as soon as it is known."""
    from rich.table import Table
    from rich.text import Text

    from nas.units import human_seconds

    row = Table.grid(padding=(0, 1))
    row.add_column(width=_NAME_WIDTH)
    row.add_column(width=_SECONDS_WIDTH, justify="right")
    row.add_column(overflow="fold")
    row.add_row(Text(finding.measure, style="bold"), Text(human_seconds(finding.seconds), style="dim"),
                Text(finding.words, style="dim" if finding.undefined else ""))
    out.print(row)
