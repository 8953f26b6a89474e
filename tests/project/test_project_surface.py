"""The surface that people build on: options of every command, the schema that editors use, what looking costs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from nas.architecture import KNOBS
from nas.cli import command
from nas.regnet import KNOBS as REGNET
from nas.schema import study_schema
from nas.settings import Budget, Data, EarlyStopping, Recipe, Search
from nas.study import load_study

ROOT = Path(__file__).parents[2]
SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))

# What a script may rely on. A name that goes from here breaks someone: say so in CHANGELOG.md.
SURFACE = {
    "run": "path --address --artifacts --budget --data --executor --fork --gpus-per-trial --json --keep --name --quota "
           "--repeats --sampler "
           "--seed --set --storage --trials --workers",
    "confirm": "name --control --epochs --front --json --name --seeds --set --storage --top --workers",
    "stop": "name --json --storage",
    "retry": "name --failed --json --storage",
    "inspect": "path --budget --data --json --set",
    "train": "path --budget --data --epochs --from --json --name --repeats --seed --set --storage",
    "status": "name --json --storage",
    "report": "name --json --output --storage",
    "export": "name --best --format --front --json --knee --storage --trial",
    "diagnose": "network --data --images --json --only --output --seed --storage --trial",
    "draw": "network --channels --classes --data --json --output --resolution --set --storage --text --trial -o",
    "measure": "network --batch --data --device --front --json --points --set --storage --table --threads --trial",
    "predict": "folder images --device --json --top",
    "evaluate": "folder --data --device --json --part",
    "dashboard": "--port --storage",
    "simulate": "table --axes --early-stopping --epochs --json --output --reference --samplers --seeds --set --storage "
                "--trials --workers",
    "verify": "systems --data --json --output --tier",
    "bench": "what --data --epochs --json --network --seeds --set --trials",
    "schema": "--json",
}


def test_commands_and_their_options() -> None:
    found = {name: " ".join(
        [p.name for p in one.params if p.param_type_name == "argument"]
        + sorted(word for p in one.params for word in p.opts if p.param_type_name == "option"))
        for name, one in command().commands.items()}
    assert found == SURFACE


def test_every_option_says_what_it_is() -> None:
    silent = [(name, p.name) for name, one in command().commands.items() for p in one.params
              if not getattr(p, "help", None)]
    assert silent == []


@pytest.mark.parametrize("name", SURFACE)
def test_examples_parse(name: str) -> None:
    """The example in the help is a command line that the command takes."""
    one = command().commands[name]
    (example,) = re.findall(r"Example: nas (.*)", one.help)
    words = example.split(" > ")[0].split()
    assert words[0] == name
    context = one.make_context(name, words[1:])
    assert not context.args


# --- the schema -------------------------------------------------------------------------------------------------------

def fits(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """Whether `value` is allowed, by the part of JSON Schema that ours uses (and no other part)."""
    known = {"$schema", "$defs", "$ref", "title", "description", "default", "type", "enum", "const", "anyOf", "items",
             "minItems", "properties", "required", "additionalProperties", "patternProperties", "minProperties",
             "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "pattern", "minLength"}
    assert set(schema) <= known, set(schema) - known
    if "$ref" in schema:
        return fits(value, root["$defs"][schema["$ref"].rsplit("/", 1)[1]], root)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    kinds = {"object": isinstance(value, dict), "array": isinstance(value, list), "string": isinstance(value, str),
             "boolean": isinstance(value, bool), "null": value is None, "number": number,
             "integer": number and isinstance(value, int)}
    types = schema.get("type", list(kinds))
    checks = [
        any(kinds[kind] for kind in ([types] if isinstance(types, str) else types)),
        value in schema.get("enum", [value]), value == schema.get("const", value),
        not number or schema.get("minimum", value) <= value <= schema.get("maximum", value),
        not isinstance(value, str) or re.search(schema.get("pattern", ""), value) is not None,
        "anyOf" not in schema or any(fits(value, form, root) for form in schema["anyOf"]),
    ]
    if isinstance(value, list):
        checks += [len(value) >= schema.get("minItems", 0), *(fits(v, schema.get("items", {}), root) for v in value)]
    if isinstance(value, dict):
        checks += [len(value) >= schema.get("minProperties", 0), set(schema.get("required", [])) <= set(value)]
        checks += [_field_fits(str(key), item, schema, root) for key, item in value.items()]
    return all(checks)


def _field_fits(key: str, value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    if key in schema.get("properties", {}):
        return fits(value, schema["properties"][key], root)
    for pattern, inner in schema.get("patternProperties", {}).items():
        if re.search(pattern, key):
            return fits(value, inner, root)
    return schema.get("additionalProperties", True) is not False


def plain(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_shipped_spaces_fit_the_schema(path: Path) -> None:
    assert fits(plain(path.read_text()), study_schema(), study_schema())


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_resolved_studies_fit_the_schema(path: Path) -> None:
    assert fits(load_study(path).spec(), study_schema(), study_schema())


@pytest.mark.parametrize("text", [
    "{netwrok: {depth: 1}}", "{network: {dpeth: 1}}", "{network: {depth: x}}", "{network: {depth: 0}}",
    "{network: {depth: []}}", "{network: {gate: hihgway}}", "{network: {depth: {from: 1}}}", "{network: {}}",
    "{network: {width: {first: 8}}}", "{network: {depth: {per_stage: {9: 1}}}}", "{network: {order: {per_stage: pre}}}",
    "{limits: {flops: {to: 1M}}}", "{rules: [{when: {depth: 1}}]}", "{objectives: {accuracy: min}}",
    "{data: {sorce: digits}}", "{name: ../up}", "{seed: -1}", "{network: {stem: {widht: 3}}}"])
def test_mistakes_do_not_fit_the_schema(text: str) -> None:
    """An editor underlines what the command line would refuse."""
    assert not fits(plain(text), study_schema(), study_schema())


@pytest.mark.parametrize("text", [
    "{network: {depth: {per_stage: {1: [1, 2], 2: {from: 1, to: 3}}}, se_ratio: [0, 1/16]}}",
    "{network: {width: {first: [8, 16], growth: {from: 1, to: 2, step: 0.5}}, gate: {per_stage: [none, full]}}}",
    "{space: other.yaml, budget: {time: 30m}, search: {early_stopping: none}}",
    "{network: {residual_scaling: {from: 1/10, to: 1, log: true}}, limits: {macs: {to: 60M}, params: {from: 5}}}"])
def test_what_the_language_allows_fits_the_schema(text: str) -> None:
    assert fits(plain(text), study_schema(), study_schema())


def test_schema_knows_every_knob_and_setting() -> None:
    schema = study_schema()
    network = schema["properties"]["network"]["properties"]
    dotted = {f"{key}.{name}" for key in ("stem", "regnet") for name in network[key]["properties"]}
    assert {*network, *dotted} == {*KNOBS, *REGNET, "stem", "regnet", "options"}
    for name, model in (("data", Data), ("recipe", Recipe), ("search", Search), ("budget", Budget)):
        assert set(schema["properties"][name]["properties"]) == set(model.model_fields)


def test_every_setting_says_what_it_is() -> None:
    silent = [f"{model.__name__}.{name}" for model in (Data, Recipe, EarlyStopping, Search, Budget)
              for name, field in model.model_fields.items() if not field.description]
    assert silent == ["Search.early_stopping"]      # a section; its own fields say it
    assert [knob.name for knob in KNOBS.values() if not knob.about] == []


# --- what looking costs -----------------------------------------------------------------------------------------------

def loaded(code: str, folder: Path) -> set[str]:
    """The modules that a process has imported after `code`."""
    done = subprocess.run([sys.executable, "-c", f"import sys\n{code}\nprint('MODULES', *sys.modules)"], cwd=folder,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rsplit("MODULES", 1)[1].split())


STUDY = """
from nas.store import Ledger
from nas.studies import default_storage, HOME
from nas.study import study_from_text
HOME.mkdir()
study = study_from_text("network: {depth: [1, 2]}", "one")
with Ledger.open(default_storage(HOME)) as ledger:
    ledger.create_study("one", study.spec())
"""


def test_looking_at_results_imports_neither_torch_nor_ray(tmp_path: Path) -> None:
    code = "from nas.__main__ import run\nassert run(['status']) == 0\nassert run(['status', 'one']) == 0"
    assert not loaded(STUDY + code, tmp_path) & {"torch", "ray", "optuna"}


def test_importing_the_package_imports_nothing(tmp_path: Path) -> None:
    assert {name for name in loaded("import nas", tmp_path) if name.startswith("nas")} == {"nas"}


def test_loading_a_space_imports_no_arrays(tmp_path: Path) -> None:
    code = f"import nas\nnas.load_space({str(SPACES[0])!r}).space.size()"
    assert not loaded(code, tmp_path) & {"torch", "ray", "optuna", "pandas", "numpy", "sqlalchemy", "typer", "rich"}
