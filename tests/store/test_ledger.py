"""The contract of the ledger, on SQLite and on PostgreSQL."""

from __future__ import annotations

import contextlib
import math
import pickle
from collections.abc import Callable
from datetime import UTC

import pytest
import sqlalchemy as sa
from store_cases import COST, SPEC, epoch, everything, key, network, point, run, start

from nas.store import EpochRecord, IllegalStep, Ledger, Refusals, State, StoreError
from nas.store.tables import EVALUATION


@pytest.fixture
def study(ledger: Ledger) -> Ledger:
    ledger.create_study("s", SPEC)
    return ledger


def twice(ledger: Ledger, step: Callable[[], object]) -> object:
    """Does `step`, and again; the second time changes nothing and gives the same."""
    first = step()
    before = everything(ledger)
    assert step() == first
    assert everything(ledger) == before
    return first


def test_a_study_is_made_once_and_keeps_its_settings(ledger: Ledger) -> None:
    made = twice(ledger, lambda: ledger.create_study("s", SPEC))
    assert ledger.create_study("s", {"other": 1}) == made
    assert made.spec == SPEC
    assert list(made.spec) == list(SPEC)
    assert made.created.tzinfo is UTC
    assert made.seconds_spent == 0
    assert ledger.study("s") == made
    assert ledger.study("t") is None
    ledger.create_study("t", {})
    assert [record.name for record in ledger.studies()] == ["s", "t"]
    ledger.update_spec("s", {"b": 2})
    assert ledger.study("s").spec == {"b": 2}


def test_seconds_and_infeasible_points_add_up(study: Ledger) -> None:
    study.add_seconds("s", 1.5)
    study.add_seconds("s", 2.0)
    assert study.study("s").seconds_spent == 3.5
    study.add_infeasible("s", {"macs": Refusals(3, 0.1, 0.5), "params": Refusals.one(2.0)})
    study.add_infeasible("s", {"macs": Refusals(2, 0.01, 0.3)})
    study.add_infeasible("s", {})
    assert study.infeasible("s") == {"macs": Refusals(5, 0.01, 0.5), "params": Refusals(1, 2.0, 2.0)}


def test_a_trial_from_start_to_end(study: Ledger) -> None:
    begun = twice(study, lambda: start(study, 0))
    assert begun.state is State.RUNNING
    assert begun.finished is None
    assert not begun.reused
    assert begun.point == point(0)
    assert begun.sampler_attrs == {"a": 1}
    assert begun.architecture == network(0).canonical()
    assert begun.architecture_id == network(0).id
    assert begun.line == network(0).line()
    assert (begun.params, begun.macs, begun.activations) == COST
    assert begun.evaluation_key == key(0)
    assert begun.trained_by == "s"
    assert (begun.accuracy, begun.epochs, begun.seconds) == (None, 0, 0)

    twice(study, lambda: study.record_epoch("s", 0, epoch(1, 0.2)))
    twice(study, lambda: study.record_epoch("s", 0, epoch(2, 0.4)))
    study.record_epoch("s", 0, epoch(1, 0.2))      # late, and again: the last one counts
    going = study.trial("s", 0)
    assert (going.accuracy, going.loss, going.epochs, going.seconds) == (0.4, 0.75, 2, 4.0)

    done = twice(study, lambda: study.finish_trial(
        "s", 0, State.COMPLETE, "", epoch(3, 0.6), latency_ms=1.25, device="cpu, 1 thread", checkpoint="t/0.pt",
        checkpoint_sha256="ab" * 32))
    assert done.state is State.COMPLETE
    assert done.finished >= done.created
    assert (done.accuracy, done.loss, done.epochs, done.seconds) == (0.6, 0.5, 3, 6.0)
    assert (done.latency_ms, done.device) == (1.25, "cpu, 1 thread")
    assert (done.checkpoint, done.checkpoint_sha256) == ("t/0.pt", "ab" * 32)
    assert study.epochs("s") == {0: [epoch(1, 0.2), epoch(2, 0.4), epoch(3, 0.6)]}
    twice(study, lambda: study.record_epoch("s", 0, epoch(3, 0.9)))
    assert study.trial("s", 0) == done


