"""From what the user asks for to a `Setup`: every mistake is said before anything is simulated."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import get_args

from nas.cost import COSTS
from nas.errors import InvalidInput, NasError, Problem
from nas.feasibility import unserved
from nas.front import Objective
from nas.language import closest
from nas.settings import EarlyStopping, Search
from nas.simulation.many import Setup, cost_of
from nas.simulation.table import Table, TableSpace
from nas.study import study_of
from nas.units import parse_count, parse_number
from nas.yamlfile import Document

SAMPLERS = get_args(Search.model_fields["sampler"].annotation)
STOPPINGS = get_args(EarlyStopping.model_fields["kind"].annotation)


def setup_of(
    table: Table, samplers: Sequence[str], stoppings: Sequence[str], seeds: int, trials: int, workers: int,
    epochs: int | None = None, reference: str | None = None, overrides: Iterable[str] = (),
) -> Setup:
    """What is to be simulated. Raises `NasError`."""
    given = (("--samplers", samplers, SAMPLERS), ("--early-stopping", stoppings, STOPPINGS))
    problems = [Problem("", option, "is not known", closest(name, known), name)
                for option, names, known in given for name in names if name not in known]
    if not samplers or not stoppings:
        problems.append(Problem("", "--samplers" if not samplers else "--early-stopping", "is empty", "name one"))
    if problems:
        raise InvalidInput(problems)
    document = Document("the command line", {
        "network": {"depth": 1}, "recipe": {"epochs": epochs or (20 if "halving" in stoppings else 1)},
        "budget": {"trials": trials}, "search": {"executor": "local"}})
    for assignment in overrides:
        document.set(assignment)
    study = replace(study_of(document, "simulation"), space=TableSpace.of(table), blamed=nullcontext)
    for sampler in samplers:
        rule, remedy = unserved(sampler, study.space, study.objectives)
        if rule:
            raise InvalidInput([Problem("", "--samplers", rule, remedy, sampler)])
    return Setup(table, study, tuple(samplers), tuple(stoppings), seeds, workers,
                 _reference(reference, table, study.objectives))


def _reference(text: str | None, table: Table, objectives: Sequence[Objective]) -> tuple[float, float]:
    names = [o.name for o in objectives]
    if len(names) != 2 or names.count("accuracy") != 1:
        raise NasError("--set objectives: a simulation needs accuracy and one cost, e.g. {accuracy: max, macs: min}")
    cost = next(name for name in names if name != "accuracy")
    rows = list(table.rows.values())
    costs = [cost_of(row, cost) for row in rows]
    if not all(value > 0 for value in costs):
        raise NasError(f"the table {table.name} has no {cost} for every network; name another objective")
    corner = {"accuracy": min(row.accuracy for row in rows), cost: max(costs) * 1.0001}
    for part in (text or "").split(",") if text else ():
        name, equals, value = part.strip().partition("=")
        if name not in corner or not equals:
            raise InvalidInput([Problem("", "--reference", "must be accuracy=A and COST=C, joined by a comma",
                                        f"write e.g. accuracy=0.8,{cost}=110M", part)])
        try:
            corner[name] = parse_count(value) if name in COSTS else parse_number(float(value))
        except ValueError as error:
            raise InvalidInput([Problem("", f"--reference {name}", str(error), "write e.g. 110M", value)]) from None
    pairs = zip(rows, costs, strict=True)
    if not any(row.accuracy > corner["accuracy"] and value < corner[cost] for row, value in pairs):
        raise NasError(f"--reference: no network of the table is better than {text}; choose a corner that some beat")
    assert math.isfinite(corner[cost])
    return corner["accuracy"], corner[cost]
