"""The commands as a user types them: exit codes, one-line errors, JSON that is alone on standard output."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SPACE = """
name: tiny
network: {depth: [1, 2], width: {first: [4, 8], growth: 2}, order: [post, pre]}
recipe: {epochs: 1}
search: {executor: local, sampler: random}
budget: {trials: 3}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A working folder in which `nas run` has been run."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "tiny.yaml").write_text(SPACE)
    done = nas(folder, "run", "tiny.yaml", "--json")
    assert done.returncode == 0, done.stderr
    (folder / "run.json").write_text(done.stdout)
    return folder


def nas(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return ran(folder, "-m", "nas", *words)


def ran(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False)


def test_run_prints_one_json_object(home):
    found = json.loads((home / "run.json").read_text())
    assert found["new_trials"] == 3
    assert found["front"]
    assert (home / found["report"]).exists()
    assert (home / "studies" / "tiny" / "front.csv").exists()


def test_run_again_trains_nothing(home):
    done = nas(home, "run", "tiny.yaml")
    assert done.returncode == 0
    assert "nothing new to train" in done.stdout


def test_changed_recipe_is_refused_with_a_diff(home):
    done = nas(home, "run", "tiny.yaml", "--set", "recipe.epochs=2")
    assert done.returncode == 2
    assert "recipe.epochs: 1 -> 2" in done.stderr
    assert "--name" in done.stderr


@pytest.mark.parametrize("words", [
    ("inspect", "tiny.yaml"), ("status",), ("status", "tiny"), ("report", "tiny"),
    ("export", "tiny", "--format", "none"), ("schema",),
])
def test_json_is_alone(home, words):
    done = nas(home, *words, "--json")
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), dict)


def test_inspect_figures(home):
    found = json.loads(nas(home, "inspect", "tiny.yaml", "--json").stdout)
    assert found["points"] == 8
    assert found["feasible_share"] == 1
    assert found["macs"]["min"] == found["smallest"]["macs"] > 0


def test_exported_network_loads(home):
    folder = json.loads(nas(home, "export", "tiny", "--best", "--format", "none", "--json").stdout)["folders"][0]
    done = ran(home / folder, "example.py")
    assert done.returncode == 0, done.stderr


def test_train_one_network(home):
    folder = json.loads(nas(home, "export", "tiny", "--best", "--format", "none", "--json").stdout)["folders"][0]
    done = nas(home, "train", f"{folder}/architecture.yaml", "--epochs", "2", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["states"] == {"COMPLETE": 1}


def test_train_for_a_time(home):
    """It chooses its epochs once; what it evaluates with the mirror image, too, the export finds again."""
    (home / "one.yaml").write_text("network: {depth: 1, width: {first: 4, growth: 2}}\ndata: {train: 100}\n")
    words = ("train", "one.yaml", "--budget", "3s", "--set", "recipe.flip_test=true", "--json")
    done = nas(home, *words)
    assert done.returncode == 0, done.stderr
    (epochs,) = re.findall(r"^epochs +(\d+).* steps timed here", done.stderr, re.MULTILINE)
    checks = json.loads((home / json.loads(done.stdout)["export"] / "checks.json").read_text())
    assert checks["accuracy"]["exact"]
    assert checks["flip_test"]
    again = nas(home, *words)
    assert again.returncode == 0, again.stderr
    assert f"epochs    {epochs}, with which train-one was begun" in again.stderr
    assert json.loads(again.stdout)["trained"] == 0


@pytest.mark.parametrize(("words", "said"), [
    (("train", "one.yaml", "--budget", "2h", "--epochs", "3"), "give one of the two"),
    (("train", "one.yaml", "--budget", "2h", "--set", "recipe.epochs=3"), "give one of the two"),
    (("train", "one.yaml", "--budget", "soon"), "--budget soon: must be a duration"),
    (("bench", "recipe", "--network", "tiny.yaml"), "several networks"),
    (("run", "nowhere.yaml"), "no such file"),
    (("run", "tiny.yaml", "--sampler", "magic"), "must be one of 'random'"),
    (("run", "tiny.yaml", "--trials", "none"), "trials"),
    (("run", "tiny.yaml", "--budget", "soon"), "duration"),
    (("run", "tiny.yaml", "--data", "nowhere.tar", "--name", "other"), "nowhere.tar"),
    (("run", "tiny.yaml", "--name", "../evil"), "name"),
    (("status", "nobody"), "no study nobody"),
    (("export", "tiny", "--best", "--knee"), "exclude each other"),
    (("export", "tiny", "--format", "tflite"), "format tflite: is none of pt2, onnx"),
    (("train", "tiny.yaml"), "several networks"),
    (("simulate", "nowhere.csv"), "nowhere.csv: cannot be read as CSV: No such file or directory"),
    (("simulate", "nobody"), "no study nobody"),
    (("fly",), "fly"),
])
def test_mistakes_are_one_line_and_exit_code_2(home, words, said):
    done = nas(home, *words)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_a_refused_run_leaves_nothing_that_its_mending_differs_from(home):
    refused = nas(home, "run", "tiny.yaml", "--name", "mended", "--set", "limits.macs.to=10")
    assert refused.returncode == 2
    assert not (home / "studies" / "mended").exists()
    assert nas(home, "run", "tiny.yaml", "--name", "mended", "--trials", "1").returncode == 0


def test_workers_find_data_by_a_relative_path(tmp_path):
    from PIL import Image

    for number in range(60):
        folder = tmp_path / "pictures" / ("light" if number % 2 else "dark")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 200 * (number % 2) + number % 50).save(folder / f"{number}.png")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "tiny.yaml").write_text(SPACE.replace("executor: local", "executor: ray, workers: 2"))
    done = nas(tmp_path / "work", "run", "tiny.yaml", "--data", "../pictures", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["states"] == {"COMPLETE": 3}

    shutil.rmtree(tmp_path / "pictures")
    done = nas(tmp_path / "work", "status")
    assert done.returncode == 0, "how a study stands can be told without its data"
    assert "3 complete" in done.stdout


@pytest.mark.parametrize("url", ["postgresql://me:hush-hush@db/nas", "postgresql://db/nas?password=hush-hush"])
def test_a_password_is_in_no_log(url, tmp_path, monkeypatch, capsys):
    from nas import __main__, cli

    def broken() -> None:
        raise RuntimeError(f"of {url}")

    (tmp_path / "studies").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "command", broken)
    assert __main__.run(["run", "tiny.yaml", "--storage", url]) == 1
    kept = (tmp_path / "studies" / "nas-errors.log").read_text()
    assert "RuntimeError" in kept
    assert "db/nas" in kept
    assert "hush-hush" not in kept + capsys.readouterr().err