def test_a_trial_of_several_seeds(study: Ledger) -> None:
    """Its accuracy and loss are means over what is complete, its seconds a sum; curve and weights are the first's."""
    first = run(study, 0)
    assert [one.seed for one in first.trainings] == [0]
    going = twice(study, lambda: study.start_repeat("s", 0, 1))
    assert [(one.seed, one.state) for one in going.trainings] == [(0, State.COMPLETE), (1, State.RUNNING)]
    assert (going.accuracy, going.seeds, going.spread) == (first.accuracy, 1, None)
    done = twice(study, lambda: study.finish_repeat("s", 0, 1, State.COMPLETE, "", [epoch(1, 0.2), epoch(2, 0.5)]))
    assert done.accuracy == pytest.approx((0.3 + 0.5) / 2)
    assert done.spread == pytest.approx(0.2 / 2 ** 0.5)
    assert (done.seeds, done.seconds, done.state) == (2, first.seconds + 4.0, State.COMPLETE)
    assert done.loss == pytest.approx((0.5 + 0.75) / 2)
    assert study.epochs("s")[0] == [epoch(1, 0.1), epoch(2, 0.2), epoch(3, 0.3)]
    study.start_repeat("s", 0, 2)
    failed = twice(study, lambda: study.finish_repeat("s", 0, 2, State.FAILED, "diverged", [epoch(1, 0.1)]))
    assert failed.accuracy == done.accuracy
    assert [(one.state, one.reason) for one in failed.trainings[1:]] == [(State.COMPLETE, ""),
                                                                        (State.FAILED, "diverged")]

    study.start_repeat("s", 0, 3)
    assert study.put_back("s") == []
    assert [one.seed for one in study.trial("s", 0).trainings] == [0, 1, 2], "one that ran is not there any more"
    assert study.retry_trials("s") == [0]
    assert [one.seed for one in study.trial("s", 0).trainings] == [0, 1]
    for wrong in (lambda: study.start_repeat("s", 7, 1), lambda: study.finish_repeat("s", 0, 9, State.COMPLETE)):
        with pytest.raises(IllegalStep):
            wrong()
    start(study, 1)
    with pytest.raises(IllegalStep, match="trial 1 is RUNNING"):
        study.start_repeat("s", 1, 1)


def test_a_seed_that_another_study_has_trained(study: Ledger) -> None:
    run(study, 0)
    study.create_study("t", SPEC)
    study.start_trial("t", 0, point(0), {}, network(0), COST, key(0, seed=1))
    study.finish_trial("t", 0, State.COMPLETE, "", epoch(1, 0.9))
    found = study.start_repeat("s", 0, 1)
    assert [(one.state, one.accuracy) for one in found.trainings] == [(State.COMPLETE, 0.3), (State.COMPLETE, 0.9)]
    study.put_back("s")
    study.retry_trials("s")
    assert len(study.trial("s", 0).trainings) == 2, "what is another study's is left alone"


@pytest.mark.parametrize("state", [State.COMPLETE, State.PRUNED, State.FAILED, State.OUT_OF_MEMORY])
def test_every_end_keeps_its_reason(study: Ledger, state: State) -> None:
    done = run(study, 0, state)
    assert (done.state, done.epochs) == (state, 3)
    assert done.reason == ("" if state is State.COMPLETE else f"because {state}")
    assert study.counts("s") == {each: int(each is state) for each in State}
    assert (study.stored_evaluation(key(0)) is not None) == state.stored


def test_a_value_that_is_not_a_number(study: Ledger) -> None:
    start(study, 0)
    done = study.finish_trial("s", 0, State.FAILED, "NaN", EpochRecord(1, math.nan, math.inf, math.nan, 1.0))
    assert (done.accuracy, done.loss) == (None, math.inf)
    [curve] = study.epochs("s")[0]
    assert math.isnan(curve.train_loss)
    assert math.isnan(curve.accuracy)
    assert curve.loss == math.inf


def test_steps_that_a_state_forbids(study: Ledger) -> None:
    start(study, 0)
    for wrong in (State.WAITING, State.RUNNING):
        with pytest.raises(IllegalStep):
            study.finish_trial("s", 0, wrong)
    with pytest.raises(IllegalStep, match="another point"):
        study.start_trial("s", 0, {"other": 1}, {}, network(0), COST, key(0))
    study.put_back("s")
    with pytest.raises(IllegalStep):
        study.record_epoch("s", 0, epoch(1))
    with pytest.raises(IllegalStep):
        study.finish_trial("s", 0, State.COMPLETE)
    study.restart_trial("s", 0)
    study.finish_trial("s", 0, State.PRUNED, "slow", epoch(1))
    for wrong in (State.COMPLETE, State.FAILED):
        with pytest.raises(IllegalStep):
            study.finish_trial("s", 0, wrong)
    with pytest.raises(IllegalStep):
        study.record_epoch("s", 0, epoch(2))
    with pytest.raises(IllegalStep, match="no trial 7"):
        study.finish_trial("s", 7, State.FAILED)
    with pytest.raises(IllegalStep, match="no such result"):
        study.reuse_trial("s", 1, point(1), {}, key(1))
    assert study.trial("s", 0).state is State.PRUNED
    assert study.trial("s", 1) is None


