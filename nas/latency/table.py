"""What predicts the latency of a space's networks on this machine: a time for every kind of layer, by its plan.

A prediction is a sum over the layers of a network: so much for each of a kind, for its million MACs and for its
million values read and written. The times are fitted in `nas.latency.fitting`; here they are used and kept, in one
JSON file in the cache folder, without torch or arrays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from nas.data.cache import key_of
from nas.latency.records import Setting
from nas.measure import entries, keep
from nas.nodes import Borrowed, Conv, Node, Opaque, Residual, Sequence, Shape
from nas.study import Study

_FILE = "latency_tables.json"


@dataclass(frozen=True, slots=True)
class Errors:
    """Of predictions for networks that were not fitted to: relative errors, and Spearman's rank correlation."""

    median: float
    p90: float
    rank: float

    def __str__(self) -> str:
        return f"{self.median:.1%} (median), {self.p90:.1%} (90th percentile), rank correlation {self.rank:.3f}"


@dataclass(frozen=True, slots=True)
class Table:
    """Times in milliseconds, by what `features` counts, for images of `shape` in `setting`.

    space: key of the networks it is for, of the study of that `name`. points: networks it was fitted to. macs: what
    their MACs alone would give. repeat: by how much the two measurements of a network differed, the median share.
    noisy: measurements of 2 x points that something spoke against.
    """

    space: str
    name: str
    shape: Shape
    classes: int
    setting: Setting
    times: Mapping[str, float]
    points: int
    error: Errors
    macs: Errors
    repeat: float
    noisy: int
    measured: float

    @property
    def key(self) -> tuple[Any, ...]:
        """What the table holds for."""
        return self.space, self.shape, self.classes, self.setting

    def predict(self, plan: Sequence) -> float:
        """Milliseconds of a forward pass of the network of `plan` that nothing disturbs: a little below the median."""
        return sum(self.times.get(name, 0.0) * count for name, count in features(plan).items())

    @staticmethod
    def of(entry: Mapping[str, Any]) -> Table:
        """What `asdict` made of one, read back from JSON."""
        return Table(**{**entry, "shape": tuple(entry["shape"]), "setting": Setting(**entry["setting"]),
                        "error": Errors(**entry["error"]), "macs": Errors(**entry["macs"])})


def features(plan: Sequence) -> dict[str, float]:
    """What the latency is a sum over: of each kind of layer how many there are, their MACs, their values in and out."""
    found: dict[str, float] = {"network": 1}
    _count(plan, found)
    return found


def _count(node: Node, found: dict[str, float]) -> None:
    if type(node) is not Sequence:
        kind, values = _kind(node), prod(node.shape) + prod(node.out)
        for name, count in ((kind, 1), (f"{kind}, MACs", node.own.macs / 1e6), (f"{kind}, values", values / 1e6)):
            found[name] = found.get(name, 0) + count
    for _, part in node.parts:
        _count(part, found)


def _kind(node: Node) -> str:
    """Layers of one kind are computed by one piece of code."""
    node = node.of if isinstance(node, Borrowed) else node
    if isinstance(node, Conv):
        groups = "" if node.groups == 1 else " depthwise" if node.groups == node.shape[0] else " grouped"
        return f"Conv {node.kernel}x{node.kernel}{groups}"
    if isinstance(node, Residual):
        return "Residual" if node.scale == 1 else "Residual scaled"
    word = node.function if isinstance(node, Opaque) else getattr(node, "kind", "")
    return f"{type(node).__name__} {word}".strip()


def space_key(study: Study) -> str:
    """Equal for studies of the same networks; their limits are aside."""
    return key_of(json.dumps([study.written.get("network"), study.written.get("rules")], sort_keys=True))


def record_table(table: Table) -> None:
    """Keep it in place of an older one of its key."""
    kept = {**{one.key: one for one in entries(_FILE, Table.of)}, table.key: table}
    keep(_FILE, [asdict(one) for one in kept.values()])


def recorded_table(
    space: str, shape: Shape, classes: int, device: str = "cpu", batch: int = 1, threads: int = 1,
) -> Table | None:
    """The table that was made on this machine for the space of that key; None where there is none."""
    found = [one for one in entries(_FILE, Table.of) if one.setting.here
             and (one.space, one.shape, one.classes) == (space, tuple(shape), classes)
             and (one.setting.device, one.setting.batch, one.setting.threads) == (device, batch, threads)]
    return max(found, key=lambda one: one.measured, default=None)
