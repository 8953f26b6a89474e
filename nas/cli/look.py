"""Commands that look: at a space before a search (`inspect`), at studies after one (`status`, `report`, `export`,
`dashboard`). None of them imports Ray; only `export` needs torch.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from nas.cli.options import DataOption, Json, Set, Storage, console, overrides, print_json

if TYPE_CHECKING:
    from nas.studies import StoredStudy

_FAILED_SHOWN = 5

Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Of the study; may be left out where there is one.")]


def inspect(
    path: Annotated[Path, typer.Argument(metavar="SPACE.yaml|FOLDER|NAME", help=(
        "A search space, a study or an architecture; an exported folder; or a reference network, e.g. resnet50."))],
    data: DataOption = None,
    budget: Annotated[str | None, typer.Option(metavar="TIME", help="How far it would go, e.g. 30m.")] = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Look at a space before spending anything: points, feasible share, costs, conflicts, time.

    Example: nas inspect search_spaces/resnext.yaml --data cifar10 --budget 2h
    """
    from nas.inspection import inspect_study
    from nas.study import load_study

    study = load_study(path, overrides({"data.source": data, "budget.time": budget}, set_))
    out = console(json)
    found = inspect_study(study, lambda line: out.print(line, markup=False))
    if json:
        print_json(found.to_dict())
    else:
        for line in found.lines():
            out.print(line, markup=False)


def status(name: Name = None, storage: Storage = None, json: Json = False) -> None:
    """How studies stand: trials by state, the best accuracy, time spent.

    Example: nas status resnext
    """
    from nas.report import terminal_front
    from nas.studies import open_study, study_names

    out = console(json)
    names = study_names(storage) if name is None else [name]
    found = [_standing(open_study(one, storage)) for one in names]
    if json:
        print_json({"studies": found} if name is None else found[0])
        return
    if not found:
        out.print("no study yet: start one with nas run search_spaces/resnext.yaml")
    for one in found:
        states = ", ".join(f"{count} {state.lower()}" for state, count in one["states"].items()) or "no trials"
        best = f"best accuracy {one['best_accuracy']:.4f}" if one["best_accuracy"] is not None else "nothing complete"
        title = f"{one['name']} (running)" if one["running"] else one["name"]
        line = f"{title}: {states}; {one['front_size']} on the front, {best}; {one['time']} spent"
        out.print(line, markup=False)
    if name is not None and found:
        stored = open_study(name, storage)
        for line in _to_act_on(stored):
            out.print(line, markup=False)
        if found[0]["states"].keys() - {"FAILED", "OUT_OF_MEMORY"} or not found[0]["states"]:
            terminal_front(stored.results, out)


def _to_act_on(stored: StoredStudy) -> list[str]:
    """What failed and why, and what was refused and by how much."""
    failed = [(record.number, one) for record in stored.records.values() for one in record.trainings
              if one.state in ("FAILED", "OUT_OF_MEMORY")]
    lines = [f"  trial {number}, seed {one.seed}, {one.state.lower()}: {one.reason}"
             for number, one in failed[:_FAILED_SHOWN]]
    if failed:
        more = f"{len(failed) - _FAILED_SHOWN} more; " if len(failed) > _FAILED_SHOWN else ""
        lines.append(f"  {more}what crashed can be tried again: nas retry {stored.name} --failed; what diverged wants "
                     "another recipe: nas run --fork")
    refused = sorted(stored.infeasible.items(), key=lambda item: -item[1].count)
    said = [f"{found.count:,} by {name}" + (f" ({found.extent})" if found.extent else "") for name, found in refused]
    return [*lines, *([f"  infeasible points: {', '.join(said)}"] if said else [])]