def test_no_database_is_one_line(tmp_path):
    for command in ("status", "dashboard"):
        done = nas(tmp_path, command)
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1


def _heeds_ctrl_c() -> None:
    """Also where the tests themselves run in the background of a shell, which has its children ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_stop_from_another_terminal(tmp_path):
    endless = SPACE.replace("epochs: 1}", "epochs: 300}").replace("random}", "random, early_stopping: none}")
    (tmp_path / "tiny.yaml").write_text(endless)
    process = subprocess.Popen([sys.executable, "-m", "nas", "run", "tiny.yaml"], cwd=tmp_path, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for _ in range(300):
        time.sleep(0.2)
        if nas_status(tmp_path).get("states", {}).get("RUNNING"):
            break
    second = nas(tmp_path, "run", "tiny.yaml")
    assert second.returncode == 2
    assert f"study tiny is being run by process {process.pid} on" in second.stderr
    done = nas(tmp_path, "stop", "tiny")
    assert (done.returncode, done.stdout.strip()) == (0, "tiny has stopped")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "go on with: nas run tiny.yaml" in out
    assert nas(tmp_path, "stop", "tiny").stdout.strip() == "tiny is not running"


def nas_status(folder: Path) -> dict[str, Any]:
    done = nas(folder, "status", "tiny", "--json")
    return json.loads(done.stdout) if done.returncode == 0 else {}


def test_retry_of_what_did_not_fail(home):
    done = nas(home, "retry", "tiny", "--failed")
    assert (done.returncode, done.stdout.strip()) == (0, "no trial of tiny failed")
    assert nas(home, "retry", "tiny").returncode == 2
    assert nas(home, "retry", "nobody", "--failed").returncode == 2


def test_a_study_as_the_table_of_a_simulation(home):
    done = nas(home, "simulate", "tiny", "--samplers", "random", "--seeds", "2", "--workers", "2", "--trials", "3")
    assert done.returncode == 0, done.stderr
    assert "3 networks, 3 axes, with gaps" in done.stdout
    assert (home / "studies" / "simulations" / "tiny" / "simulation.html").exists()
    found = json.loads(nas(home, "simulate", "tiny", "--samplers", "random", "--seeds", "1", "--json").stdout)
    assert found["figures"][0]["hypervolume"]["3"]["median"] == 1


def test_ctrl_c_stops_cleanly_and_the_same_command_goes_on(tmp_path):
    endless = SPACE.replace("epochs: 1}", "epochs: 300}").replace("random}", "random, early_stopping: none}")
    (tmp_path / "tiny.yaml").write_text(endless)
    process = subprocess.Popen([sys.executable, "-m", "nas", "run", "tiny.yaml"], cwd=tmp_path, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=_heeds_ctrl_c)
    database = tmp_path / "studies" / "nas.db"
    for _ in range(300):
        if database.exists() and database.stat().st_size and "1" in _running(tmp_path):
            break
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 130, said
    assert "go on with" in said
    assert json.loads(nas(tmp_path, "status", "tiny", "--json").stdout)["states"] == {"WAITING": 1}


def _running(folder: Path) -> str:
    import sqlite3

    with sqlite3.connect(folder / "studies" / "nas.db", timeout=10) as connection:
        try:
            return str(connection.execute("select count(*) from nas_trial where state = 'RUNNING'").fetchone()[0])
        except sqlite3.OperationalError:
            return ""


def test_dashboard_in_a_real_browser(home, chromium):
    server = subprocess.Popen([sys.executable, "-m", "nas", "dashboard", "--port", "0"], cwd=home, text=True,
                              stdout=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert server.stdout is not None
    try:
        url = re.search(r"http://127\.0\.0\.1:\d+/dashboard/", server.stdout.readline())
        assert url is not None
        page = chromium.new_page()
        page.goto(url[0])
        page.get_by_text("tiny").first.click()
        page.get_by_text("accuracy").first.wait_for()
        page.get_by_text("macs").first.wait_for()
        page.goto(f"{url[0]}studies/1/trials")
        page.get_by_text("width.first").first.wait_for()
        page.get_by_text("3 Trials").first.wait_for()
        assert page.get_by_text("Complete", exact=True).count() >= 3
        page.close()
    finally:
        server.terminate()
        server.wait(30)
        server.stdout.close()