def test_a_waiting_trial_can_be_given_up(study: Ledger) -> None:
    start(study, 0)
    study.put_back("s")
    assert study.finish_trial("s", 0, State.FAILED, "its worker died twice").state is State.FAILED


def test_a_stored_result_is_reused_in_any_study(study: Ledger) -> None:
    first = run(study, 0)
    stored = study.stored_evaluation(key(0))
    assert (stored.state, stored.accuracy, stored.epochs_done, stored.study) == (State.COMPLETE, 0.3, 3, "s")
    assert stored.key == key(0)
    assert stored.seconds == 6.0
    assert stored.finished is not None
    for different in (key(0, seed=1), key(0, epochs=4), key(0, recipe_key="r"), key(0, data_key="d"), key(1)):
        assert study.stored_evaluation(different) is None

    study.create_study("t", {})
    again = twice(study, lambda: study.reuse_trial("t", 0, point(9), {"b": 2}, key(0)))
    assert again.reused
    assert again.state is State.COMPLETE
    assert again.finished is not None
    assert (again.point, again.sampler_attrs, again.trained_by) == (point(9), {"b": 2}, "s")
    assert (again.accuracy, again.epochs, again.architecture_id) == (0.3, 3, first.architecture_id)
    assert study.epochs("t") == study.epochs("s")

    run(study, 1, State.PRUNED)
    assert study.stored_evaluation(key(1)) is None, "another study may train it to the end"
    with pytest.raises(IllegalStep):
        study.reuse_trial("t", 1, point(1), {}, key(1))


def test_a_pruned_trial_is_promoted(study: Ledger) -> None:
    """It runs again under its number, with the epochs it had, and ends once more; twice is once."""
    run(study, 0, State.PRUNED)
    running = twice(study, lambda: study.promote_trial("s", 0))
    assert (running.state, running.epochs, running.accuracy, running.reason, running.finished) == (
        State.RUNNING, 3, 0.3, "", None)
    assert len(study.epochs("s")[0]) == 3
    with study.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(EVALUATION)).scalar_one() == 1
    study.record_epoch("s", 0, EpochRecord(1, 1.0, 1.0, 0.5, 1.0))
    assert [trial.number for trial in study.put_back("s")] == [0]
    assert study.restart_trial("s", 0).state is State.RUNNING
    done = study.finish_trial("s", 0, State.COMPLETE, epoch=EpochRecord(4, 1.0, 1.0, 0.6, 1.0))
    assert (done.state, done.accuracy, done.epochs) == (State.COMPLETE, 0.6, 4)
    assert study.stored_evaluation(key(0)) is not None
    assert study.promote_trial("s", 0) == done
    run(study, 1, State.FAILED)
    with pytest.raises(IllegalStep):
        study.promote_trial("s", 1)


def test_a_promoted_trial_takes_the_complete_result_of_another_study(study: Ledger) -> None:
    run(study, 0, State.PRUNED)
    study.create_study("t", {})
    start(study, 0, study="t")
    study.finish_trial("t", 0, State.COMPLETE, epoch=EpochRecord(1, 1.0, 1.0, 0.5, 1.0))
    taken = study.promote_trial("s", 0)
    assert (taken.state, taken.reused, taken.trained_by) == (State.COMPLETE, True, "t")


def test_starting_what_is_stored_by_now_is_a_reuse(study: Ledger) -> None:
    run(study, 0)
    again = twice(study, lambda: start(study, 1, of=0))
    assert again.reused
    assert again.state is State.COMPLETE


def test_what_failed_is_trained_again_and_its_trial_keeps_its_story(study: Ledger) -> None:
    failed = run(study, 0, State.FAILED)
    curve = study.epochs("s")[0]
    assert start(study, 1, of=0).state is State.RUNNING
    study.finish_trial("s", 1, State.COMPLETE, "", epoch(1, 0.9))
    assert study.stored_evaluation(key(0)).accuracy == 0.9
    assert study.trial("s", 0) == failed
    assert study.epochs("s")[0] == curve


