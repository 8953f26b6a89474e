"""A study: a search space with everything a run of it needs, read from one YAML file, every default resolved.

`load_study` reads a space file (which gets defaults) or a study file (which names a space or holds one); `spec()`
writes everything back as plain data, so that a study is one file that can be sent to someone. Where a path is wanted,
the name of a reference network will do: it stands for a file that holds the network and its data.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from nas.cost import COSTS
from nas.errors import InvalidInput, NasError, Problem
from nas.feasibility import never_legal, unserved
from nas.front import Objective
from nas.language import closest, read_space
from nas.listed import NetworkList, read_list
from nas.network_yaml import network_section
from nas.own_block import fingerprint, look_in
from nas.reference import is_reference, reference
from nas.settings import Budget, Confirmation, Data, Recipe, Search
from nas.space import SearchSpace
from nas.units import parse_duration, parse_size
from nas.yamlfile import Document, nearest_file, parse, read

DIRECTIONS = {"accuracy": "max", **dict.fromkeys(COSTS, "min"), "latency_ms": "min"}
_SPACE_KEYS = ("network", "rules", "limits", "networks")
SECTIONS: dict[str, type[BaseModel]] = {"data": Data, "recipe": Recipe, "search": Search, "budget": Budget}
_KEYS = {"name", "about", "space", "objectives", "seed", "confirm", "blocks", *_SPACE_KEYS, *SECTIONS}
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
FIXED = ("network", "rules", "limits", "networks", "objectives", "data", "recipe", "confirm", "seed")   # in a study
DEFAULT_TRIALS = 28
_WRITTEN: Mapping[tuple[str, str], tuple[Callable[[object], float], str]] = {       # with units, by people
    ("budget", "time"): (parse_duration, "write e.g. 30m"), ("search", "quota"): (parse_size, "write e.g. 20GB")}


@dataclass(frozen=True)
class Study:
    """Everything that decides what a run does.

    `written` holds the space sections as they were written; `blocks` the fingerprints of the users' blocks in it, by
    their names: as they are now, or of a stored study, as they were; `blamed()` is a context in which mistakes that
    only the data or the machine show are said with their place in the file.
    """

    name: str
    about: str
    space: SearchSpace
    objectives: tuple[Objective, ...]
    data: Data
    recipe: Recipe
    search: Search
    budget: Budget
    seed: int
    written: Mapping[str, Any]
    confirm: Confirmation | None = None
    blocks: Mapping[str, str] = field(default_factory=dict)
    file: str = field(default="", repr=False, compare=False)        # that it was read from
    blamed: Callable[[], AbstractContextManager[None]] = field(default=nullcontext, repr=False, compare=False)

    def spec(self) -> dict[str, Any]:
        """The study as plain data, every default resolved; `study_from_spec` inverts it."""
        sections = {key: getattr(self, key).model_dump() for key in SECTIONS}
        return {
            "name": self.name, "about": self.about, **{k: self.written[k] for k in _SPACE_KEYS if k in self.written},
            "objectives": {o.name: o.direction for o in self.objectives}, **sections, "seed": self.seed,
            **({"confirm": self.confirm.model_dump()} if self.confirm else {}),
            **({"blocks": dict(self.blocks)} if self.blocks else {}),
        }

    def renamed(self, name: str) -> Study:
        """The same study under another name. Raises `InvalidInput` where the name is not one."""
        if not NAME.fullmatch(name):
            raise InvalidInput([_bad_name("--name", name)])
        return replace(self, name=name)

    def changes(self, spec: Mapping[str, Any]) -> list[str]:
        """What must not change within a study but differs from `spec`, a line each: `field: was -> is`."""
        was, mine = _stored(spec), _stored(self.spec())
        for key in ("data", "recipe"):      # what an earlier version did not know of it did as the default does
            was[key] = SECTIONS[key]().model_dump() | was.get(key, {})
        found: list[str] = []
        for key in FIXED:
            _differences(key, was.get(key), mine.get(key), found)
        latency = was.get("search", {}).get("latency", "measured")      # of another kind, they do not compare
        _differences("search.latency", latency, self.search.latency, found)
        known = was.get("blocks", {})
        return found + [f"network.block {name}: its file was changed since" for name, now in self.blocks.items()
                        if known.get(name, now) != now]


def load_study(path: str | Path, overrides: Iterable[str] = ()) -> Study:
    """The study that a space or study file describes, with `KEY=VALUE` overrides. Raises `InvalidInput`.

    An exported folder stands for its architecture.yaml. Where there is no such file, the name of a reference network
    does: `resnet20`, with the data that it was made for.
    """
    path = _file(path)
    document = document_of(path)
    values = document.values
    if isinstance(values.get("space"), str):
        document = _with_space(document, Path(path).parent / values["space"])
    for assignment in overrides:
        document.set(assignment)
    look_in(str(Path(path).resolve().parent))
    return study_of(document, Path(path).stem)


def document_of(path: str | Path) -> Document:
    """What the file `path` holds, or what a file of the reference network `path` would. Raises `NasError`."""
    if not is_named(path):
        return read(_file(path))
    try:
        found = reference(str(path))
    except NasError as error:
        raise NasError(_neither(path, str(error))) from None
    return Document(found.name, {
        "name": found.name, "about": found.about, "network": network_section(found.architecture),
        "data": {"source": found.data}})


def _file(path: str | Path) -> str | Path:
    inside = Path(path) / "architecture.yaml"
    return inside if os.path.isfile(inside) else path       # also of a name that can be no file's


def _neither(path: str | Path, said: str) -> str:
    """What is to be said of a word that is the name of no network, as `said`, and of no file."""
    if is_reference(str(path)):
        return said
    near = nearest_file(path, 1.0 if "did you mean" in said else 0.7)
    return f"{path}: no such file or reference network; did you mean {near}?" if near else \
        f"{said}; there is no such file either"


def is_named(path: str | Path) -> bool:
    """Whether `path` is taken as the name of a reference network: a word, where there is no such file."""
    word = str(path)
    if not _WORD.fullmatch(word) or os.path.isfile(word):
        return False
    return is_reference(word) or not os.path.lexists(word)


def study_from_spec(spec: Mapping[str, Any]) -> Study:
    """The study that `spec()` wrote."""
    return study_of(Document("the stored study", dict(spec)), str(spec.get("name", "study")), trusted=True)


def study_from_text(text: str, name: str = "study") -> Study:
    """The study that YAML text describes. Raises `InvalidInput`."""
    return study_of(parse(text, name), name)


def _with_space(document: Document, path: Path) -> Document:
    """A study file that names a space: the space's sections, under the study's own."""
    try:
        space = read(path)
    except InvalidInput:
        raise
    except NasError as error:
        raise InvalidInput([document.problem(("space",), str(error))]) from None
    both = sorted(key for key in _SPACE_KEYS if key in document.values)
    if both:
        raise InvalidInput([document.problem((both[0],), "stands beside space, which has one of its own",
                                             "name a space or hold one, not both")])
    own = {key: value for key, value in document.values.items() if key != "space"}
    places = space.places | {place: where for place, where in document.places.items() if place[:1] != ("space",)}
    return Document(document.name, {**space.values, **own}, places)


def study_of(document: Document, stem: str, trusted: bool = False) -> Study:
    """The study that a document describes; `stem` names it where it does not. Raises `InvalidInput`."""
    values = document.values
    problems = [document.problem((key,), "is not known", closest(key, _KEYS)) for key in values if key not in _KEYS]
    if "space" in values:
        problems.append(document.problem(("space",), "must be the path of a space file that names no other",
                                         "write it at the top of the study file", values["space"]))
    space = (read_list if "networks" in values else read_space)(document, problems, trusted)
    objectives = _objectives(document, problems)
    sections = {key: _section(model, document, key, problems) for key, model in SECTIONS.items()}
    confirm = _section(Confirmation, document, "confirm", problems) if "confirm" in values else None
    if isinstance(space, NetworkList):
        sections |= _of_list(space, sections, values)
    name, about, seed = values.get("name", stem), values.get("about", ""), values.get("seed", 0)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        problems.append(_bad_name(document.at(("name",)), name))
    if not isinstance(about, str):
        problems.append(document.problem(("about",), "must be text", "write about: > and sentences under it", about))
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        rule = "must be a whole number from 0 to 4294967295"
        problems.append(document.problem(("seed",), rule, "write seed: 0", seed))
    if space is not None and not problems and not trusted:
        problems += [document.problem(("network", *place), *words) for place, *words in never_legal(space)]
        sampler = sections["search"].sampler
        rule, remedy = unserved(sampler, space, objectives)
        problems += [document.problem(("search", "sampler"), rule, remedy, sampler)] if rule else []
        problems += _unstartable(document, space, sections["recipe"], sections["search"])
    if problems or space is None:
        raise InvalidInput(problems)
    budget = sections["budget"]
    if budget.trials is None and budget.time is None:
        budget = Budget(trials=DEFAULT_TRIALS)
    blocks = values.get("blocks", {}) if trusted else {name: fingerprint(name) for name in space.own_blocks()}
    return Study(name, about.strip(), space, objectives, sections["data"], sections["recipe"], sections["search"],
                 budget, seed, {key: values[key] for key in _SPACE_KEYS if key in values}, confirm, blocks,
                 document.name, document.blamed)


def _of_list(space: NetworkList, sections: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Sections of a study that lists its networks, where it does not say otherwise: each of them, in their order."""
    found = {}
    if "sampler" not in (values.get("search") or {}):
        found["search"] = sections["search"].model_copy(update={"sampler": "grid"})
    if sections["budget"].trials is None and sections["budget"].time is None:
        found["budget"] = Budget(trials=len(space.networks))
    return found


