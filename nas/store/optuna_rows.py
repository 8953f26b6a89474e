"""Optuna's tables, written row by row: a trial costs a millisecond here and 57 through Optuna's storage calls.

The tables are those of the installed Optuna, whose own version check has passed; tests read all of it back through
`optuna.load_study`. Which trial comes to which rows is decided in `nas.store.projection`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import URL, Connection, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import DBAPIError

from nas.store.engine import StoreError, engine_options

MARK = "nas:projection"
"""User attribute of a study that is a projection of ours: a token, another one each time it is made anew."""
SEEDS = "seeds"
"""User attribute of a trial whose values are means over more than one seed: how many."""
METRIC_NAMES = "study:metric_names"     # where Study.set_metric_names keeps them

_STUDIES = models.StudyModel.__table__
_DIRECTIONS = models.StudyDirectionModel.__table__
_STUDY_USER = models.StudyUserAttributeModel.__table__
_STUDY_SYSTEM = models.StudySystemAttributeModel.__table__
_TRIALS = models.TrialModel.__table__
_PARAMS = models.TrialParamModel.__table__
_USER = models.TrialUserAttributeModel.__table__
_VALUES = models.TrialValueModel.__table__
_STEPS = models.TrialIntermediateValueModel.__table__


@dataclass(slots=True)
class Known:
    """A trial as it stands in Optuna's tables: its row, its state, the last step of its curve (0: none), and the
    seeds that its values are the means over."""

    trial_id: int
    state: TrialState
    step: int
    seeds: int


@dataclass(frozen=True, slots=True)
class Shown:
    """A trial as it should stand there. params: name to (distribution, value); steps: those to be added."""

    number: int
    state: TrialState
    started: datetime
    finished: datetime | None
    params: Mapping[str, tuple[BaseDistribution, Any]]
    attrs: Mapping[str, Any]
    values: Sequence[float]
    steps: Mapping[int, float]
    clear_steps: bool
    seeds: int


def create_tables(url: URL, attempts: int = 5) -> None:
    """Optuna's tables, where there are none; another process may make them at the same moment."""
    text = url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    for attempt in range(attempts):
        try:
            RDBStorage(text, engine_kwargs=engine_options(url)).engine.dispose()
            return
        except RuntimeError as error:
            raise StoreError(f"the database's Optuna tables do not fit the installed Optuna: {error}") from None
        except (DBAPIError, StorageInternalError) as error:
            behind = error.__cause__ if isinstance(error, StorageInternalError) else error
            if attempt == attempts - 1 or behind is None:
                raise behind or error from None
            time.sleep(0.1 * (attempt + 1))


def find_study(connection: Connection, name: str) -> tuple[int, str] | None:
    """The study's id and its mark; an empty mark: it is not ours."""
    joined = _STUDIES.outerjoin(_STUDY_USER, (_STUDY_USER.c.study_id == _STUDIES.c.study_id)
                                & (_STUDY_USER.c.key == MARK))
    row = connection.execute(select(_STUDIES.c.study_id, _STUDY_USER.c.value_json).select_from(joined).where(
        _STUDIES.c.study_name == name)).one_or_none()
    return None if row is None else (row[0], str(json.loads(row[1])) if row[1] else "")


def add_study(connection: Connection, name: str, directions: Mapping[str, str], mark: str) -> int:
    """A new study with its objectives by name and direction ('max' or 'min')."""
    study_id = _add(connection, _STUDIES, study_name=name)
    ways = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}
    connection.execute(insert(_DIRECTIONS), [
        {"study_id": study_id, "objective": place, "direction": ways[way]}
        for place, way in enumerate(directions.values())])
    connection.execute(insert(_STUDY_SYSTEM).values(
        study_id=study_id, key=METRIC_NAMES, value_json=json.dumps(list(directions))))
    connection.execute(insert(_STUDY_USER).values(study_id=study_id, key=MARK, value_json=json.dumps(mark)))
    return study_id


def delete_study(connection: Connection, study_id: int) -> None:
    """The study and all that hangs on it."""
    trials = select(_TRIALS.c.trial_id).where(_TRIALS.c.study_id == study_id)
    tables = list(reversed(models.BaseModel.metadata.sorted_tables))
    for table in tables:
        if "trial_id" in table.c and table is not _TRIALS:
            connection.execute(delete(table).where(table.c.trial_id.in_(trials)))
    for table in tables:
        if "study_id" in table.c:
            connection.execute(delete(table).where(table.c.study_id == study_id))


