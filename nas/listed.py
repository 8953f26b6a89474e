"""A space that lists its networks, `networks:` in YAML: a name, and a `network` section without choices or the name of
a reference network. One axis, which of them; for comparing networks with one another, and for confirming a front.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from nas.architecture import Architecture
from nas.cost import cost
from nas.errors import NasError, Problem
from nas.knobs import Value
from nas.language import read_space
from nas.nodes import Shape
from nas.plan import plan
from nas.reference import reference
from nas.space import Axis, Choice, Judgement, Point, SearchSpace
from nas.yamlfile import Document

AXIS = "network"
_ALONE = ("network", "rules", "limits")


@dataclass(frozen=True, eq=False)
class NetworkList(SearchSpace):
    """The space of the `networks`, by their names."""

    networks: Mapping[str, Architecture] = field(default_factory=dict)

    @staticmethod
    def of(networks: Mapping[str, Architecture]) -> NetworkList:
        """The space of just these."""
        return NetworkList((Axis(AXIS, "", (), Choice(tuple(networks))),), {}, networks=networks)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_always", frozenset({AXIS}))

    def decode(self, point: Mapping[str, Value]) -> Architecture:
        return self.networks[str(point[AXIS])]

    def own_blocks(self) -> tuple[str, ...]:
        blocks = dict.fromkeys(stage.block for network in self.networks.values() for stage in network.stages)
        return tuple(block for block in blocks if ":" in block)

    def active(self, axis: Axis, point: Mapping[str, Value]) -> bool:
        return True

    def sample(self, rng: random.Random) -> Point:
        return {AXIS: self.axes[0].domain.sample(rng)}

    def plain(self, point: Mapping[str, Value]) -> Point:
        return dict(point)

    def with_value(self, point: Mapping[str, Value], name: str, value: Value) -> Point:
        return {**point, name: value}

    def judge(self, point: Mapping[str, Value], shape: Shape, classes: int) -> Judgement:
        network = self.decode(point)
        return Judgement(network, cost(plan(network, shape, classes)), {})

    def size(self, drawn: Sequence[Point] | None = None) -> tuple[int | None, bool]:
        return len(self.networks), True


def read_list(document: Document, problems: list[Problem], trusted: bool = False) -> NetworkList | None:
    """The list that `document` holds; what is wrong with it is added to `problems`, and then there is none.

    trusted: as in `read_space`.
    """
    raw, before = document.values["networks"], len(problems)
    problems += [document.problem((key,), "stands beside networks, which are whole", "remove one of the two")
                 for key in _ALONE if key in document.values]
    if not isinstance(raw, dict) or not raw:
        problems.append(document.problem(("networks",), "must be a mapping of names to networks",
                                         "write e.g. {a: resnet20, b: {depth: 3, width: 16}}", raw))
        return None
    found: dict[str, Architecture] = {}
    for name, written in raw.items():
        network = _network(document, str(name), written, problems, trusted)
        same = next((other for other, one in found.items() if network is not None and one.id == network.id), None)
        if same is not None:
            problems.append(document.problem(("networks", name), f"is the same network as {same}", "remove one"))
        elif network is not None:
            found[str(name)] = network
    return NetworkList.of(found) if len(problems) == before else None


def _network(
    document: Document, name: str, written: object, problems: list[Problem], trusted: bool
) -> Architecture | None:
    place = ("networks", name)
    if isinstance(written, str):
        try:
            return reference(written).architecture
        except NasError as error:
            problems.append(document.problem(place, str(error)))
            return None
    places = {("network", *at[2:]): where for at, where in document.places.items() if at[:2] == place}
    here: list[Problem] = []
    space = read_space(Document(document.name, {"network": written}, places), here, trusted)
    problems += [replace(one, field=".".join(place) + one.field.removeprefix("network")) for one in here]
    if space is None:
        return None
    if space.axes:
        problems.append(document.problem(place, f"holds a choice ({space.axes[0].name}) where one network is wanted",
                                         "fix it"))
        return None
    network = space.decode({})
    if conflict := network.conflict():
        problems.append(document.problem(place, conflict[1]))
        return None
    return network
