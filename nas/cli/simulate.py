"""`nas simulate`: searches that look results up, to see what samplers, early stopping and workers are worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli.options import Json, Set, Storage, console, print_json

if TYPE_CHECKING:
    from nas.simulation import Setup, Table


def simulate(
    table: Annotated[str, typer.Argument(metavar="TABLE.csv|STUDY", help="A table of trained networks, or a study.")],
    workers: Annotated[int, typer.Option(min=1, help="Simulated workers.")] = 8,
    samplers: Annotated[str, typer.Option(help="Several, joined by commas.")] = "tpe,nsga2,random",
    seeds: Annotated[int, typer.Option(min=1, help="Searches of each kind.")] = 20,
    trials: Annotated[int, typer.Option(min=1, help="Networks tried in a search.")] = 200,
    early_stopping: Annotated[str, typer.Option(help="halving, none, or both: halving,none.")] = "none",
    epochs: Annotated[int | None, typer.Option(min=2, help=(
        "Of a full training, for a table without learning curves: they are made up."))] = None,
    axes: Annotated[str | None, typer.Option(help="Columns that are axes; default: what are no results.")] = None,
    reference: Annotated[str | None, typer.Option(metavar="accuracy=A,COST=C", help=(
        "Corner of the hypervolume; default: the least accuracy and the largest cost of the table."))] = None,
    output: Annotated[Path | None, typer.Option(help="Folder; default: studies/simulations/TABLE.")] = None,
    storage: Storage = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Run searches on a table of results in place of training: hypervolume by trials and by simulated time.

    Example: nas simulate nas_bench_macro.csv --workers 8 --samplers tpe,nsga2,random --seeds 20
    """
    from nas.search.workers import usable_cores
    from nas.simulation import read_table, table_of
    from nas.simulation import simulate as simulate_all
    from nas.simulation.setup import setup_of
    from nas.simulation.showing import facts, print_simulation, to_dict, write_simulation
    from nas.studies import HOME, open_study

    out = console(json)
    if Path(table).is_file() or table.endswith(".csv") or "/" in table:
        found: Table = read_table(Path(table), _list(axes))
    else:
        found = table_of(open_study(table, storage))
    setup: Setup = setup_of(found, _list(samplers), _list(early_stopping), seeds, trials, workers, epochs, reference,
                            set_ or ())
    with out.status("") as live:
        result = simulate_all(setup, usable_cores(), lambda done, of: live.update(f"{done} of {of} searches"))
    folder = output or HOME / "simulations" / found.name
    page = write_simulation(result, folder)
    if json:
        print_json(to_dict(result) | {"page": str(page)})
        return
    for fact in facts(result):
        out.print(fact, markup=False)
    out.print()
    print_simulation(result, out)
    out.print()
    out.print(f"page      {page}\nfigures   {page.with_name('simulation.json')}", markup=False)


def _list(text: str | None) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()] if text else []