def known_trials(connection: Connection, study_id: int) -> dict[int, Known]:
    """The study's trials by number."""
    steps = (select(_STEPS.c.trial_id, func.max(_STEPS.c.step).label("step"))
             .join(_TRIALS, _TRIALS.c.trial_id == _STEPS.c.trial_id)
             .where(_TRIALS.c.study_id == study_id).group_by(_STEPS.c.trial_id).subquery())
    rows = connection.execute(
        select(_TRIALS.c.number, _TRIALS.c.trial_id, _TRIALS.c.state, func.coalesce(steps.c.step, 0))
        .select_from(_TRIALS.outerjoin(steps, steps.c.trial_id == _TRIALS.c.trial_id))
        .where(_TRIALS.c.study_id == study_id))
    several = {trial_id: json.loads(value) for trial_id, value in connection.execute(
        select(_USER.c.trial_id, _USER.c.value_json).join(_TRIALS, _TRIALS.c.trial_id == _USER.c.trial_id)
        .where(_TRIALS.c.study_id == study_id, _USER.c.key == SEEDS))}
    return {number: Known(trial_id, state, step, several.get(trial_id, 1))
            for number, trial_id, state, step in rows}


def write_trials(connection: Connection, study_id: int, known: Mapping[int, Known], shown: Sequence[Shown],
                 ) -> dict[int, Known]:
    """New and changed trials; returns how each stands now. A few statements and one for each new trial."""
    ids = {trial.number: known[trial.number].trial_id for trial in shown if trial.number in known}
    new = [trial for trial in shown if trial.number not in ids]
    for trial in new:
        ids[trial.number] = _add(connection, _TRIALS, number=trial.number, study_id=study_id, **_times(trial))
    _insert(connection, _PARAMS, [row for trial in new for row in _param_rows(ids[trial.number], trial)])
    _update(connection, [(ids[trial.number], trial) for trial in shown if trial.number in known])
    _insert(connection, _USER, [
        {"trial_id": ids[trial.number], "key": key, "value_json": json.dumps(value)}
        for trial in shown for key, value in trial.attrs.items()])
    _insert(connection, _VALUES, [row for trial in shown for row in _value_rows(ids[trial.number], trial)])
    _insert(connection, _STEPS, [row for trial in shown for row in _step_rows(ids[trial.number], trial)])
    return {trial.number: _stands(ids[trial.number], trial, known.get(trial.number)) for trial in shown}


def _stands(trial_id: int, trial: Shown, before: Known | None) -> Known:
    step = 0 if before is None or trial.clear_steps else before.step
    return Known(trial_id, trial.state, max([step, *trial.steps]), trial.seeds)


def _add(connection: Connection, table: Any, **values: Any) -> int:
    """The primary key of the new row."""
    added = connection.execute(insert(table).values(**values)).inserted_primary_key
    assert added is not None
    return int(added[0])


def _update(connection: Connection, changed: Sequence[tuple[int, Shown]]) -> None:
    """What is to be written anew is taken away first."""
    if not changed:
        return
    connection.execute(
        update(_TRIALS).where(_TRIALS.c.trial_id == bindparam("row")),
        [{"row": trial_id, **_times(trial)} for trial_id, trial in changed])
    connection.execute(
        delete(_USER).where(_USER.c.trial_id == bindparam("row"), _USER.c.key == bindparam("name")),
        [{"row": trial_id, "name": key} for trial_id, trial in changed for key in trial.attrs])
    connection.execute(delete(_VALUES).where(_VALUES.c.trial_id == bindparam("row")),
                       [{"row": trial_id} for trial_id, _ in changed])
    cleared = [{"row": trial_id} for trial_id, trial in changed if trial.clear_steps]
    if cleared:
        connection.execute(delete(_STEPS).where(_STEPS.c.trial_id == bindparam("row")), cleared)


def _insert(connection: Connection, table: Any, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table), rows)


def _times(trial: Shown) -> dict[str, Any]:
    waits = trial.state is TrialState.WAITING
    return {"state": trial.state, "datetime_start": None if waits else _utc(trial.started),
            "datetime_complete": _utc(trial.finished)}


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)


def _param_rows(trial_id: int, trial: Shown) -> Iterable[dict[str, Any]]:
    for name, (distribution, value) in trial.params.items():
        yield {"trial_id": trial_id, "param_name": name, "param_value": distribution.to_internal_repr(value),
               "distribution_json": distribution_to_json(distribution)}


def _value_rows(trial_id: int, trial: Shown) -> Iterable[dict[str, Any]]:
    for objective, value in enumerate(trial.values):
        number, kind = models.TrialValueModel.value_to_stored_repr(value)
        yield {"trial_id": trial_id, "objective": objective, "value": number, "value_type": kind}


def _step_rows(trial_id: int, trial: Shown) -> Iterable[dict[str, Any]]:
    for step, value in trial.steps.items():
        number, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
        yield {"trial_id": trial_id, "step": step, "intermediate_value": number, "intermediate_value_type": kind}
