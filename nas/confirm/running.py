"""A confirmation as a study of its own, and its run: made once, then gone on with as it was made."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nas.confirm.candidates import candidates
from nas.errors import NasError
from nas.evaluation import Evaluator
from nas.network_yaml import network_section
from nas.own_block import CODE, as_it_was
from nas.search.run import Outcome, View, run
from nas.settings import FINAL
from nas.studies import HOME, StoredStudy, open_study, study_names
from nas.study import NAME, Study, study_of
from nas.yamlfile import Document

EPOCHS = 2          # times those of the search
SEEDS = 3
_FRESH = 1_000      # between the search's seeds and these


def confirm(study: Study, storage: str | None = None, home: Path = HOME, view: View | None = None,
            evaluate: Evaluator | None = None) -> Outcome:
    """Run a `confirmation` until each network of it has all its seeds, or Ctrl-C. Run again, it goes on."""
    return run(study, storage, home, view, evaluate, fork=None)


def confirmation(
    name: str | None, *, title: str | None = None, top: int | None = None, front: bool = False,
    control: int | None = None, seeds: int | None = None, epochs: int | None = None, overrides: Iterable[str] = (),
    storage: str | None = None, home: Path = HOME,
) -> Study:
    """The study that confirms study `name`: the one that is in the database, or a new one.

    title: of the new study; default NAME-confirm. top, front, control: as in `candidates`. seeds: trainings a network.
    epochs: of each; default: twice the search's. overrides: KEY=VALUE, such as search.workers=2. Raises `NasError`,
    also where the one that is there was made with another choice.
    """
    stored = open_study(name, storage, home)
    if stored.study.confirm is not None:
        raise NasError(f"study {stored.name} is a confirmation itself, of {stored.study.confirm.study}; confirm that "
                       "one again, with more --seeds")
    title = title or f"{stored.name[:56]}-confirm"
    if not NAME.fullmatch(title):
        raise NasError(f"--name {title}: must be letters, digits, dots, dashes and underscores, at most 64")
    if title in study_names(storage, home):
        values = _there(StoredStudy(title, stored.storage, home), stored.name, top, control, epochs)
    else:
        values = _made(stored, title, top, front, control or 0, epochs)
    document = Document(f"study {title}", values)
    if seeds is not None:
        document.set(f"search.repeats={seeds}")
    for assignment in overrides:
        document.set(assignment)
    return study_of(document, title)


def _there(stored: StoredStudy, of: str, top: int | None, control: int | None, epochs: int | None) -> dict[str, Any]:
    """The settings of the confirmation that is there. Raises `NasError` where other networks are asked for."""
    found = stored.study.confirm
    if found is None or found.study != of:
        raise NasError(f"study {stored.name} is there and confirms {found.study if found else 'nothing'}; give this "
                       "one another name: --name")
    asked = {"--top": (top, found.top), "--control": (control, found.control),
             "--epochs": (epochs, stored.study.recipe.epochs)}
    for option, (wanted, was) in asked.items():
        if wanted is not None and wanted != was:
            without = f"{option} {was}" if was else f"no {option}"
            raise NasError(f"{option} {wanted}: study {stored.name} was begun with {without}; leave it out to go on, "
                           f"or give another name: --name {stored.name}-2")
    return stored.study.spec()


def _made(stored: StoredStudy, title: str, top: int | None, front: bool, control: int, epochs: int | None,
          ) -> dict[str, Any]:
    study, chosen = stored.study, candidates(stored, top, front, control)
    for stage in (stage for one in chosen.values() for stage in one.network.stages):
        as_it_was(stage.block, dict(stage.options).get(CODE))
    recipe = study.recipe.model_dump() | {**FINAL, "epochs": epochs or EPOCHS * study.recipe.epochs}
    search = study.search.model_dump() | {
        "sampler": "grid", "early_stopping": {"kind": "none"}, "repeats": SEEDS, "keep": "all",
        "latency": "measured"}
    return {
        "name": title, "about": f"The front of {stored.name}, trained again in full with several seeds.",
        "networks": {name: network_section(one.network) for name, one in chosen.items()},
        "objectives": {o.name: o.direction for o in study.objectives}, "data": study.data.model_dump(),
        "recipe": recipe, "search": search, "seed": (study.seed + _FRESH) % 2**32,
        "confirm": {"study": stored.name, "top": top, "control": control,
                    "networks": {name: one.why.model_dump() for name, one in chosen.items()}},
    }