def _standing(stored: StoredStudy) -> dict[str, Any]:
    """Without a look at the data, which may be gone."""
    from nas.search.near_front import NearFront
    from nas.units import human_seconds

    records = stored.records.values()
    complete = [record for record in records if record.state == "COMPLETE"]
    best = max((record.accuracy for record in complete if record.accuracy is not None), default=None)
    states = {str(state): count for state, count in Counter(record.state for record in records).most_common()}
    if not stored.running and "RUNNING" in states:      # their driver died: the next nas run takes them up
        states["WAITING"] = states.get("WAITING", 0) + states.pop("RUNNING")
    return {
        "name": stored.name, "running": stored.running, "states": states,
        "front_size": len(NearFront(stored.study.objectives, complete).front()), "best_accuracy": best,
        "reused": sum(record.reused for record in records),
        "infeasible": {name: asdict(found) for name, found in stored.infeasible.items()},
        "seconds": stored.seconds_spent, "time": human_seconds(stored.seconds_spent),
    }


def report(
    name: Name = None,
    output: Annotated[Path | None, typer.Option("--output", help="Folder; default: studies/NAME.")] = None,
    storage: Storage = None,
    json: Json = False,
) -> None:
    """Write the report: one self-contained HTML file, and front.csv.

    Example: nas report resnext --output /tmp/report
    """
    from nas.studies import open_study

    path = open_study(name, storage).write_report(output)
    if json:
        print_json({"report": str(path), "front_csv": str(path.with_name("front.csv"))})
    else:
        console().print(f"{path}\n{path.with_name('front.csv')}", markup=False)


def export(
    name: Name = None,
    best: Annotated[bool, typer.Option("--best", help="The most accurate network (the default).")] = False,
    knee: Annotated[bool, typer.Option("--knee", help="The network at the knee of the front.")] = False,
    trial: Annotated[int | None, typer.Option(min=0, help="The network of one trial.")] = None,
    front: Annotated[bool, typer.Option("--front", help="Every network of the front.")] = False,
    format_: Annotated[str | None, typer.Option("--format", metavar="LIST", help=(
        "Files for other runtimes: a comma list of pt2 and onnx, or all, or none. Default: all that can be written "
        "here."))] = None,
    storage: Storage = None,
    json: Json = False,
) -> None:
    """Export networks as folders that load without nas, each checked against the database.

    Example: nas export resnext --knee --format onnx
    """
    from nas.errors import NasError
    from nas.export import choose, formats_of, left_out
    from nas.export import export as export_trial
    from nas.studies import open_study

    if best + knee + front + (trial is not None) > 1:
        raise NasError("--best, --knee, --trial and --front exclude each other; give one")
    which: Literal["best", "knee", "front"] = "knee" if knee else "front" if front else "best"
    formats = None if format_ is None else formats_of(format_)
    stored = open_study(name, storage)
    chosen = choose(stored, trial if trial is not None else which)
    folders = [export_trial(stored, number, formats=formats) for number in chosen]
    without = {str(folder): left_out(folder) for folder in folders}
    if json:
        print_json({"folders": list(without), "left_out": {path: why for path, why in without.items() if why}})
        return
    for folder in folders:
        console().print(f"{folder}", markup=False)
    for line in _left_out_lines(without):
        console().print(line, markup=False)


def _left_out_lines(without: dict[str, dict[str, str]]) -> list[str]:
    """One for each format and reason, which names the folders where it is not all of them."""
    found: dict[tuple[str, str], list[str]] = {}
    for folder, reasons in without.items():
        for name, why in reasons.items():
            found.setdefault((name, why), []).append(Path(folder).name)
    named = {key: "" if len(folders) == len(without) else f" of {', '.join(folders)}" for key, folders in found.items()}
    return [f"{name}{folders} left out: {why}" for (name, why), folders in named.items()]


def dashboard(
    storage: Storage = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8080,
) -> None:
    """Serve the Optuna dashboard of the database on 127.0.0.1.

    Example: nas dashboard --port 8081
    """
    from nas.serve import serve_dashboard

    out = console()
    serve_dashboard(storage, port, lambda url: out.print(f"Optuna dashboard at {url} (Ctrl-C ends it)", markup=False))

