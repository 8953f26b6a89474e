"""Read one YAML 1.2 file into plain values, with the place of each, and refuse all that plain data does not need.

Tags, anchors, aliases, duplicate keys, several documents and absurd sizes are refused: a search space is data. What
the values mean is the business of `nas.space` and `nas.study`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from nas.errors import InvalidInput, NasError, Problem, one_line

Path_ = tuple[str | int, ...]   # a place in a document: ("network", "depth", "from")
_LARGEST = 200_000            # bytes
_DEEPEST = 20                   # levels of nesting
_NO_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_LOOKED_AT = 1000           # files of a folder, for one that was meant
_INDEX = re.compile(r"[0-9]{1,9}")


class Given(str):
    """An assignment `a.b=VALUE` that was given as an option of its own: `where` is how it was typed."""

    where: str

    def __new__(cls, assignment: str, where: str) -> Given:
        made = super().__new__(cls, assignment)
        made.where = where
        return made


@dataclass
class Document:
    """Plain values (dict, list, str, int, float, bool, None), and where each was written."""

    name: str
    values: dict[str, Any]
    places: dict[Path_, str] = field(default_factory=dict)

    def at(self, path: Path_) -> str:
        """`file:line:column` of `path`, or of the nearest thing around it that was written."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return self.name

    def problem(self, path: Path_, rule: str, remedy: str = "", value: Any = None) -> Problem:
        """A `Problem` at `path`."""
        return Problem(self.at(path), dotted(path), rule, remedy, value)

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Mistakes found later, in values that are no longer a document, are said with the places they came from."""
        try:
            yield
        except InvalidInput as error:
            raise InvalidInput(self._placed(problem) for problem in error.problems) from error

    def _placed(self, problem: Problem) -> Problem:
        return problem if problem.where else replace(problem, where=self.at(tuple(problem.field.split("."))))

    def set(self, assignment: str) -> None:
        """Apply `a.b.c=VALUE` (VALUE is YAML), as `--set` does; the place becomes the option itself."""
        where = assignment.where if isinstance(assignment, Given) else f"--set {assignment}"
        key, equals, text = assignment.partition("=")
        keys = tuple(int(k) if _INDEX.fullmatch(k) else k for k in key.strip().split("."))
        if not equals or not all(str(k) for k in keys):
            raise InvalidInput([Problem(where, "", "must be KEY=VALUE", "write e.g. --set data.resolution=16")])
        value, places = _parse(text, where)
        target: Any = self.values
        for step in keys[:-1]:
            if not isinstance(target.get(step), dict):
                target[step] = {}
            target = target[step]
        target[keys[-1]] = value
        self.places = {p: w for p, w in self.places.items() if p[: len(keys)] != keys}
        around = {keys[:length]: where for length in range(1, len(keys))}      # those that were not there
        self.places = around | self.places | {(*keys, *path): where for path in places}


def dotted(path: Path_) -> str:
    """`network.stages.0` as people write it."""
    return ".".join(str(step) for step in path)


def read(path: str | Path) -> Document:
    """Read the mapping in the file `path`. Raises `InvalidInput` with file, line and column."""
    name = one_line(str(path))
    try:
        with Path(path).open("rb") as file:
            raw = file.read(_LARGEST + 1)       # no more, even of a file without end
        if len(raw) > _LARGEST:
            raise NasError(f"{name}: larger than {_LARGEST // 1000} kB; a search space is a page of YAML")
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise NasError(f"{name}: not a text file (byte {error.start} is not UTF-8); give a YAML file") from None
    except IsADirectoryError:
        raise NasError(f"{name}: is a folder; give a YAML file") from None
    except FileNotFoundError:
        near = one_line(nearest_file(path))
        remedy = f"did you mean {near}?" if near else "shipped spaces are under search_spaces/"
        raise NasError(f"{name}: no such file; {remedy}") from None
    except (OSError, ValueError) as error:
        raise NasError(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return parse(text, name)


def nearest_file(path: str | Path, least: float = 0.7) -> str:
    """A YAML file beside `path`, or a shipped space, whose name is (nearly) the same; empty where there is none.

    least: how alike they must be at least, 1 being the same name, with whatever behind the dot.
    """
    wanted = Path(path)
    folders = (Path("search_spaces"), wanted.parent)        # the one beside it rather than the shipped one
    there: dict[str, str] = {}
    for folder in folders:
        with suppress(OSError):         # one that is not there, or may not be read
            there |= {one.stem: str(one) for one in islice(folder.iterdir(), _LOOKED_AT)
                      if one.suffix in (".yaml", ".yml")}
    near = get_close_matches(wanted.stem, there, 1, least)
    return there[near[0]] if near else ""


def parse(text: str, name: str) -> Document:
    """Read the mapping in `text`. Raises `InvalidInput` with name, line and column."""
    values, places = _parse(text, name)
    if not isinstance(values, dict):
        what = "is empty" if values is None else "must be a mapping of keys to values"
        raise InvalidInput([Problem(f"{name}:1:1", "", what, "start with 'network:'")])
    return Document(name, values, places)


def _parse(text: str, name: str) -> tuple[Any, dict[Path_, str]]:
    try:
        _refuse_extras(text, name)
        root = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        raise InvalidInput([_syntax_problem(error, name)]) from None
    except ReaderError as error:
        before = text[: error.position].split("\n")
        where, character = f"{name}:{len(before)}:{len(before[-1]) + 1}", f"character U+{int(error.character):04X}"
        raise InvalidInput([Problem(where, "", f"is not YAML: {character} is not allowed", "remove it")]) from None
    except (YAMLError, ValueError) as error:
        what = (str(error).splitlines() or [""])[0]
        raise InvalidInput([Problem(name, "", f"is not YAML: {what}", "write plain mappings and lists")]) from None
    reader = _Reader(name)
    values = reader.value(root, ()) if root is not None else None
    if reader.problems:
        raise InvalidInput(reader.problems)
    return values, reader.places


def _refuse_extras(text: str, name: str) -> None:
    depth = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > _DEEPEST:
            where = _place(name, event.start_mark)
            raise InvalidInput([Problem(where, "", "nested too deeply", "a search space needs four levels")])
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
            where = _place(name, event.start_mark)
            raise InvalidInput([Problem(where, "", "anchors and aliases are not allowed", "write the value out")])
        if getattr(event, "tag", None) is not None:
            where, tag = _place(name, event.start_mark), str(event.tag).replace("tag:yaml.org,2002:", "!!")
            raise InvalidInput([Problem(where, "", "YAML tags are not allowed", "write a plain value", tag)])


def _syntax_problem(error: MarkedYAMLError, name: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    what = " ".join(str(error.problem or error.context or error).split())
    return Problem(_place(name, mark) if mark else name, "", f"is not YAML: {what}", "check quotes and indentation")


def _place(name: str, mark: Any) -> str:
    return f"{name}:{mark.line + 1}:{mark.column + 1}"


class _Reader:
    """Turns YAML nodes into plain values; collects every problem on the way."""

    def __init__(self, name: str):
        self.name = name
        self.places: dict[Path_, str] = {}
        self.problems: list[Problem] = []

    def value(self, node: Node, path: Path_) -> Any:
        where = self.places.setdefault(path, _place(self.name, node.start_mark))
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.value(child, (*path, index)) for index, child in enumerate(node.value)]
        assert isinstance(node, ScalarNode)
        self._check_text(node, where, path)
        return _scalar(node)

    def _mapping(self, node: MappingNode, path: Path_) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            where = _place(self.name, key_node.start_mark)
            key = None
            if isinstance(key_node, ScalarNode):
                self._check_text(key_node, where, path)
                key = _scalar(key_node)
            if not isinstance(key, str | int) or isinstance(key, bool):
                self._problem(where, path, "a key must be a word or a whole number", "write key: value")
            elif key in result:
                self._problem(where, (*path, key), "is given twice", "remove one of them")
            else:
                self.places[(*path, key)] = where
                result[key] = self.value(value_node, (*path, key))
        return result

    def _check_text(self, node: ScalarNode, where: str, path: Path_) -> None:
        """Escapes in quotes can write what is no text: no file and no database takes it."""
        wrong = None if node.value.isprintable() else _NO_TEXT.search(node.value)
        if wrong:
            rule = f"holds the character U+{ord(wrong[0]):04X}, which is no text"
            self._problem(where, path, rule, "remove it", node.value)

    def _problem(self, where: str, path: Path_, rule: str, remedy: str, value: Any = None) -> None:
        self.problems.append(Problem(where, dotted(path), rule, remedy, value))


_INT = re.compile(r"[-+]?[0-9][0-9_]*|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


def _kind_of(text: str) -> str:
    if text in {"true", "True", "TRUE", "false", "False", "FALSE"}:
        return "bool"
    if text in {"", "~", "null", "Null", "NULL"}:
        return "null"
    if _INT.fullmatch(text):
        return "int"
    return "float" if _FLOAT.fullmatch(text) or re.fullmatch(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", text) else "str"


def _scalar(node: ScalarNode) -> Any:
    """A scalar by the core schema of YAML 1.2: 1e-3 is a number, `on` and `no` are words."""
    text: str = node.value
    if getattr(node, "style", None) in {"'", '"', "|", ">"}:
        return text
    kind = _kind_of(text)
    if kind == "bool":
        return text.lower() == "true"
    if kind == "null":
        return None
    if kind == "int":
        return _whole(text)
    return float(text.lower().replace("_", "").replace(".inf", "inf").replace(".nan", "nan")) \
        if kind == "float" else text


def _whole(text: str) -> int | str:
    digits = text.replace("_", "")
    if len(digits) > 30:
        return text
    base = 8 if digits.startswith("0o") else 16 if digits.startswith("0x") else 10
    return int(digits, base)
