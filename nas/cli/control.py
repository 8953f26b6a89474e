"""`nas stop` and `nas retry`: what is said to a search from another terminal, through the database."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli.options import Json, Storage, console, print_json

if TYPE_CHECKING:
    from nas.store import Ledger
    from nas.store.lease import Holder

Name = Annotated[str, typer.Argument(help="Of the study.")]

_PATIENCE = 120.0       # seconds that a search is given to stop


def stop(name: Name, storage: Storage = None, json: Json = False) -> int:
    """Stop a running search cleanly, from any machine that reaches its database. The same nas run goes on later.

    Example: nas stop resnext
    """
    from nas.store import Ledger
    from nas.studies import HOME, default_storage

    out = console(json)
    with Ledger.open(storage or default_storage(HOME), create=False) as ledger:
        holder = ledger.holder(name)
        running, stopped = holder is not None and holder.alive, True
        if holder is not None and running:
            ledger.ask_to_stop(name)
            with out.status(f"{name} is stopping"):
                stopped = _has_left(ledger, name, holder)
    if json:
        print_json({"study": name, "was_running": running, "stopped": stopped})
    elif not running:
        out.print(f"{name} is not running", markup=False)
    else:
        out.print(f"{name} has stopped" if stopped else f"{name} has been asked to stop, and has not yet: {holder}",
                  markup=False)
    return 0 if stopped else 1


def _has_left(ledger: Ledger, name: str, holder: Holder) -> bool:
    """Wait until `holder` has the study no more; whether it came to that."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        left = ledger.holder(name)
        if left is None or left.token != holder.token or not left.alive:
            return True
        time.sleep(0.2)
    return False


def retry(
    name: Name,
    failed: Annotated[bool, typer.Option("--failed", help="The trials that failed or ran out of memory.")] = False,
    storage: Storage = None,
    json: Json = False,
) -> None:
    """Have trials trained again that failed: they wait, and the next nas run trains them first.

    Example: nas retry resnext --failed
    """
    from nas.errors import NasError
    from nas.search.tenure import tenure
    from nas.store import Ledger
    from nas.studies import HOME, default_storage
    from nas.units import many

    if not failed:
        raise NasError("say which trials: nas retry NAME --failed")
    with Ledger.open(storage or default_storage(HOME), create=False) as ledger, tenure(ledger, name):
        numbers = ledger.retry_trials(name)
    if json:
        print_json({"study": name, "waiting": numbers})
        return
    what = ", ".join(map(str, numbers[:20])) + ("…" if len(numbers) > 20 else "")
    wait = f"{many(len(numbers), 'trial')} {'waits' if len(numbers) == 1 else 'wait'}"
    console().print(f"{wait} again: {what}; go on with the same nas run" if numbers
                    else f"no trial of {name} failed", markup=False)
