"""A residual network in the field's own terms: a stem and stages of blocks. A value: it computes nothing but itself.

`Architecture.canonical()` removes what has no effect, so that two spellings of one network have one `id`.
How a network of these terms is wired stands in `nas.plan` alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

from nas.errors import NasError

BLOCKS = {"basic": 2, "bottleneck": 3}      # kind: convolutions that the classic shortcut spans
STEMS = ("conv3x3", "conv7x7_pool")         # CIFAR; ImageNet: stride 2, then a 3x3 max-pool of stride 2
ORDERS = ("post", "pre")                    # He et al. 2015; He et al. 2016
SHORTCUTS = ("A", "B", "C", "none")         # He et al. 2015, table 3; none: a plain network
GATES = ("none", "highway", "transform", "carry", "full")
ACTIVATIONS = ("relu", "silu")
CONFLICTING = ("cardinality", "shortcut_depth", "gate", "residual_scaling", "shortcut")     # what `conflict` names
STRIDES_IN = ("conv3x3", "conv1x1")         # where a bottleneck strides: torchvision's V1.5; the original


@dataclass(frozen=True, slots=True)
class Stage:
    """`depth` blocks that end in `width` channels; the first one strides, except in the first stage.

    block: basic (kernel x kernel convolutions) or bottleneck (1x1, grouped kernel x kernel, 1x1).
    bottleneck_ratio: inner width / width. cardinality: groups of the inner convolution (Xie et al. 2017).
    shortcut_depth: convolutions that one shortcut spans; 2 is the classic basic block, 3 the classic bottleneck.
    residual_scaling: alpha, on the branch before the sum (Szegedy et al. 2016).
    gate: T and C of y = x C + F T: highway (C = 1 - T), transform (T alone), carry (C alone), full (both).
    se_ratio: hidden width of squeeze-and-excitation / width; 0: none (Hu et al. 2018).
    """

    depth: int
    width: int
    block: str = "basic"
    kernel: int = 3
    bottleneck_ratio: float = 0.25
    cardinality: int = 1
    shortcut_depth: int = 2
    residual_scaling: float = 1.0
    gate: str = "none"
    gate_bias: float = -1.0
    gate_kernel: int = 1
    se_ratio: float = 0.0

    @property
    def inner_width(self) -> int:
        """Channels inside the block."""
        return self.width if self.block == "basic" else max(1, int(self.width * self.bottleneck_ratio + 0.5))

    @property
    def se_hidden(self) -> int:
        """Hidden channels of squeeze-and-excitation; 0 where there is none."""
        return max(1, int(self.width * self.se_ratio + 1e-9)) if self.se_ratio > 0 else 0

    def canonical(self) -> Stage:
        """The same stage with what has no effect at its default, and ratios as the widths they come to."""
        basic, gated = self.block == "basic", self.gate != "none"
        return replace(
            self,
            bottleneck_ratio=0.25 if basic else self.inner_width / self.width,
            cardinality=1 if basic else self.cardinality,
            gate_bias=float(self.gate_bias) + 0.0 if gated else -1.0,       # + 0.0: no negative zero
            gate_kernel=self.gate_kernel if gated else 1,
            residual_scaling=float(self.residual_scaling),
            se_ratio=self.se_hidden / self.width,
        )

    def conflict(self, shortcut: str) -> tuple[str, str] | None:
        """The first rule between knobs that the stage breaks, as (rule's name, sentence)."""
        if self.block != "basic" and self.inner_width % self.cardinality:
            return "cardinality", f"cardinality {self.cardinality} does not divide the inner width {self.inner_width}"
        if self.block == "bottleneck" and self.shortcut_depth < 3:
            return "shortcut_depth", f"a bottleneck's shortcut spans at least 3 convolutions, not {self.shortcut_depth}"
        if self.gate == "none":
            return None
        if shortcut == "none":
            return "gate", "a gate needs a shortcut, and shortcut is none"
        if self.gate == "highway" and self.residual_scaling != 1:
            return "residual_scaling", (
                f"residual_scaling {self.residual_scaling:g} beside a highway gate: T and 1 - T no longer sum to 1")
        return None


class Network(Protocol):
    """What a search and its records need of a network: that it can be told from others, shown and stored."""

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
class Architecture:
    """A residual network: stem, stages, global average pooling, linear classifier. Independent of the data."""

    stages: tuple[Stage, ...]
    stem: str = "conv3x3"
    stem_width: int = 16
    order: str = "post"
    shortcut: str = "B"
    activation: str = "relu"
    stride_in: str = "conv3x3"

    def canonical(self) -> Architecture:
        """The same network with what has no effect at its default."""
        strides = any(s.block == "bottleneck" for s in self.stages[1:])
        changes = self.shortcut == "C" or len(self.stages) > 1 or self.stages[0].width != self.stem_width
        return replace(
            self,
            stages=tuple(stage.canonical() for stage in self.stages),
            stride_in=self.stride_in if strides else "conv3x3",
            shortcut=self.shortcut if changes or self.shortcut == "none" else "B",
        )

    @property
    def id(self) -> str:
        """16 hexadecimal digits of the canonical form: equal for equal networks, however spelled."""
        return _id(self)

    def conflict(self) -> tuple[str, str] | None:
        """The first rule between knobs that is broken, as (rule's name, sentence); None for a legal network."""
        before = self.stem_width
        for number, stage in enumerate(self.stages, 1):
            found = stage.conflict(self.shortcut)
            if found:
                return found[0], f"stage{number}: {found[1]}"
            if self.shortcut == "A" and stage.width < before:
                return "shortcut", f"stage{number}: shortcut A cannot narrow {before} channels to {stage.width}"
            before = stage.width
        return None

    def line(self) -> str:
        """The network in one readable line."""
        return _line(self.canonical())

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold; `from_dict` inverts it."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Architecture:
        """The architecture that `to_dict` wrote."""
        return Architecture(**{**values, "stages": tuple(Stage(**stage) for stage in values["stages"])})


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


@lru_cache(maxsize=65_536)
def _id(architecture: Architecture) -> str:
    text = json.dumps(architecture.canonical().to_dict(), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _line(a: Architecture) -> str:
    stages = a.stages
    words = [f"{a.stem}-{a.stem_width}", _shared([s.block for s in stages])]
    words.append(" ".join(f"{s.depth}×{s.width}" for s in stages))
    ratios = [f"{s.bottleneck_ratio:.3g}" for s in stages]
    optional = (
        ("ratio", ratios, any(s.block != "basic" for s in stages)),
        ("C", [str(s.cardinality) for s in stages], any(s.cardinality > 1 for s in stages)),
        ("kernel", [str(s.kernel) for s in stages], any(s.kernel != 3 for s in stages)),
        ("n", [str(s.shortcut_depth) for s in stages], any(s.shortcut_depth != BLOCKS[s.block] for s in stages)),
        ("α", [f"{s.residual_scaling:.3g}" for s in stages], any(s.residual_scaling != 1 for s in stages)),
        ("gate", [s.gate for s in stages], any(s.gate != "none" for s in stages)),
        ("bias", [f"{s.gate_bias:g}" for s in stages], any(s.gate != "none" and s.gate_bias != -1 for s in stages)),
        ("gate-kernel", [str(s.gate_kernel) for s in stages], any(s.gate_kernel != 1 for s in stages)),
        ("SE", [f"{s.se_ratio:.3g}" for s in stages], any(s.se_ratio > 0 for s in stages)),
        ("order", [a.order], a.order != "post"),
        ("shortcut", [a.shortcut], a.shortcut != "B"),
        ("act", [a.activation], a.activation != "relu"),
        ("stride", [a.stride_in], a.stride_in != "conv3x3"),
    )
    words += [f"{name}={_shared(values)}" for name, values, wanted in optional if wanted]
    return " ".join(words)


def _shared(values: list[str]) -> str:
    return values[0] if len(set(values)) == 1 else "/".join(values)
