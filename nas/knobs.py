"""The knobs of the residual family by their YAML names: type, bounds, default, and when each has an effect.

One table. What a knob does to the network stands in `nas.plan`; how a file speaks about it in `nas.language`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from nas.architecture import ACTIVATIONS, BLOCKS, GATES, ORDERS, SHORTCUTS, STEMS, STRIDES_IN
from nas.units import parse_number

Value: TypeAlias = int | float | str


@dataclass(frozen=True, slots=True)
class Knob:
    """One knob. `staged`: it may differ from stage to stage. `matters(values)`: whether it has an effect there.

    `uses` names the knobs that `matters` reads. `refines`: its default adds nothing to a plain residual network.
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
    matters: Callable[[Mapping[str, Value]], bool] | None = None
    refines: bool = False

    def check(self, raw: object) -> Value:
        """`raw` as a value of this knob. Raises ValueError with the rule."""
        if self.choices:
            if raw not in self.choices:
                raise ValueError(f"must be one of {', '.join(self.choices)}")
            return str(raw)
        if self.kind is int and (isinstance(raw, bool) or not isinstance(raw, int)):
            raise ValueError("must be a whole number")
        number = parse_number(raw)
        if not self.least <= number <= self.most:
            raise ValueError(f"must be from {self.least:g} to {self.most:g}")
        return number if self.kind is int else float(number)


def _bottlenecked(values: Mapping[str, Value]) -> bool:
    return values["block"] != "basic"


def _gated(values: Mapping[str, Value]) -> bool:
    return values["gate"] != "none"


_ALL = (
    Knob("stages", int, 3, "number of stages; each but the first halves the resolution", 1, 8, staged=False),
    Knob("stem.kind", str, "conv3x3", "conv3x3 (CIFAR) or conv7x7_pool (ImageNet)", choices=STEMS, staged=False),
    Knob("stem.width", int, 16, "channels of the stem", 1, 4096, staged=False),
    Knob("order", str, "post", "post- or pre-activation", choices=ORDERS, staged=False),
    Knob("shortcut", str, "B", "A zero-padding, B projection where shapes change, C projections, none",
         choices=SHORTCUTS, staged=False),
    Knob("activation", str, "relu", "nonlinearity", choices=ACTIVATIONS, staged=False),
    Knob("stride_in", str, "conv3x3", "the convolution in which a bottleneck strides", choices=STRIDES_IN,
         staged=False),
    Knob("block", str, "basic", "basic or bottleneck", choices=tuple(BLOCKS)),
    Knob("depth", int, 2, "blocks in a stage", 1, 1000),
    Knob("width", int, 32, "channels a stage puts out", 1, 16_384),
    Knob("kernel", int, 3, "side of the spatial convolutions; odd", 1, 15),
    Knob("shortcut_depth", int, 2, "convolutions one shortcut spans; default 2 in basic, 3 in bottleneck", 1, 16),
    Knob("bottleneck_ratio", float, 0.25, "inner width / width", 1 / 64, 8, uses=("block",), matters=_bottlenecked),
    Knob("cardinality", int, 1, "groups of the inner convolution", 1, 4096, uses=("block",), matters=_bottlenecked,
         refines=True),
    Knob("residual_scaling", float, 1.0, "alpha, the factor on the branch", 0.001, 10, refines=True),
    Knob("gate", str, "none", "gates from the shortcut: highway, transform, carry, full", choices=GATES, refines=True),
    Knob("gate_bias", float, -1.0, "where the transform gate starts, before the sigmoid", -10, 10, uses=("gate",),
         matters=_gated),
    Knob("gate_kernel", int, 1, "side of the gate's convolution; odd", 1, 7, uses=("gate",), matters=_gated),
    Knob("se_ratio", float, 0.0, "hidden width of squeeze-and-excitation / width; 0: none", 0, 1, refines=True),
)
KNOBS: dict[str, Knob] = {knob.name: knob for knob in _ALL}
STAGED = tuple(knob for knob in _ALL if knob.staged)
