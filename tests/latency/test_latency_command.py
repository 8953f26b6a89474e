"""`nas measure` from end to end, and latencies that are measured in a search."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from nas.__main__ import run as nas
from nas.architecture import Architecture, Stage
from nas.data import load
from nas.evaluate import TrainingEvaluator
from nas.evaluation import Job, Progress
from nas.export import export
from nas.lane import measuring, training
from nas.latency import timing
from nas.latency.records import recorded_latency
from nas.plan import plan
from nas.search.run import run
from nas.settings import Data, Recipe
from nas.studies import open_study
from nas.study import study_from_text

pytestmark = pytest.mark.slow

STUDY = """
name: quick
network: {stem: {kind: conv3x3, width: 8}, stages: 2, depth: {per_stage: [1, 2, 3]}, width: {first: [4, 8], growth: 2}}
data: {source: digits, train: 200}
recipe: {epochs: 1}
search: {sampler: random, executor: local, early_stopping: none, keep: all, repeats: 1}
objectives: {accuracy: max, latency_ms: min}
budget: {trials: 2}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        stored = run(study_from_text(STUDY)).stored
        export(stored, 0, Path("out/net"))
        Path("quick.yaml").write_text(STUDY)
        Path("one.yaml").write_text("{name: one, network: {stages: 1, depth: 1, width: 4}}")
    return folder


@pytest.fixture(autouse=True)
def in_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


def measured(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, object]]:
    assert nas(["measure", *words, "--json"]) == 0
    found: list[dict[str, object]] = json.loads(capsys.readouterr().out)["networks"]
    return found


def test_a_study_a_trial_a_folder_and_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    front = [f"quick-trial-{number}" for number in open_study("quick").front()["number"]]
    assert [one["name"] for one in measured(capsys, "quick")] == front
    (trial,), (folder,) = measured(capsys, "quick", "--trial", "0"), measured(capsys, "out/net")
    assert (trial["name"], trial["network"]) == (folder["name"], folder["network"])
    (one,) = measured(capsys, "one.yaml", "--set", "data.resolution=12", "--batch", "4")
    assert (one["shape"], one["classes"]) == ([1, 12, 12], 10)
    assert one["low_ms"] <= one["median_ms"] <= one["high_ms"] <= one["p95_ms"]     # type: ignore[operator]
    assert one["images_per_second"] == pytest.approx(4000 / one["median_ms"])       # type: ignore[operator]


def test_it_is_kept_and_a_later_one_replaces_it(capsys: pytest.CaptureFixture[str]) -> None:
    (first,), (second,) = measured(capsys, "one.yaml"), measured(capsys, "one.yaml")
    kept = recorded_latency(str(second["network"]), (1, 8, 8), 10)
    assert kept is not None
    assert kept.measured == second["measured"] > first["measured"]      # type: ignore[operator]
    assert nas(["measure", "one.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("machine   cpu, 1 thread, batch 1; ")
    assert lines[1].startswith("one: ")
    assert " images/s" in lines[1]


def test_a_larger_network_takes_longer(capsys: pytest.CaptureFixture[str]) -> None:
    small = Architecture((Stage(1, 8),), stem_width=8)
    large = Architecture((Stage(8, 64),), stem_width=8)
    both = [timing.latency_ms(plan(one, (1, 16, 16), 10)) for one in (small, large)]
    assert 3 * both[0] < both[1]


def test_no_locks_is_noise(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.lane._taken", lambda turnstile, room: None)
    (one,) = measured(capsys, "one.yaml")
    assert timing.NO_LANE in str(one["noise"])


@pytest.mark.parametrize(("words", "said"), [
    (["quick", "--trial", "9"], "study quick has no trial 9; it has trials 0 to 1"),
    (["nobody"], "no study nobody"),
    (["quick.yaml"], "is a space of several networks (stage1.depth, stage2.depth, width.first); make a table"),
    (["one.yaml", "--table"], "is one network; a table is for a space"),
    (["out/net", "--trial", "1"], "--trial 1: out/net is one network"),
    (["out/nothing"], "no such folder"),
    (["missing.yaml"], "missing.yaml: no such file"),
    (["quick", "--trial", "1", "--front"], "exclude each other"),
    (["one.yaml", "--device", "cuda"], "torch sees no usable GPU"),
    (["one.yaml", "--threads", "4000"], "--threads 4000: this process may run on"),
])
def test_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    if words[-1] == "cuda" and timing.torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert nas(["measure", *words]) == 2
    found = capsys.readouterr()
    assert said in found.err
    assert (len(found.err.splitlines()), found.out) == (1, "")


def test_a_table_is_made_used_and_holds_up(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A search with predictions, and what it found measured afterwards."""
    assert nas(["measure", "quick.yaml", "--table", "--points", "18", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["points"] == 18
    assert found["error"]["median"] < found["macs"]["median"]
    assert nas(["run", "quick.yaml", "--set", "search.latency=table", "--name", "told", "--trials", "3"]) == 0
    trials = open_study("told").records.values()
    assert all(trial.latency_ms is not None and trial.latency_ms > 0 for trial in trials)
    assert len({trial.latency_ms for trial in trials}) == 3


def test_trainings_and_measurements_of_a_search_keep_to_the_lane() -> None:
    """No epoch while somebody measures; no measurement while somebody trains, beside whom an epoch is no matter."""
    data = Data(train=100)
    load(data)
    job = Job("s", 0, Architecture((Stage(1, 4),), stem_width=4), (1, 8, 8), 10, data, Recipe(epochs=2), 0, 2,
              latency=True, threads=1)
    epochs = TrainingEvaluator("cpu")(job)
    came: list[Progress] = []

    def next_epoch() -> threading.Thread:
        worker = threading.Thread(target=lambda: came.append(next(epochs)))
        worker.start()
        worker.join(3)
        assert worker.is_alive()
        return worker

    with measuring():
        first = next_epoch()
    first.join(60)
    assert [progress.done for progress in came] == [False]
    with training():
        second = next_epoch()
    second.join(60)
    assert [progress.done for progress in came] == [False, True]
    assert came[-1].latency_ms is not None
    assert came[-1].latency_ms > 0