def test_two_studies_that_train_the_same_at_once(study: Ledger) -> None:
    study.create_study("t", {})
    start(study, 0)
    assert start(study, 0, "t").state is State.RUNNING
    study.finish_trial("t", 0, State.COMPLETE, "", epoch(1, 0.7))
    assert study.stored_evaluation(key(0)).study == "t"
    study.finish_trial("s", 0, State.COMPLETE, "", epoch(1, 0.6))
    assert study.stored_evaluation(key(0)).study == "t"
    assert (study.trial("s", 0).accuracy, study.trial("t", 0).accuracy) == (0.6, 0.7)


def test_a_waiting_trial_takes_what_another_study_stored_meanwhile(study: Ledger) -> None:
    study.create_study("t", {})
    start(study, 0)
    study.put_back("s")
    run(study, 0, study="t")
    taken = twice(study, lambda: study.restart_trial("s", 0))
    assert taken.reused
    assert taken.state is State.COMPLETE
    assert taken.trained_by == "t"


def test_a_driver_that_died(study: Ledger) -> None:
    done = run(study, 0)
    start(study, 1)
    study.record_epoch("s", 1, epoch(1))
    start(study, 2)
    study.create_study("t", {})
    other = start(study, 3, "t")

    waiting = twice(study, lambda: study.put_back("s"))
    assert [(trial.number, trial.state) for trial in waiting] == [(1, State.WAITING), (2, State.WAITING)]
    assert waiting[0].point == point(1)
    assert (waiting[0].accuracy, waiting[0].epochs) == (0.5, 1), "how far it had come"
    assert study.epochs("s") == {0: [epoch(1, 0.1), epoch(2, 0.2), epoch(3, 0.3)], 1: [epoch(1)]}
    assert study.trial("s", 0) == done
    assert study.trial("t", 3) == other

    assert twice(study, lambda: study.restart_trial("s", 1)).state is State.RUNNING
    study.record_epoch("s", 1, epoch(1, 0.8))
    assert study.finish_trial("s", 1, State.COMPLETE, "", epoch(2, 0.9)).epochs == 2
    assert [trial.number for trial in study.put_back("s")] == [2]


def test_a_worker_that_died(study: Ledger) -> None:
    for number in range(3):
        start(study, number)
        study.record_epoch("s", number, epoch(1))
    waiting = twice(study, lambda: study.put_back("s", [1]))
    assert [trial.number for trial in waiting] == [1]
    assert [trial.number for trial in study.put_back("s", [2, 7])] == [2]
    assert study.put_back("s", []) == []
    assert [trial.state for trial in study.trials("s")] == [State.RUNNING, State.WAITING, State.WAITING]
    assert list(study.epochs("s")) == [0, 1, 2]


def test_checkpoints_come_and_go(study: Ledger) -> None:
    run(study, 0)
    twice(study, lambda: study.set_checkpoint("s", 0, "trials/0.safetensors", "cd" * 32))
    assert study.trial("s", 0).checkpoint == "trials/0.safetensors"
    study.create_study("t", {})
    study.reuse_trial("t", 0, point(0), {}, key(0))
    assert study.trial("t", 0).checkpoint_sha256 == "cd" * 32
    study.clear_checkpoint("t", 0)          # not its own
    assert study.trial("s", 0).checkpoint is not None
    twice(study, lambda: study.clear_checkpoint("s", 0))
    assert study.trial("s", 0).checkpoint is None
    assert study.trial("s", 0).checkpoint_sha256 is None


def test_a_batch_is_one_commit_or_nothing(study: Ledger) -> None:
    commits = []
    sa.event.listen(study.engine, "commit", commits.append)
    with study.batch():
        run(study, 0)
        run(study, 1)
        assert len(study.trials("s")) == 2
    assert len(commits) == 1
    before = everything(study)
    with contextlib.suppress(ZeroDivisionError), study.batch():
        study.create_study("t", {})
        run(study, 2, study="t")
        raise ZeroDivisionError
    assert everything(study) == before
    with pytest.raises(StoreError, match="no study t"):
        study.trials("t")


def test_unknown_studies_and_bad_names(ledger: Ledger) -> None:
    with pytest.raises(StoreError, match="there is no study nope"):
        ledger.trials("nope")
    for name in ("", "x" * 256):
        with pytest.raises(StoreError, match="1 to 255"):
            ledger.create_study(name, {})


def test_a_ledger_is_not_pickled(ledger: Ledger) -> None:
    with pytest.raises(TypeError, match="open it again"):
        pickle.dumps(ledger)