def _unstartable(document: Document, space: SearchSpace, recipe: Recipe, search: Search) -> list[Problem]:
    """Why no training can begin with the weights of `recipe.start`."""
    broken = [
        (space.axes, "begins one network, and this is a space of several", "leave it out of a search"),
        (recipe.levels, "begins the whole network, and recipe.levels a shallower one", "leave one of them out"),
        (not search.start, "wants search.start, the folder that holds them", "use nas train --from FOLDER"),
    ]
    return [document.problem(("recipe", "start"), rule, remedy) for wrong, rule, remedy in broken
            if recipe.start and wrong]


def _bad_name(where: str, name: object) -> Problem:
    return Problem(where, "name", "must be letters, digits, dots, dashes and underscores, at most 64",
                   "it names a folder; write e.g. resnext-2", name)


def _objectives(document: Document, problems: list[Problem]) -> tuple[Objective, ...]:
    raw = document.values.get("objectives", {"accuracy": "max", "macs": "min"})
    if not isinstance(raw, dict) or not raw:
        problems.append(document.problem(("objectives",), "must be a mapping", "write {accuracy: max, macs: min}", raw))
        return ()
    found = []
    for name, direction in raw.items():
        if name not in DIRECTIONS:
            problems.append(document.problem(("objectives", name), "is not an objective", closest(name, DIRECTIONS)))
        elif direction != DIRECTIONS[name]:
            problems.append(document.problem(("objectives", name), f"must be {DIRECTIONS[name]}",
                                             f"write {name}: {DIRECTIONS[name]}", direction))
        else:
            found.append(Objective(name, direction))
    if found and len(found) == len(raw) and all(o.name in COSTS for o in found):
        problems.append(document.problem(("objectives",), "hold nothing that has to be trained",
                                         "add accuracy: max", raw))
    return tuple(found)


