"""`nas bench` and `nas schema`."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from nas.cli.options import DataOption, Json, Set, console, final, overrides, print_json


class What(StrEnum):
    """What is measured."""

    cost = "cost"
    train = "train"
    overhead = "overhead"
    scale = "scale"
    recipe = "recipe"


def bench(
    what: Annotated[What, typer.Argument(help="cost, train, overhead, scale or recipe.")],
    trials: Annotated[int, typer.Option(min=20, help="Trials of the benchmarks overhead and scale.")] = 2000,
    network: Annotated[str, typer.Option(metavar="FILE.yaml|NAME", help="Of the benchmark recipe.")] = "resnet20",
    data: DataOption = None,
    epochs: Annotated[int, typer.Option(min=1, help="Of the benchmark recipe.")] = 8,
    seeds: Annotated[int, typer.Option(min=1, help="Of the benchmark recipe.")] = 1,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Measure this machine: exact costs a second, training against a plain loop, what a search costs beside training.

    recipe: validation error and seconds by epoch of nas train's recipe, against He et al.'s of 2015 in plain torch; on
    --data at its own size, and without on 10,000 images of 16 x 16 of the network's own.

    Example: nas bench cost
    """
    if what is What.recipe:
        _recipe(network, data, epochs, seeds, set_, json)
        return
    from nas.bench import BENCHMARKS

    out = console(json)
    figures = BENCHMARKS[what.value](lambda line: out.print(line, markup=False), trials)
    if json:
        print_json({"bench": what.value, "figures": figures})
    else:
        for name, value in figures.items():
            out.print(f"{name:<44} {value:,.4g}", markup=False)


def _recipe(network: str, data: str | None, epochs: int, seeds: int, set_: list[str] | None, json: bool) -> None:
    from nas.bench import bench_recipe, row_of
    from nas.study import document_of, load_study

    own = {"data.resolution": 16, "data.train": 10_000} if data is None else {"data.source": data}
    settings = {**final(document_of(network).values), **own, "recipe.epochs": epochs}
    study = load_study(network, overrides(settings, set_))
    out = console(json)
    curves = bench_recipe(study, seeds, lambda line: out.print(line, markup=False))
    rows = [row_of(pairs) for pairs in zip(*curves, strict=True)]
    if json:
        print_json({"bench": "recipe", "network": study.name, "data": study.data.model_dump(),
                    "recipe": study.recipe.model_dump(), "epochs": rows,
                    "seeds": [[asdict(pair) for pair in pairs] for pairs in curves]})
    else:
        _print_rows(rows)


def _print_rows(rows: list[dict[str, float]]) -> None:
    from rich.table import Table

    table = Table("epoch", "error", "He", "ratio", "seconds", "He", "ratio", box=None, pad_edge=False)
    for number, row in enumerate(rows, start=1):
        errors = [f"{row[name]:.4f}" + (f" ±{row[name + '_spread']:.4f}" if f"{name}_spread" in row else "")
                  for name in ("error", "he_error")]
        table.add_row(str(number), *errors, f"{row['error_ratio']:.2f}", f"{row['seconds']:.1f}",
                      f"{row['he_seconds']:.1f}", f"{row['seconds_ratio']:.2f}")
    console().print(table)


def schema(json: Json = False) -> None:
    """Print the JSON Schema of the YAML, for editors.

    Example: nas schema > search_spaces/schema.json
    """
    from nas.schema import study_schema

    print_json(study_schema())
