"""Which trials are exported, and whether they can be: names for a choice of trials, clear words where there is none."""

from __future__ import annotations

from typing import Literal, TypeAlias

from nas.errors import NasError
from nas.report.results import best, empty_text, front, knee_number
from nas.store import State, TrialRecord
from nas.studies import StoredStudy

Which: TypeAlias = Literal["best", "knee", "front"]


def choose(stored: StoredStudy, which: Which | int) -> list[int]:
    """The numbers of the trials meant. Raises `NasError` where there is none.

    best: the highest accuracy, the cheapest of equals. knee: where the front bends. front: all of it whose weights
    are kept, from the cheapest up. A number: that trial.
    """
    if isinstance(which, int):
        return [exportable(stored, which).number]
    results = stored.results
    if best(results) is None:
        raise NasError(f"study {stored.name} has nothing to export: {empty_text(results)}")
    if which == "front":
        numbers = [int(number) for number in front(results)["number"]]
        kept = [number for number in numbers if stored.records[number].checkpoint]
        if not kept:
            raise NasError(f"study {stored.name}: no network of the front has its weights; {_kept(stored)}")
        return kept
    number = _best(stored) if which == "best" else knee_number(results)
    if number is None:
        raise NasError(f"study {stored.name}: its front has no knee, with fewer than three networks; "
                       "export the best one, or a trial by its number")
    return [exportable(stored, number).number]


def exportable(stored: StoredStudy, number: int) -> TrialRecord:
    """Trial `number`, which has weights. Raises `NasError` that says why not, and which do."""
    record = stored.records.get(number)
    if record is None:
        raise NasError(f"study {stored.name} has no trial {number}; {_kept(stored)}")
    reason = _reason(record)
    if reason:
        raise NasError(f"trial {number} of {stored.name} {reason}; {_kept(stored)}")
    return record


def _best(stored: StoredStudy) -> int | None:
    found = best(stored.results)
    return None if found is None else int(found["number"])


def _reason(record: TrialRecord) -> str:
    why = f": {record.reason}" if record.reason else ""
    match record.state:
        case State.PRUNED:
            plural = "s" * (record.epochs != 1)
            return f"was stopped early, after {record.epochs} epoch{plural}, so that it has no weights"
        case State.FAILED:
            return f"failed{why}"
        case State.OUT_OF_MEMORY:
            return f"ran out of memory{why}"
        case State.RUNNING | State.WAITING:
            return "is not trained yet"
        case State.COMPLETE:
            if record.checkpoint:
                return ""
            if record.reused:
                return (f"was trained by study {record.trained_by}, which did not keep its weights; train it again: "
                        f"nas train with its architecture, shown by nas report {record.trained_by}")
            return "is too far from the front for its weights to be kept (search.keep), or search.quota had no room"


def _kept(stored: StoredStudy) -> str:
    kept = [number for number, record in sorted(stored.records.items()) if record.checkpoint]
    if not kept:
        return "no trial of it has weights"
    shown = ", ".join(str(number) for number in kept[:12])
    return f"weights are kept of trials {shown}{', ...' if len(kept) > 12 else ''}"