def _section(model: type[BaseModel], document: Document, key: str, problems: list[Problem]) -> Any:
    raw = document.values.get(key)
    if raw is None:
        return model()
    if not isinstance(raw, dict):
        problems.append(document.problem((key,), "must be a mapping", f"write keys under {key}:", raw))
        return model()
    raw = dict(raw)
    for (section, name), (parsed, remedy) in _WRITTEN.items():
        if section == key and raw.get(name) is not None:
            try:
                raw[name] = parsed(raw[name])
            except ValueError as error:
                problems.append(document.problem((key, name), str(error), remedy, raw.pop(name)))
    if key == "search" and isinstance(raw.get("early_stopping"), str):
        raw["early_stopping"] = {"kind": raw["early_stopping"]}
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        problems += [_section_problem(document, key, model, e) for e in error.errors()]
        return model()


def _section_problem(document: Document, key: str, model: type[BaseModel], error: Any) -> Problem:
    place = (key, *error["loc"])
    context, kind = error.get("ctx", {}), error["type"]
    value = error["input"] if not isinstance(error["input"], dict) else None
    if kind == "extra_forbidden":
        return document.problem(place, "is not known", closest(error["loc"][-1], _fields(model, error["loc"][:-1])))
    rule = {
        "literal_error": f"must be one of {context.get('expected', '')}",
        "int_type": "must be a whole number", "float_type": "must be a number", "string_type": "must be text",
        "bool_type": "must be true or false",
        "model_type": "must be a mapping",
    }.get(kind, error["msg"].replace("Input should", "must").replace("Value error, ", ""))
    found = _fields(model, error["loc"][:-1]).get(error["loc"][-1])
    return document.problem(place, rule, _remedy(str(error["loc"][-1]), found) if found is not None else "", value)


def _remedy(name: str, found: FieldInfo) -> str:
    """What to write instead: the default where there is one that can be written, and what the field means."""
    plain = isinstance(found.default, str | int | float)
    return f"write e.g. {name}: {found.default} ({found.description})" if plain else found.description or ""


def _fields(model: type[BaseModel], path: tuple[Any, ...]) -> dict[Any, Any]:
    for step in path:
        inner = model.model_fields.get(step) if isinstance(step, str) else None
        if inner is None or not (isinstance(inner.annotation, type) and issubclass(inner.annotation, BaseModel)):
            return {}
        model = inner.annotation
    return dict(model.model_fields)


def _stored(spec: Mapping[str, Any]) -> dict[str, Any]:
    """`spec` as a database gives it back: JSON knows no whole number as a key."""
    stored: dict[str, Any] = json.loads(json.dumps(spec))
    return stored


def _differences(path: str, was: Any, now: Any, found: list[str]) -> None:
    if isinstance(was, dict) and isinstance(now, dict):
        for key in [*was, *(k for k in now if k not in was)]:
            _differences(f"{path}.{key}", was.get(key), now.get(key), found)
    elif was != now:
        found.append(f"{path}: {was} -> {now}")
