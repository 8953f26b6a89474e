"""`nas run` and `nas train`: start a search, or one training, and show how it goes."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli.options import DataOption, Json, Set, Storage, console, final, overrides, print_json

if TYPE_CHECKING:
    from nas.search.run import Outcome
    from nas.study import Study


class Executor(StrEnum):
    """Who runs the trials."""

    ray = "ray"
    local = "local"


def run(
    path: Annotated[Path, typer.Argument(metavar="SPACE.yaml|STUDY.yaml", help="A search space or a study.")],
    data: DataOption = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Trials in all; infeasible points are free.")] = None,
    budget: Annotated[str | None, typer.Option(metavar="TIME", help="Search time in all, e.g. 30m.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Trials at once; default: fits the machine.")] = None,
    gpus_per_trial: Annotated[str | None, typer.Option(metavar="SHARE|auto", help=(
        "Share of a GPU a trial takes; auto: what the largest network needs."))] = None,
    storage: Storage = None,
    name: Annotated[str | None, typer.Option(help="Of the study; default: the space's.")] = None,
    executor: Annotated[Executor | None, typer.Option(help="ray, or local: in this process.")] = None,
    address: Annotated[str | None, typer.Option(metavar="RAY_ADDRESS", help="Of a running Ray cluster.")] = None,
    artifacts: Annotated[str | None, typer.Option(metavar="FOLDER|URL", help=(
        "Where trainings are kept on the way: what all workers reach."))] = None,
    keep: Annotated[str | None, typer.Option(metavar="front|all|none", help="Whose weights are kept.")] = None,
    quota: Annotated[str | None, typer.Option(metavar="SIZE", help="Of the weights kept, e.g. 20GB.")] = None,
    repeats: Annotated[int | None, typer.Option(min=1, help="Seeds of a full training; accuracies are means.")] = None,
    sampler: Annotated[str | None, typer.Option(help="random, tpe, nsga2, nsga3, gp, cmaes, qmc, grid.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of sampling and training.")] = None,
    fork: Annotated[bool, typer.Option("--fork", help="Changed settings: go on under a new name.")] = False,
    set_: Set = None,
    json: Json = False,
) -> int:
    """Search a space: train points of it, keep the Pareto front. Run again to go on.

    Example: nas run search_spaces/resnext.yaml --data cifar10 --budget 12h --workers 8
    """
    from nas.errors import NasError
    from nas.study import is_named, load_study

    if is_named(path):
        load_study(path)        # or it says why there is no such network
        raise NasError(f"{path}: is one network, nothing to search; train it: nas train {path}")
    study = load_study(path, overrides({
        "data.source": data, "budget.trials": trials, "budget.time": budget, "search.workers": workers,
        "search.gpus_per_trial": _share(gpus_per_trial), "search.executor": executor.value if executor else None,
        "search.address": address,
        "search.artifacts": str(Path(artifacts).absolute()) if artifacts and "://" not in artifacts else artifacts,
        "search.sampler": sampler, "search.keep": keep, "search.quota": quota, "search.repeats": repeats, "seed": seed,
        "name": name,
    }, set_))
    return _searched(study, storage, json, _again(f"nas run {path}"), fork=fork)


def _share(text: str | None) -> float | str | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def train(
    path: Annotated[Path | None, typer.Argument(metavar="ARCHITECTURE.yaml|NAME", help=(
        "A space without choices: one network; or the name of a reference network, e.g. resnet20."))] = None,
    from_: Annotated[Path | None, typer.Option("--from", metavar="FOLDER", help=(
        "In place of it: begin with the network of an exported folder, and its weights."))] = None,
    data: DataOption = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of training.")] = None,
    budget: Annotated[str | None, typer.Option(metavar="TIME", help=(
        "Time of training, e.g. 2h: as many epochs as fit it, up to 300."))] = None,
    storage: Storage = None,
    name: Annotated[str | None, typer.Option(help="Of the study that keeps it; default: train- or tune-NAME.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of initialisation and training.")] = None,
    repeats: Annotated[int | None, typer.Option(min=1, help="Seeds to train it with, this one first.")] = None,
    set_: Set = None,
    json: Json = False,
) -> int:
    """Train one network with the same trainer, one-cycle unless the file says otherwise, and export it.

    With --from it goes on with an exported one on other images (fine-tuning): a new classifier where classes differ.

    Example: nas train resnet20 --data cifar10 --epochs 100
    """
    from nas.errors import NasError

    within = _within(budget, epochs, set_)
    given = overrides({
        "data.source": data, "recipe.epochs": epochs, "seed": seed, "name": name, "budget": {"trials": 1},
        "search.executor": "local", "search.sampler": "random", "search.early_stopping": "none",
        "search.repeats": repeats,
    }, set_)
    if path is not None and from_ is None:
        study = _one_network(path, given)
    elif from_ is not None and path is None:
        study = _fine_tuned(from_, data, given)
    else:
        raise NasError("give one network: ARCHITECTURE.yaml, a name, or --from FOLDER")
    return _searched(study, storage, json, _again(f"nas train {path or f'--from {from_}'}"), export=True,
                     within=within)


def _fine_tuned(folder: Path, data: str | None, given: list[str]) -> Study:
    from nas.exported.start import tuned_study

    return tuned_study(folder, data, given)


def _one_network(path: Path, given: list[str]) -> Study:
    from nas.errors import NasError
    from nas.study import document_of, load_study

    written = document_of(path).values
    named = overrides({"name": f"train-{written.get('name', path.stem)}", **final(written)}, None)
    study = load_study(path, [*named, *given])
    if study.space.axes:
        names = ", ".join(axis.name for axis in study.space.axes[:4])
        raise NasError(f"{path}: is a space of several networks ({names}); fix them with --set, or search it: nas run")
    return study


def _within(budget: str | None, epochs: int | None, set_: list[str] | None) -> float | None:
    """`--budget` in seconds. Raises `NasError` where it is none, or the epochs are given, too."""
    from nas.errors import NasError
    from nas.units import parse_duration

    if budget is None:
        return None
    if epochs is not None or any(one.startswith("recipe.epochs=") for one in set_ or []):
        raise NasError(f"--budget {budget}: stands beside the epochs, which it would choose; give one of the two")
    try:
        return parse_duration(budget)
    except ValueError as error:
        raise NasError(f"--budget {budget}: {error}; write e.g. 30m") from None


def _again(otherwise: str) -> str:
    """The command that goes on with what this one began."""
    from nas.errors import without_passwords

    return without_passwords(shlex.join(["nas", *sys.argv[1:]])) if sys.argv[0].endswith("nas") else otherwise


def _searched(study: Study, storage: str | None, json: bool, again: str, export: bool = False,
              fork: bool | None = None, within: float | None = None) -> int:
    from nas.cli.view import view_of
    from nas.errors import NasError
    from nas.search.run import run as run_study
    from nas.units import human_seconds

    out = console(json)
    outcome = run_study(study, storage, view=view_of(out, epochs=export), fork=fork, within=within)
    if outcome.nothing_fits and not outcome.stored.records:
        time = human_seconds(study.budget.time or 0)
        raise NasError(f"budget.time: {time}: no network of the space is expected to fit it; raise --budget")
    folder, exported = outcome.stored.folder, None
    written = [f"report    {folder / 'report.html'}", f"study     {folder / 'study.yaml'}"]
    if export and not outcome.interrupted and len(outcome.stored.front()):
        from nas.export import export as export_trial

        exported = export_trial(outcome.stored, 0)
        written.append(f"export    {exported}")
    if json:
        print_json(_summary(outcome) | ({"export": str(exported) if exported else None} if export else {}))
    else:
        _print_outcome(outcome, written, again)
    return 130 if outcome.interrupted else 1 if outcome.broken_off or _all_failed(outcome) else 0


def _all_failed(outcome: Outcome) -> bool:
    states = {record.state for record in outcome.stored.records.values()}
    return bool(states) and all(state.finished and state not in ("COMPLETE", "PRUNED") for state in states)


def _summary(outcome: Outcome) -> dict[str, object]:
    stored = outcome.stored
    states = {str(state): int(count) for state, count in stored.trials()["state"].value_counts().items()}
    front = stored.front()[["number", "accuracy", "spread", "seeds", "macs", "params", "activations", "architecture"]]
    return {
        "study": stored.name, "new_trials": outcome.new_trials, "trained": outcome.trained, "states": states,
        "interrupted": outcome.interrupted,
        "broken_off": outcome.broken_off, "time_up": _time_up(outcome),
        "waiting": outcome.waiting,
        "infeasible": {name: asdict(found) for name, found in stored.results.infeasible.items()},
        "front": front.to_dict("records"),
        "report": str(stored.folder / "report.html"), "study_file": str(stored.folder / "study.yaml"),
        "database": _without_password(stored.storage),
    }


def _time_up(outcome: Outcome) -> bool:
    """Whether the time budget ended the run."""
    return outcome.nothing_fits or bool(outcome.waiting and not outcome.interrupted and not outcome.broken_off)


def _without_password(url: str) -> str:
    from sqlalchemy import make_url

    return make_url(url).render_as_string(hide_password=True)


def _print_outcome(outcome: Outcome, written: list[str], again: str) -> None:
    from nas.report import terminal_front
    from nas.studies import default_storage
    from nas.units import many

    out, stored = console(), outcome.stored
    out.print()
    terminal_front(stored.results, out)
    out.print()
    if outcome.nothing_fits:
        out.print("time up   no other network is expected to fit the time left; raise --budget to go on")
    elif not (outcome.new_trials or outcome.trained or outcome.interrupted or outcome.broken_off or outcome.exhausted):
        spent = f"the budget is spent ({many(len(stored.records), 'trial')}); raise --trials or --budget to go on"
        spent = spent if stored.study.space.axes else "this network is trained; give another --name, or more --repeats"
        out.print(f"nothing new to train: {spent}")
    if outcome.exhausted:
        out.print("the space is exhausted: every feasible network of it has been tried")
    for line in written:
        out.print(line, markup=False)
    failed = sum(record.state in ("FAILED", "OUT_OF_MEMORY") for record in stored.records.values())
    there = "" if stored.storage == default_storage(stored.home) else f" --storage {_without_password(stored.storage)}"
    if failed:
        of = many(len(stored.records), "trial")
        out.print(f"failed    {failed} of {of}: nas status {stored.name}{there}", markup=False)
    if len(stored.front()):
        exported = f"; nas export {stored.name} --best{there}" if any(
            record.checkpoint for record in stored.records.values()) else ""
        several = len(stored.front()) > 1 and stored.study.confirm is None
        confirmed = f"; nas confirm {stored.name}{there}" if several else ""
        out.print(f"look      nas dashboard{there}{confirmed}{exported}", markup=False)
    if outcome.broken_off:
        out.print(f"given up  {outcome.broken_off}", markup=False)
        out.print(f"log       {stored.folder / 'nas.log'}", markup=False)
    waiting = f"{outcome.waiting} trial{'s wait' if outcome.waiting > 1 else ' waits'}"
    if outcome.interrupted:
        out.print(f"stopped   {waiting if outcome.waiting else 'nothing is lost'}; go on with: {again}", markup=False)
    elif _time_up(outcome) and outcome.waiting:
        out.print(f"time up   {waiting} to be gone on with; raise --budget and run it again", markup=False)
