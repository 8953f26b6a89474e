"""`search.latency: table`: predictions before any training, in place of measurements after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from latency_cases import SHAPE, Timer, table, timed_study

from nas.errors import NasError
from nas.evaluation import Job, Progress
from nas.latency.table import Table, record_table
from nas.plan import plan
from nas.search.run import run
from nas.store import TrialRecord
from nas.studies import StoredStudy
from nas.study import Study

TEXT = """
objectives: {accuracy: max, latency_ms: min}
recipe: {epochs: 3}
search: {sampler: nsga2, executor: local, early_stopping: {first: 1}, latency: table}
budget: {trials: 14}
"""


def study(text: str = TEXT) -> Study:
    return timed_study(text)


def train(job: Job) -> Iterator[Progress]:
    """At once; what is larger is better."""
    assert not job.latency, "nothing is measured"
    accuracy = min(0.9, job.architecture.blocks / 10)
    for epoch in range(1, job.epochs + 1):
        yield Progress(epoch, 1.0, 1.0, accuracy, 0.01, done=epoch == job.epochs)


@pytest.fixture(scope="module")
def made() -> Table:
    return replace(table(study(), Timer(0.0)), classes=10)


def predicted(made: Table, trial: TrialRecord) -> float:
    return made.predict(plan(trial.architecture, SHAPE, 10))


def test_without_a_table_one_line_says_how_to_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Table,
) -> None:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    record_table(replace(made, setting=replace(made.setting, threads=2)))
    with pytest.raises(NasError) as caught:
        run(study(), home=tmp_path / "studies", evaluate=train)
    (line,) = str(caught.value).splitlines()
    assert "search.latency: table: has no table on this machine for this space, 1x8x8 images, cpu, 1 thread" in line
    assert line.endswith("make it: nas measure study --table --data digits --threads 1")
    assert not (tmp_path / "studies").exists()


@pytest.mark.slow
def test_every_trial_has_its_prediction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Table) -> None:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    record_table(made)
    stored = run(study(), home=tmp_path, evaluate=train).stored
    trials = stored.records.values()
    assert {str(trial.state) for trial in trials} == {"COMPLETE", "PRUNED"}
    assert [trial.latency_ms for trial in trials] == [predicted(made, trial) for trial in trials]
    front = stored.front()
    assert 1 < len(front) < 14
    assert front["latency_ms"].is_monotonic_increasing
    assert front["accuracy"].is_monotonic_increasing
    (tmp_path / "cache" / "latency_tables.json").unlink()
    again = StoredStudy(stored.name, stored.storage, tmp_path).records.values()
    assert [trial.latency_ms for trial in again] == [trial.latency_ms for trial in trials], "it is in the ledger"


@pytest.mark.slow
def test_predictions_and_measurements_are_not_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Table,
) -> None:
    """A study that measured cannot go on with predictions; a fork takes its accuracies, and predicts."""

    def measured(job: Job) -> Iterator[Progress]:
        for progress in train(replace(job, latency=False)):
            yield replace(progress, latency_ms=77.0 if job.latency else None)

    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    record_table(made)
    plain = TEXT.replace(", latency: table", "").replace("first: 1", "kind: none").replace("14", "6")
    first = run(study(plain), home=tmp_path, evaluate=measured).stored
    assert {trial.latency_ms for trial in first.records.values()} == {77.0}
    with pytest.raises(NasError, match=r"search\.latency: measured -> table"):
        run(study(), home=tmp_path, evaluate=train)
    forked = run(study(TEXT.replace("14", "8")), home=tmp_path, evaluate=train, fork=True).stored
    assert sum(trial.reused for trial in forked.records.values()) == 6
    assert all(trial.latency_ms == predicted(made, trial) for trial in forked.records.values())
    untouched = StoredStudy(first.name, first.storage, tmp_path).records
    assert {trial.latency_ms for trial in untouched.values()} == {77.0}
