"""The Optuna study that shows a study of the ledger, read back through Optuna itself, on both kinds of database."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from store_cases import COST, epoch, key, network, point, run, start

from nas.store import IllegalStep, Ledger, Projection, State, StoreError, migrations
from nas.store.engine import engine_options, parse_url

OBJECTIVES = {"accuracy": "max", "macs": "min"}
AXES: dict[str, BaseDistribution] = {
    "stage1.depth": IntDistribution(1, 5),
    "alpha": FloatDistribution(0.1, 1.0, log=True),
    "gate": CategoricalDistribution(["none", "highway"]),
}


@pytest.fixture
def study(ledger: Ledger) -> Ledger:
    ledger.create_study("s", {})
    return ledger


@pytest.fixture
def projection(study: Ledger) -> Projection:
    return Projection(study, "s", OBJECTIVES, AXES)


def show(projection: Projection, *numbers: int) -> None:
    """What a driver does: the trials that changed, with their curves."""
    ledger = projection.ledger
    projection.update(ledger.trials("s", numbers), ledger.epochs("s", numbers))


def seen(ledger: Ledger, name: str = "s") -> optuna.Study:
    """The study as anybody's Optuna loads it."""
    url = ledger.url.render_as_string(hide_password=False)
    storage = optuna.storages.RDBStorage(url, engine_kwargs=engine_options(ledger.url))
    try:
        study = optuna.load_study(study_name=name, storage=storage)
        loaded = optuna.create_study(directions=study.directions, study_name=name)
        for trial in storage.get_all_trials(study._study_id):
            loaded.add_trial(trial)
        loaded._storage.set_study_system_attr(loaded._study_id, "study:metric_names", study.metric_names)
        return loaded
    finally:
        storage.remove_session()
        storage.engine.dispose()


def plain(trial: FrozenTrial) -> dict[str, Any]:
    """All that a trial says, without the row it stands in."""
    return {name: value for name, value in vars(trial).items() if name not in ("_trial_id",)}


