"""One network in the language of search spaces: the `network` section with every knob fixed. `nas.language` reads it.

What has no effect is left out, so that the section says what the network is and nothing else.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from nas.architecture import BLOCKS, Architecture, Stage
from nas.knobs import KNOBS, STAGED, Knob, Value

_ALWAYS = {"block", "depth", "width"}


def network_section(architecture: Architecture) -> dict[str, Any]:
    """The `network` section that reads back as `architecture`: a network of the same id."""
    network = architecture.canonical()
    section: dict[str, Any] = {
        "stem": {"kind": network.stem, "width": network.stem_width}, "stages": len(network.stages),
    }
    for name in ("order", "shortcut", "activation", "stride_in"):
        if getattr(network, name) != KNOBS[name].default:
            section[name] = getattr(network, name)
    for knob in STAGED:
        if knob.name in _ALWAYS or any(getattr(s, knob.name) != _default(knob, s) for s in network.stages):
            section[knob.name] = _form([_written(knob, stage) for stage in network.stages])
    return section


def _default(knob: Knob, stage: Stage) -> Value:
    return BLOCKS[stage.block] if knob.name == "shortcut_depth" else knob.default


def _form(values: list[Value]) -> Any:
    return values[0] if len(set(values)) == 1 else {"per_stage": dict(enumerate(values, 1))}


def _written(knob: Knob, stage: Stage) -> Value:
    """The value as a person would write it: 1/3, not 0.3333333333333333."""
    value: Value = getattr(stage, knob.name)
    if knob.kind is not float:
        return value
    # Rounding to whole channels can leave the knob's bounds; the bound itself then comes to the same channels.
    number = min(max(float(value), knob.least), knob.most)
    near = Fraction(number).limit_denominator(100_000)
    return f"{near}" if len(repr(number)) > 6 and float(near) == number else number
