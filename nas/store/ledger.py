"""The ledger: what every study has tried, in one database, written by its driver alone.

Each method that writes is one transaction, and repeating it after a crash changes nothing. Inside `batch()` several
are one. While the database is away they are tried again. What Optuna's dashboard sees is a projection of this
(`nas.store.projection`); what to try next is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import URL, func, select, update

from nas.network import Network
from nas.nodes import Cost
from nas.store import lease, migrations, reading, writing
from nas.store.engine import StoreError, connect, connect_memory, explained, parse_url
from nas.store.records import (
    EpochRecord,
    EvaluationKey,
    EvaluationRecord,
    Point,
    Refusals,
    State,
    StudyRecord,
    Tested,
    TrialRecord,
)
from nas.store.tables import STUDY, TRIAL
from nas.store.transactions import Transactions, patient


class Ledger(Transactions):
    """One database of studies. Open it with `Ledger.open`; threads may share it, processes may not."""

    @staticmethod
    def open(url: str, create: bool = True) -> Ledger:
        """The database at an SQLAlchemy URL or at the path of an SQLite file, brought to this version.

        create: make the SQLite file and the tables where there are none; else raise NasError.
        """
        parsed = parse_url(url)
        ledger = Ledger(connect(parsed, create), parsed)
        try:
            with explained(parsed, "cannot open"):
                ledger._prepare(create)
        except BaseException:
            ledger.close()
            raise
        return ledger

    @staticmethod
    def in_memory() -> Ledger:
        """A ledger that ends with this process, for simulations."""
        ledger = Ledger(connect_memory(), URL.create("sqlite"))
        ledger._prepare(create=True)
        return ledger

    # studies

    @patient
    def create_study(self, name: str, spec: Mapping[str, Any]) -> StudyRecord:
        """A new study, or the one of that name as it is."""
        if not 0 < len(name) <= 255:
            raise StoreError("the name of a study has 1 to 255 characters")
        with self.writing() as connection:
            writing.add_study(connection, name, spec)
            return reading.studies(connection, name)[0]

    @patient
    def study(self, name: str) -> StudyRecord | None:
        """The study of that name."""
        with self.reading() as connection:
            return next(iter(reading.studies(connection, name)), None)

    @patient
    def studies(self) -> list[StudyRecord]:
        """All studies, oldest first."""
        with self.reading() as connection:
            return reading.studies(connection)

    @patient
    def update_spec(self, name: str, spec: Mapping[str, Any]) -> None:
        """Other settings for a study; whether they may change is the driver's to say."""
        with self._study(name) as (connection, study_id):
            connection.execute(update(STUDY).where(STUDY.c.id == study_id).values(spec=dict(spec)))

    @patient
    def add_seconds(self, study: str, seconds: float) -> None:
        """More seconds spent on a study: a sum, so not to be repeated."""
        with self._study(study) as (connection, study_id):
            more = STUDY.c.seconds_spent + seconds
            connection.execute(update(STUDY).where(STUDY.c.id == study_id).values(seconds_spent=more))

    @patient
    def add_infeasible(self, study: str, refused: Mapping[str, Refusals]) -> None:
        """More points that broke a constraint, by its name: a sum, so not to be repeated."""
        with self._study(study) as (connection, study_id):
            writing.add_infeasible(connection, study_id, refused)

    @patient
    def infeasible(self, study: str) -> dict[str, Refusals]:
        """Points that broke a constraint, by its name."""
        with self._study(study, write=False) as (connection, study_id):
            return reading.infeasible(connection, study_id)

    # who runs it

    @patient
    def take_lease(self, study: str, seconds: float = lease.SECONDS) -> None:
        """From now on this ledger's writes to the study are its driver's, until the lease is lost or given back.

        Raises `LeaseHeld` where another living driver has it; then, in every write, `LeaseLost` once one has.
        """
        with self._study(study) as (connection, study_id):
            token = lease.take(connection, study_id, study, seconds)
        self._leases[study] = study_id, token

    @patient
    def renew_lease(self, study: str, seconds: float = lease.SECONDS) -> bool:
        """Hold the lease for `seconds` from now; whether it is still this ledger's."""
        with self.writing() as connection:
            return lease.renew(connection, *self._leases[study], seconds)

    @patient
    def confirm_lease(self, study: str) -> None:
        """Before something that no transaction undoes: raises `LeaseLost` where the lease was this ledger's and is not
        any more."""
        with self._study(study):
            pass

    @patient
    def give_back_lease(self, study: str) -> None:
        """The study can be run by others."""
        with self.writing() as connection:
            lease.give_back(connection, *self._leases[study])
        del self._leases[study]

    @patient
    def holder(self, study: str) -> lease.Holder | None:
        """Who runs the study, or did and has not given it back."""
        with self._study(study, write=False) as (connection, study_id):
            return lease.holder(connection, study_id)

    @patient
    def ask_to_stop(self, study: str) -> None:
        """Ask the driver of the study to stop."""
        with self._study(study) as (connection, study_id):
            lease.ask_to_stop(connection, study_id)

    # one trial

    @patient
    def start_trial(self, study: str, number: int, point: Point, sampler_attrs: Mapping[str, Any],
                    architecture: Network, cost: Cost, evaluation: EvaluationKey) -> TrialRecord:
        """A trial that is RUNNING, to be trained now.

        Where the result of `evaluation` has come in meanwhile, it is taken, and the trial is finished and `reused`;
        where another study trains just this, it waits: look at the state. What failed is trained again.
        """
        with self._study(study) as (connection, study_id):
            writing.start(connection, study_id, number, point, sampler_attrs, architecture, cost, evaluation)
            return reading.trials(connection, study_id, [number])[0]

    @patient
    def reuse_trial(self, study: str, number: int, point: Point, sampler_attrs: Mapping[str, Any],
                    evaluation: EvaluationKey) -> TrialRecord:
        """A trial that is finished at once with the stored result of `evaluation`; IllegalStep where there is none."""
        with self._study(study) as (connection, study_id):
            writing.reuse(connection, study_id, number, point, sampler_attrs, evaluation)
            return reading.trials(connection, study_id, [number])[0]

    @patient
    def record_epoch(self, study: str, number: int, epoch: EpochRecord) -> None:
        """One more epoch of a running trial; its accuracy, loss, epochs and seconds follow."""
        with self._study(study) as (connection, study_id):
            writing.record_epoch(connection, study_id, number, epoch)

    @patient
    def finish_trial(self, study: str, number: int, state: State, reason: str = "", epoch: EpochRecord | None = None,
                     latency_ms: float | None = None, device: str = "", checkpoint: str | None = None,
                     checkpoint_sha256: str | None = None, tested: Tested | None = None) -> TrialRecord:
        """The end of a trial, with its last epoch if that is not written yet."""
        with self._study(study) as (connection, study_id):
            writing.finish(connection, study_id, number, state, reason, epoch, latency_ms, device, checkpoint,
                           checkpoint_sha256, tested)
            return reading.trials(connection, study_id, [number])[0]

    @patient
    def set_checkpoint(self, study: str, number: int, path: str, sha256: str) -> None:
        """Where the weights of a trial lie, and their digest. No effect on a result that another study gave."""
        with self._study(study) as (connection, study_id):
            writing.set_checkpoint(connection, study_id, number, path, sha256)

    @patient
    def shared(self, study: str, number: int) -> bool:
        """Whether a trial of another study has the same training, and so may need its weights."""
        with self._study(study, write=False) as (connection, study_id):
            return reading.shared(connection, study_id, number)

    @patient
    def clear_checkpoint(self, study: str, number: int) -> None:
        """The weights of a trial are gone. No effect on a result that another study gave."""
        with self._study(study) as (connection, study_id):
            writing.set_checkpoint(connection, study_id, number, None, None)

    @patient
    def put_back(self, study: str, numbers: Collection[int] | None = None) -> list[TrialRecord]:
        """The trials of a driver that died wait again, at the same points.

        numbers: only these, those of a worker that died. Returns all of them that wait, in order. Only the one driver
        of the study may call it.
        """
        with self._study(study) as (connection, study_id):
            return reading.trials(connection, study_id, writing.put_back(connection, study_id, numbers))

    @patient
    def retry_trials(self, study: str) -> list[int]:
        """The trials that failed or ran out of memory wait to be trained again; their numbers."""
        with self._study(study) as (connection, study_id):
            return writing.retry(connection, study_id)

    @patient
    def restart_trial(self, study: str, number: int) -> TrialRecord:
        """A waiting trial is RUNNING again; or finished and `reused`, where its result has come in meanwhile; or it
        waits on, where another study trains just this."""
        with self._study(study) as (connection, study_id):
            writing.restart(connection, study_id, number)
            return reading.trials(connection, study_id, [number])[0]

    @patient
    def promote_trial(self, study: str, number: int) -> TrialRecord:
        """A PRUNED trial is RUNNING again; or finished and `reused`, where another study has its complete result; or
        it waits, where another study trains just this."""
        with self._study(study) as (connection, study_id):
            writing.promote(connection, study_id, number)
            return reading.trials(connection, study_id, [number])[0]

    @patient
    def start_repeat(self, study: str, number: int, seed: int) -> TrialRecord:
        """A COMPLETE trial is trained once more, with `seed`; or has that result, where it is there already; or nothing
        is done, where another study trains just this: look at its `trainings`."""
        with self._study(study) as (connection, study_id):
            writing.start_repeat(connection, study_id, number, seed)
            return reading.trials(connection, study_id, [number])[0]

    @patient
    def finish_repeat(self, study: str, number: int, seed: int, state: State, reason: str = "",
                      curve: Sequence[EpochRecord] = (), device: str = "",
                      tested: Tested | None = None) -> TrialRecord:
        """The end of the training of a trial with another seed; its accuracy is now the mean over one more."""
        with self._study(study) as (connection, study_id):
            writing.finish_repeat(connection, study_id, number, seed, state, reason, curve, device, tested)
            return reading.trials(connection, study_id, [number])[0]

    # what there is

    @patient
    def stored_evaluation(self, key: EvaluationKey) -> EvaluationRecord | None:
        """The result of `key`, of whatever study, where it is complete."""
        with self.reading() as connection:
            found = reading.evaluation(connection, key.key)
        return found if found is not None and found.state.stored else None

    def trial(self, study: str, number: int) -> TrialRecord | None:
        """The trial of that number."""
        return next(iter(self.trials(study, [number])), None)

    @patient
    def trials(self, study: str, numbers: Collection[int] | None = None) -> list[TrialRecord]:
        """The study's trials in the order of their numbers, or those of `numbers`."""
        with self._study(study, write=False) as (connection, study_id):
            return reading.trials(connection, study_id, numbers)

    @patient
    def epochs(self, study: str, numbers: Collection[int] | None = None) -> dict[int, list[EpochRecord]]:
        """Learning curves by trial number, those of reused results too; a trial without epochs is left out."""
        with self._study(study, write=False) as (connection, study_id):
            return reading.epochs(connection, study_id, numbers)

    @patient
    def counts(self, study: str) -> dict[State, int]:
        """Trials of the study by state; every state is there."""
        query = select(TRIAL.c.state, func.count()).group_by(TRIAL.c.state)
        with self._study(study, write=False) as (connection, study_id):
            rows = connection.execute(query.where(TRIAL.c.study_id == study_id))
            found = {row[0]: row[1] for row in rows}
        return {state: found.get(state, 0) for state in State}

    def _prepare(self, create: bool) -> None:
        if not create:
            with self.engine.begin() as connection:
                if migrations.version(connection) is None:
                    raise StoreError(f"{self} holds no studies of nas; `nas run` makes it so")
        migrations.upgrade(self.engine)


