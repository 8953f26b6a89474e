"""What a search and its records need of a network, whether it is one that can be built or the row of a table."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Protocol

from nas.architecture import Architecture
from nas.errors import NasError


class Network(Protocol):
    """That it can be told from others, shown and stored."""

    @property
    def id(self) -> str:
        """16 hexadecimal digits: equal for equal networks."""

    def canonical(self) -> Network:
        """The same network in its one spelling."""

    def line(self) -> str:
        """The network in one readable line."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold; `network_from_dict` inverts it."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """A network that is only looked up, in a table of trained ones: known by its place on the table's axes."""

    values: tuple[tuple[str, int | float | str], ...]

    @property
    def id(self) -> str:
        """16 hexadecimal digits: equal for equal places."""
        return hashlib.sha256(json.dumps(self.values).encode()).hexdigest()[:16]

    def canonical(self) -> TableRow:
        """Itself."""
        return self

    def line(self) -> str:
        """The place in one readable line."""
        return " ".join(f"{name}={value}" for name, value in self.values)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold."""
        return {"row": dict(self.values)}


def network_from_dict(values: dict[str, Any]) -> Network:
    """The network that `to_dict` wrote."""
    return TableRow(tuple(values["row"].items())) if "row" in values else Architecture.from_dict(values)


def architecture_of(network: Network) -> Architecture:
    """`network` where it can be built. Raises `NasError` where it is the row of a table."""
    if not isinstance(network, Architecture):
        raise NasError(f"{network.line()}: is the row of a table: there is no network to build")
    return network
