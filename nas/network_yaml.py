"""One network in the language of search spaces: the `network` section with every knob fixed. `nas.language` reads it.

What has no effect is left out, so that the section says what the network is and nothing else.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from nas.architecture import NETWORK_KNOBS, STAGED, Architecture, Stage, written_out
from nas.knobs import Knob, Value
from nas.own_block import CODE

_ALWAYS = {"block", "depth", "width"}


def network_section(architecture: Architecture) -> dict[str, Any]:
    """The `network` section that reads back as `architecture`: a network of the same id."""
    network = architecture.canonical()
    section: dict[str, Any] = {
        "stem": {"kind": network.stem, "width": network.stem_width}, "stages": len(network.stages),
    }
    for name, knob in NETWORK_KNOBS.items():
        if "." not in knob.name and getattr(network, name) != knob.default:
            section[name] = _readable(knob, getattr(network, name))
    for knob in STAGED:
        if knob.name in _ALWAYS or any(getattr(s, knob.name) != _default(knob, s) for s in network.stages):
            section[knob.name] = _form([_readable(knob, getattr(stage, knob.name)) for stage in network.stages])
    options = [dict(stage.options) for stage in network.stages]
    names = sorted({name for one in options for name in one} - {CODE})
    if names:
        section["options"] = {name: _form([one.get(name, "") for one in options]) for name in names}
    return section


def _default(knob: Knob, stage: Stage) -> Value:
    return written_out(knob, knob.unwritten, stage.values())


def _form(values: list[Value]) -> Any:
    return values[0] if len(set(values)) == 1 else {"per_stage": dict(enumerate(values, 1))}


def _readable(knob: Knob, value: Value) -> Value:
    """The value as a person would write it: 1/3, not 0.3333333333333333."""
    if knob.kind is not float or isinstance(value, str):
        return value
    # Rounding to whole channels can leave the knob's bounds; the bound itself then comes to the same channels.
    number = min(max(float(value), knob.least), knob.most)
    near = Fraction(number).limit_denominator(100_000)
    return f"{near}" if len(repr(number)) > 6 and float(near) == number else number