def test_a_study_as_optuna_sees_it(study: Ledger, projection: Projection) -> None:
    ends = (State.COMPLETE, State.PRUNED, State.FAILED, State.OUT_OF_MEMORY)
    for number, state in enumerate(ends):
        run(study, number, state)
    start(study, 4)
    study.put_back("s")
    start(study, 5)
    study.record_epoch("s", 5, epoch(1, 0.2))
    show(projection, *range(6))

    loaded = seen(study)
    assert [way.name for way in loaded.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert loaded.metric_names == ["accuracy", "macs"]
    trials = loaded.trials
    assert [trial.number for trial in trials] == list(range(6))
    assert [trial.state for trial in trials] == [
        TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.FAIL, TrialState.WAITING,
        TrialState.RUNNING]
    assert trials[0].values == [0.3, COST.macs]
    assert all(trial.values is None for trial in trials[1:])
    assert trials[1].params == {"stage1.depth": 2, "alpha": 0.25, "gate": "none"}
    assert trials[1].distributions == AXES
    assert trials[1].intermediate_values == {1: 0.1, 2: 0.2, 3: 0.301}
    assert (trials[4].intermediate_values, trials[5].intermediate_values) == ({}, {1: 0.2})
    attrs = trials[2].user_attrs
    assert attrs["reason"] == "because FAILED"
    assert attrs["state"] == "FAILED"
    assert attrs["architecture"] == network(2).line()
    assert attrs["architecture_id"] == network(2).id
    assert (attrs["params"], attrs["macs"], attrs["activations"]) == COST
    assert (attrs["epochs"], attrs["seconds"], attrs["reused"]) == (3, 6.0, False)
    assert [trial.number for trial in loaded.best_trials] == [0]
    ours = study.trial("s", 0)
    assert abs(trials[0].datetime_start.timestamp() - ours.created.timestamp()) < 1e-3
    assert abs(trials[0].datetime_complete.timestamp() - ours.finished.timestamp()) < 1e-3


@pytest.mark.slow
def test_it_follows_a_trial_and_can_be_repeated(study: Ledger, projection: Projection) -> None:
    steps: list[tuple[Callable[[], object], TrialState, dict[int, float]]] = [
        (lambda: start(study, 0), TrialState.RUNNING, {}),
        (lambda: study.record_epoch("s", 0, epoch(1, 0.1)), TrialState.RUNNING, {1: 0.1}),
        (lambda: study.record_epoch("s", 0, epoch(2, 0.2)), TrialState.RUNNING, {1: 0.1, 2: 0.2}),
        (lambda: study.put_back("s"), TrialState.WAITING, {1: 0.1, 2: 0.2}),
        (lambda: study.restart_trial("s", 0), TrialState.RUNNING, {1: 0.1, 2: 0.2}),
        (lambda: study.record_epoch("s", 0, epoch(1, 0.5)), TrialState.RUNNING, {1: 0.1, 2: 0.2}),
        (lambda: study.finish_trial("s", 0, State.COMPLETE, "", epoch(2, 0.6)), TrialState.COMPLETE,
         {1: 0.5, 2: 0.6}),
    ]
    for step, state, curve in steps:
        step()
        for _ in range(2):
            show(projection, 0)
            Projection(study, "s", OBJECTIVES, AXES).update(study.trials("s"), study.epochs("s"))
            [trial] = seen(study).trials
            assert (trial.state, trial.intermediate_values) == (state, curve)
    assert trial.values == [0.6, COST.macs]
    assert trial.user_attrs["epochs"] == 2


def test_catching_up_after_a_crash_at_any_point(study: Ledger, projection: Projection) -> None:
    run(study, 0)
    start(study, 1)
    study.record_epoch("s", 1, epoch(1, 0.1))
    start(study, 2)
    show(projection, 0, 1)
    study.finish_trial("s", 2, State.PRUNED, "", epoch(1, 0.3))     # not shown
    study.put_back("s")
    study.restart_trial("s", 1)
    study.record_epoch("s", 1, epoch(1, 0.7))       # the same length as what was shown, and another curve
    again = Projection(study, "s", OBJECTIVES, AXES)
    again.catch_up()
    again.catch_up()
    trials = seen(study).trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE, TrialState.RUNNING, TrialState.PRUNED]
    assert trials[1].intermediate_values == {1: 0.7}
    assert trials[2].intermediate_values == {1: 0.3}
    show(projection, 1)
    study.finish_trial("s", 1, State.COMPLETE, "", epoch(2, 0.8))
    show(projection, 1)
    assert seen(study).trials[1].intermediate_values == {1: 0.7, 2: 0.8}


def test_made_anew_it_is_the_same(study: Ledger, projection: Projection) -> None:
    for number, state in enumerate((State.COMPLETE, State.FAILED, State.PRUNED)):
        start(study, number)
        show(projection, number)
        study.record_epoch("s", number, epoch(1, 0.1))
        show(projection, number)
        study.finish_trial("s", number, state, "why", epoch(2, 0.2))
        show(projection, number)
    study.reuse_trial("s", 3, point(3), {}, key(0))
    start(study, 4)
    show(projection, 3, 4)
    live = [plain(trial) for trial in seen(study).trials]
    assert live[3]["_user_attrs"]["reused"]
    assert live[3]["_values"] == live[0]["_values"]
    Projection(study, "s", OBJECTIVES, AXES).rebuild()
    assert [plain(trial) for trial in seen(study).trials] == live

    study.finish_trial("s", 4, State.COMPLETE, "", epoch(1, 0.9))
    show(projection, 4)         # made anew by another process: its rows are looked up again
    assert [trial.state.name for trial in seen(study).trials][3:] == ["COMPLETE", "COMPLETE"]
    projection.rebuild()
    assert len(seen(study).trials) == 5


def test_deleted_it_leaves_nothing_and_the_ledger_whole(study: Ledger, projection: Projection) -> None:
    run(study, 0)
    other = Projection(study, "t", {"accuracy": "max"}, AXES)
    study.create_study("t", {})
    run(study, 0, study="t", of=1)
    other.update(study.trials("t"), study.epochs("t"))
    before = [plain(trial) for trial in seen(study, "t").trials]
    projection.catch_up()
    projection.delete()
    projection.delete()
    with pytest.raises(KeyError):
        seen(study)
    assert [plain(trial) for trial in seen(study, "t").trials] == before
    with study.reading() as connection:
        for table in ("trials", "trial_params", "trial_values", "trial_user_attributes"):
            found = connection.execute(sa.text(f"SELECT DISTINCT trial_id FROM {table}")).scalars().all()
            assert len(found) == 1
    assert len(study.trials("s")) == 1
    projection.catch_up()
    assert len(seen(study).trials) == 1


