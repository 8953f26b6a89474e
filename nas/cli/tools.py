"""`nas bench` and `nas schema`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from nas.cli.options import Json, console, print_json


class What(StrEnum):
    """What is measured."""

    cost = "cost"
    train = "train"
    overhead = "overhead"
    scale = "scale"


def bench(
    what: Annotated[What, typer.Argument(help="cost, train, overhead or scale.")],
    trials: Annotated[int, typer.Option(min=20, help="Trials of the benchmarks overhead and scale.")] = 2000,
    json: Json = False,
) -> None:
    """Measure this machine: exact costs a second, training against a plain loop, what a search costs beside training.

    Example: nas bench cost
    """
    from nas.bench import BENCHMARKS

    out = console(json)
    figures = BENCHMARKS[what.value](lambda line: out.print(line, markup=False), trials)
    if json:
        print_json({"bench": what.value, "figures": figures})
    else:
        for name, value in figures.items():
            out.print(f"{name:<44} {value:,.4g}", markup=False)


def schema(json: Json = False) -> None:
    """Print the JSON Schema of the YAML, for editors.

    Example: nas schema > search_spaces/schema.json
    """
    from nas.schema import study_schema

    print_json(study_schema())
