"""`nas draw`: files, names and trials become drawings; what is no one network is refused in a line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from nas.architecture import Architecture, Stage
from nas.cost import cost
from nas.plan import plan

ONE = """
name: mine
network: {stem: {kind: conv3x3, width: 8}, stages: 2, depth: 2, width: {first: 8, growth: 2}}
"""


def nas(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "nas", *arguments], cwd=folder, capture_output=True, text=True,
                          timeout=120)


def test_a_name_is_drawn(tmp_path: Path) -> None:
    done = nas(tmp_path, "draw", "resnet50")
    assert (done.returncode, done.stdout) == (0, "resnet50.svg\n")
    drawing = (tmp_path / "resnet50.svg").read_text()
    assert ElementTree.fromstring(drawing).tag == "{http://www.w3.org/2000/svg}svg"
    assert "25,557,032 parameters · 4,089,184,256 MACs" in drawing


def test_a_file_is_drawn_for_the_images_that_are_said(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(ONE)
    done = nas(tmp_path, "draw", "one.yaml", "-o", "x.svg", "--resolution", "48", "--channels", "2", "--classes", "7",
               "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    network = Architecture((Stage(2, 8), Stage(2, 16)), stem_width=8)
    assert (facts["drawing"], facts["shape"], facts["classes"]) == ("x.svg", [2, 48, 48], 7)
    assert facts["macs"] == cost(plan(network, (2, 48, 48), 7)).macs
    assert "input 2×48×48" in (tmp_path / "x.svg").read_text()
    usual = json.loads(nas(tmp_path, "draw", "one.yaml", "--json").stdout)
    assert (usual["drawing"], usual["shape"]) == ("mine.svg", [1, 8, 8])        # the digits


def test_the_text_writes_nothing(tmp_path: Path) -> None:
    done = nas(tmp_path, "draw", "resnet20", "--text")
    assert done.stdout.startswith("network: sequence 3×32×32 → 10×1×1\n")
    assert "stage3: " in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("arguments", "said"), [
    (["resnet20", "-o", "x.png"], "is an .svg file"),
    (["resnet20", "-o", "missing/x.svg"], "missing/x.svg: cannot be written"),
    (["space.yaml"], "is a space of several networks (depth)"),
    (["nosuch"], "nor is it that of a study"),
    (["nosuch", "--trial", "1"], "no database"),
    (["resnet21"], "resnet21"),
])
def test_what_cannot_be_drawn_is_a_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "space.yaml").write_text("network: {depth: [1, 2]}\n")
    done = nas(tmp_path, "draw", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.rglob("*.svg"))


@pytest.mark.slow
def test_a_trial_of_a_study_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("name: mine\nnetwork: {stages: 1, depth: [1, 2], width: 4}\n")
    done = nas(tmp_path, "run", "one.yaml", "--trials", "1", "--executor", "local", "--set", "recipe.epochs=1",
               "--set", "data.train=100", "--set", "search.early_stopping=none")
    assert done.returncode == 0, done.stderr
    drawn = json.loads(nas(tmp_path, "draw", "mine", "--trial", "0", "--json").stdout)
    assert json.loads(nas(tmp_path, "draw", "mine", "--json").stdout) == drawn, "the most accurate one"
    assert (drawn["drawing"], drawn["shape"]) == ("mine-trial-0.svg", [1, 8, 8])
    assert "mine-trial-0" in (tmp_path / "mine-trial-0.svg").read_text()
    assert "has no trial 7; it has trials 0 to 0" in nas(tmp_path, "draw", "mine", "--trial", "7").stderr


def test_drawing_needs_no_torch(tmp_path: Path) -> None:
    code = ("import sys; from nas.cli import command; command()(['draw', 'wrn_16_4'], standalone_mode=False); "
            "print(sorted({'torch', 'ray', 'optuna'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["wrn_16_4.svg", "[]"], done.stderr
