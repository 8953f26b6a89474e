"""The JSON Schema of the YAML, for editors: `nas schema` prints it. What it allows, `nas.study` reads."""

from __future__ import annotations

from typing import Any

from nas.architecture import KNOBS
from nas.cost import COSTS
from nas.knobs import Knob
from nas.regnet import KNOBS as REGNET
from nas.study import DIRECTIONS, NAME, SECTIONS


def study_schema() -> dict[str, Any]:
    """The JSON Schema of a space or study file, for editors."""
    definitions: dict[str, Any] = {}
    sections: dict[str, Any] = {}
    for key, model in SECTIONS.items():
        schema = model.model_json_schema(ref_template="#/$defs/{model}")
        definitions |= schema.pop("$defs", {})
        sections[key] = schema
    sections["search"]["properties"]["quota"] = {"type": ["integer", "string", "null"], "description": "e.g. 20GB"}
    sections["budget"]["properties"]["time"] = {"type": ["number", "string", "null"], "description": "e.g. 30m, 12h"}
    stopping = sections["search"]["properties"]["early_stopping"]
    kinds = definitions["EarlyStopping"]["properties"]["kind"]["enum"]
    stopping["anyOf"] = [{"$ref": stopping.pop("$ref")}, {"enum": kinds}]
    objective = {name: {"const": direction} for name, direction in DIRECTIONS.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "nas search space or study",
        "type": "object", "additionalProperties": False, "$defs": definitions,
        "properties": {
            "name": {"type": "string", "pattern": f"^{NAME.pattern}$"}, "about": {"type": "string"},
            "space": {"type": "string", "description": "path of a space file, in place of network"},
            **_space_schema(),
            "objectives": {"type": "object", "properties": objective, "additionalProperties": False},
            **sections, "seed": {"type": "integer", "minimum": 0},
            "blocks": {"type": "object", "description": "written by nas: what the files of blocks of your own held"},
        },
    }


def _space_schema() -> dict[str, Any]:
    """Of the sections `network`, `rules` and `limits`."""
    staged = {knob.name: _knob_schema(knob) for knob in KNOBS.values() if "." not in knob.name}
    stem = {knob.name[5:]: _knob_schema(knob) for knob in KNOBS.values() if knob.name.startswith("stem.")}
    tied = {knob.name[7:]: _knob_schema(knob) for knob in REGNET.values()}
    mapping = {"type": "object", "minProperties": 1}
    count = {"type": ["integer", "string"], "description": "a count such as 60M"}
    bounds = {"type": "object", "properties": {"from": count, "to": count}, "additionalProperties": False}
    rule = {"type": "object", "properties": {"when": mapping, "set": mapping}, "required": ["when", "set"],
            "additionalProperties": False}
    return {
        "network": {"type": "object", "additionalProperties": False, "minProperties": 1, "properties": {
            "stem": {"type": "object", "properties": stem, "additionalProperties": False},
            "regnet": {"type": "object", "properties": tied, "additionalProperties": False},
            "options": {"type": "object", "description": "knobs of a block of your own"}, **staged}},
        "rules": {"type": "array", "items": rule, "description": "where all of when hold, set is so"},
        "limits": {"type": "object", "properties": dict.fromkeys(COSTS, bounds), "additionalProperties": False},
    }


def _knob_schema(knob: Knob) -> dict[str, Any]:
    if knob.choices:
        bare: dict[str, Any] = {"enum": list(knob.choices)}
        if knob.free:
            bare = {"anyOf": [bare, {"type": "string", "pattern": f"^{knob.free}$"}]}
    elif knob.kind is int:
        bare = {"type": "integer", "minimum": knob.least, "maximum": knob.most}
    else:
        bare = {"type": ["number", "string"], "minimum": knob.least, "maximum": knob.most}
    forms = [bare, {"type": "array", "items": bare, "minItems": 1}]
    if not knob.choices:
        step = {"type": ["number", "string"]}
        forms.append({"type": "object", "required": ["from", "to"], "additionalProperties": False, "properties": {
            "from": bare, "to": bare, "step": step, "log": {"type": "boolean"}}})
    if knob.staged:
        simple = {"anyOf": list(forms)}
        by_stage = {"type": "object", "patternProperties": {"^[1-8]$": simple}, "additionalProperties": False}
        forms.append({"type": "object", "required": ["per_stage"], "additionalProperties": False, "properties": {
            "per_stage": {"anyOf": [*forms, by_stage]}}})
        if not knob.choices:
            forms.append({"type": "object", "required": ["first", "growth"], "additionalProperties": False,
                          "properties": {"first": simple, "growth": {}}})
    return {"description": knob.about, "anyOf": forms}