def test_one_objective_a_missing_value_and_values_off_the_axes(study: Ledger) -> None:
    projection = Projection(study, "s", {"latency": "min"}, {**AXES, "alpha": FloatDistribution(0.5, 1.0)})
    start(study, 0)
    study.finish_trial("s", 0, State.COMPLETE, "", epoch(1), latency_ms=2.5)
    start(study, 1)
    study.finish_trial("s", 1, State.COMPLETE, "", epoch(1))
    study.start_trial("s", 2, {"gate": "other", "unknown": 3, "stage1.depth": 1}, {}, network(2), COST, key(2))
    projection.catch_up()
    projection.catch_up()
    loaded = seen(study)
    assert loaded.best_trial.value == 2.5
    assert loaded.trials[0].params == {"stage1.depth": 1, "gate": "none"}
    assert loaded.trials[1].state is TrialState.FAIL
    assert loaded.trials[1].user_attrs["reason"] == "no value of latency"
    assert loaded.trials[2].params == {"stage1.depth": 1}


def test_somebody_elses_study_is_left_alone(study: Ledger, projection: Projection) -> None:
    storage = optuna.storages.RDBStorage(study.url.render_as_string(hide_password=False))
    optuna.create_study(study_name="s", storage=storage).add_trial(optuna.create_trial(value=1.0))
    storage.remove_session()
    storage.engine.dispose()
    run(study, 0)
    for call in (lambda: show(projection, 0), projection.catch_up, projection.rebuild):
        with pytest.raises(StoreError, match="nas did not make"):
            call()
    projection.delete()
    assert [trial.value for trial in seen(study).trials] == [1.0]


@pytest.mark.slow
def test_statements_do_not_grow_with_the_study(study: Ledger, projection: Projection) -> None:
    with study.batch():
        for number in range(1_000):
            start(study, number)
            study.finish_trial("s", number, State.COMPLETE, "", epoch(1))
    show(projection, *range(500))
    statements: list[str] = []
    sa.event.listen(study.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    counts = []
    for number in (500, 999):
        trials, curves = study.trials("s", [number]), study.epochs("s", [number])
        statements.clear()
        projection.update(trials, curves)
        projection.update(trials, curves)
        counts.append(len(statements))
    assert counts[0] == counts[1] <= 12
    statements.clear()
    projection.update([], {})
    assert statements == []


def test_it_waits_for_the_end_of_a_batch(study: Ledger, projection: Projection) -> None:
    with study.batch(), pytest.raises(IllegalStep, match="after the batch"):
        projection.catch_up()


def test_it_is_silent(study: Ledger, projection: Projection, capfd: pytest.CaptureFixture[str],
                      caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    run(study, 0)
    projection.rebuild()
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_our_migrations_and_optunas_live_together(study: Ledger, projection: Projection) -> None:
    projection.catch_up()
    Ledger.open(study.url.render_as_string(hide_password=False)).close()
    with study.reading() as connection:
        ours = connection.execute(sa.text("SELECT version_num FROM nas_alembic_version")).scalars().all()
        optunas = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalars().all()
    assert ours == [migrations.HEAD]
    assert len(optunas) == 1
    assert optunas != ours


def _catch_up(url: str, barrier: Any, results: Any) -> None:
    with Ledger.open(url) as ledger:
        projection = Projection(ledger, "s", OBJECTIVES, AXES)
        barrier.wait(60)
        projection.catch_up()
        results.put(True)


@pytest.mark.slow
def test_processes_that_make_it_at_once(study: Ledger) -> None:
    for number in range(3):
        run(study, number)
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(3), context.Queue()
    url = study.url.render_as_string(hide_password=False)
    processes = [context.Process(target=_catch_up, args=(url, barrier, results)) for _ in range(3)]
    for process in processes:
        process.start()
    assert [results.get(timeout=120) for _ in processes] == [True] * 3
    for process in processes:
        process.join(60)
    assert [trial.number for trial in seen(study).trials] == [0, 1, 2]
    assert parse_url(url) == study.url
