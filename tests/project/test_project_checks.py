"""Ratchets: what is public, what is imported when, and the checkers, so that none of it slips unseen."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nas
from nas.schema import study_schema
from nas.study import load_study

ROOT = Path(__file__).parents[2]
SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))
COMMANDS = ["run", "inspect", "train", "confirm", "stop", "retry", "status", "report", "export", "diagnose", "draw",
            "measure", "dashboard", "predict", "evaluate", "simulate", "verify", "bench", "schema"]


def ran(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


def imported_by(code: str) -> set[str]:
    done = ran(sys.executable, "-c", f"import sys\n{code}\nprint('MODULES', *sys.modules)")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rsplit("MODULES", 1)[1].split())


def test_public_names():
    assert sorted(nas.__all__) == [
        "InvalidInput", "NasError", "StoredStudy", "Study", "load", "load_space", "load_weights", "open_study", "run"]
    for name in nas.__all__:
        assert getattr(nas, name) is not None
    with pytest.raises(AttributeError):
        nas.nothing  # noqa: B018


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_shipped_spaces(path):
    assert path.read_text().startswith("# yaml-language-server: $schema=schema.json")
    study = load_study(path)
    assert study.name == path.stem
    assert study.about


def test_shipped_schema_is_what_nas_schema_prints():
    assert json.loads((ROOT / "search_spaces" / "schema.json").read_text()) == json.loads(json.dumps(study_schema()))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example(command):
    done = ran(sys.executable, "-m", "nas", command, "--help")
    assert done.returncode == 0
    assert f"Example: nas {command}" in done.stdout


def test_version():
    done = ran(sys.executable, "-m", "nas", "--version")
    assert (done.returncode, done.stdout) == (0, f"nas {nas.__version__}\n")


def test_nas_alone_lists_the_commands_by_purpose():
    text = ran(sys.executable, "-m", "nas").stdout
    assert all(re.search(rf"│ {command} ", text) for command in COMMANDS)
    assert [text.index(panel) for panel in ("Search ", "Look at results", "Use a network", "Tools")] == sorted(
        text.index(panel) for panel in ("Search ", "Look at results", "Use a network", "Tools"))


HEAVY = {"torch", "ray", "optuna", "pandas", "numpy", "sklearn", "plotly", "sqlalchemy"}


def test_help_imports_nothing_heavy():
    code = "from nas.__main__ import run\nassert run(['--help']) == 0"
    assert not imported_by(code) & HEAVY


def test_inspect_and_dashboard_import_neither_torch_nor_ray(tmp_path):
    code = f"from nas.__main__ import run\nassert run(['inspect', {str(SPACES[0])!r}]) == 0\nimport nas.serve"
    assert not imported_by(code) & {"torch", "ray"}


def test_readme_names_real_commands():
    text = (ROOT / "README.md").read_text()
    assert "pip install -e . && nas run search_spaces/resnext.yaml" in text
    assert "pip install -e '.[test]' && pytest" in text
    assert set(re.findall(r"^nas (\w+)", text, re.MULTILINE)) == set(COMMANDS)


def test_ruff():
    done = ran(sys.executable, "-m", "ruff", "check", "nas", "tests")
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_mypy_strict():
    done = ran(sys.executable, "-m", "mypy")
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_import_contracts():
    done = ran(str(Path(sys.executable).with_name("lint-imports")))
    assert done.returncode == 0, done.stdout
