"""What a knob is: a named quantity of a residual network that a file can fix or search, with its type and bounds.

Which knobs there are stands in `nas.architecture`, where each is a field; what it does to the network, in `nas.plan`;
how a file speaks about it, in `nas.language`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from nas.units import parse_number

Value: TypeAlias = int | float | str
Values: TypeAlias = Mapping[str, Value]
T = TypeVar("T")

OWN = -1                                    # of a knob that is not written: what is usual in blocks of that kind
OPTION = "options."                         # how the name of a knob of a user's block begins


@dataclass(frozen=True, slots=True)
class Knob:
    """One knob. `staged`: it may differ from stage to stage. `matters(values)`: whether it has an effect there.

    `uses` names the knobs that `matters` reads, in a stage; its number, from 1, is `stage`. `refines`: its default adds
    nothing to a plain residual network. `words`: what may be written in place of a number; `free`: other words that are
    as good as the choices. `label`: its short name in a network's line. `by_kind`: its default is the block's own.
    `late`: younger than the first databases, so that an id knows nothing of it where it is at its default.
    """

    name: str
    kind: type
    default: Value
    about: str
    least: float = 0
    most: float = 0
    choices: tuple[str, ...] = ()
    staged: bool = True
    uses: tuple[str, ...] = ()
    matters: Callable[[Values], bool] | None = None
    refines: bool = False
    words: tuple[str, ...] = ()
    free: str = ""
    odd: bool = False
    label: str = ""
    by_kind: bool = False
    late: bool = False

    @property
    def unwritten(self) -> Value:
        """Its value where a file does not name it."""
        return OWN if self.by_kind else self.default

    def check(self, raw: object) -> Value:
        """`raw` as a value of this knob. Raises ValueError with the rule."""
        if self.name.startswith(OPTION):
            if isinstance(raw, bool) or not isinstance(raw, int | float | str):
                raise ValueError("must be a number or a word")
            return raw
        if self.choices:
            if raw not in self.choices and not (self.free and isinstance(raw, str) and re.fullmatch(self.free, raw)):
                raise ValueError(f"must be one of {', '.join(self.choices)}")
            return str(raw)
        if isinstance(raw, str) and raw in self.words:
            return raw
        if self.kind is int and (isinstance(raw, bool) or not isinstance(raw, int)):
            raise ValueError("must be a whole number")
        number = parse_number(raw)
        if not self.least <= number <= self.most:
            raise ValueError(f"must be from {self.least:g} to {self.most:g}")
        return number if self.kind is int else float(number)


def knob(
    default: T, about: str, least: float = 0, most: float = 0, *, choices: tuple[str, ...] = (), name: str = "",
    label: str = "", uses: tuple[str, ...] = (), matters: Callable[[Values], bool] | None = None,
    refines: bool = False, words: tuple[str, ...] = (), free: str = "", odd: bool = False, by_kind: bool = False,
    late: bool = True,
) -> T:
    """The field of a dataclass that is a knob; `name` where it is not the field's."""
    facts = {"about": about, "least": least, "most": most, "choices": choices, "name": name, "label": label,
             "uses": uses, "matters": matters, "refines": refines, "words": words, "free": free, "odd": odd,
             "by_kind": by_kind, "late": late}
    made: Any = field(default=default, metadata={"knob": facts})
    return made     # type: ignore[no-any-return]


def knobs_of(fields: tuple[Any, ...], staged: bool) -> dict[str, Knob]:
    """The knobs among the fields of a dataclass, by the names of the fields."""
    found = {}
    for one in fields:
        if "knob" in one.metadata:
            facts = dict(one.metadata["knob"])
            name = facts.pop("name") or one.name
            found[one.name] = Knob(name, type(one.default), one.default, staged=staged, **facts)
    return found


def option(name: str) -> Knob:
    """The knob that a user's block calls `name`."""
    return Knob(OPTION + name, str, "", "of a block of your own", uses=("block",),
                matters=lambda values: ":" in str(values["block"]))
