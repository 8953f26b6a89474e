"""The ledger under crashes, growth and several processes, on SQLite and on PostgreSQL."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from store_cases import SPEC, epoch, everything, run, start

from nas.store import Ledger, Refusals, State, TrialRecord


@pytest.fixture
def study(ledger: Ledger) -> Ledger:
    ledger.create_study("s", SPEC)
    return ledger


@pytest.mark.parametrize("step", [
    lambda ledger: start(ledger, 2),
    lambda ledger: start(ledger, 2, of=0),
    lambda ledger: ledger.record_epoch("s", 1, epoch(3)),
    lambda ledger: ledger.finish_trial("s", 1, State.COMPLETE, "", epoch(3)),
    lambda ledger: ledger.put_back("s"),
    lambda ledger: ledger.create_study("t", {}),
    lambda ledger: ledger.add_infeasible("s", {"macs": Refusals.one(0.1), "params": Refusals.one(0.2)}),
    lambda ledger: ledger.start_repeat("s", 0, 2),
    lambda ledger: ledger.finish_repeat("s", 0, 1, State.COMPLETE, "", [epoch(1), epoch(2)]),
], ids=["start", "reuse", "epoch", "finish", "put back", "study", "infeasible", "start repeat", "finish repeat"])
def test_a_crash_between_any_two_statements_of_a_step(study: Ledger, step: Callable[[Ledger], object]) -> None:
    run(study, 0)
    start(study, 1)
    study.record_epoch("s", 1, epoch(1))
    study.start_repeat("s", 0, 1)
    study.trials("s")
    before = everything(study)
    for last in range(1, 50):
        left = [last]

        def crash(*_: object, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt

        sa.event.listen(study.engine, "before_cursor_execute", crash)
        try:
            step(study)
        except KeyboardInterrupt:
            sa.event.remove(study.engine, "before_cursor_execute", crash)
            assert everything(study) == before
        else:
            sa.event.remove(study.engine, "before_cursor_execute", crash)
            assert everything(study) != before
            return
    raise AssertionError("the step never came to its end")


@pytest.mark.slow
def test_statements_do_not_grow_with_the_study(study: Ledger) -> None:
    statements = []
    sa.event.listen(study.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    counts = []
    many = 2_000 if study.url.get_backend_name() == "sqlite" else 500
    with study.batch():
        for number in range(many):
            statements.clear()
            start(study, number)
            study.finish_trial("s", number, State.COMPLETE, "", epoch(1))
            counts.append(len(statements))
    assert len(set(counts[1:])) == 1
    assert counts[-1] <= 24
    statements.clear()
    assert len(study.trials("s")) == many
    assert len(study.epochs("s")) == many
    assert len([text for text in statements if "nas_trial" in text]) == 2
    assert [trial.number for trial in study.trials("s", range(many - 10, many + 999))] == list(range(many - 10, many))


def _make(url: str, barrier: object, results: object) -> None:
    barrier.wait(60)
    with Ledger.open(url) as ledger:
        record = ledger.create_study("s", SPEC)
        with ledger.batch():
            made: TrialRecord = start(ledger, 0, _own(ledger))
        results.put((record.spec, made.state))


def _own(ledger: Ledger) -> str:
    name = f"of {multiprocessing.current_process().pid}"
    ledger.create_study(name, {})
    return name


@pytest.mark.slow
def test_processes_that_start_at_once(url: str) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(3), context.Queue()
    processes = [context.Process(target=_make, args=(url, barrier, results)) for _ in range(3)]
    for process in processes:
        process.start()
    assert [results.get(timeout=120) for _ in processes] == [(SPEC, State.RUNNING)] * 3
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    with Ledger.open(url) as ledger:
        assert len(ledger.studies()) == 4
