"""A confirmation from a front to its figures: the right networks, each seed once, whatever comes between."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from confirm_cases import Formula, search, searched

from nas import NasError, StoredStudy, run
from nas.confirm import candidates, confirm, confirmation, report_of
from nas.confirm.page import write_confirmation
from nas.cost import cost
from nas.data.values import Dataset
from nas.export import export
from nas.exported import read_manifest
from nas.exported.scoring import score
from nas.plan import plan
from nas.store import State
from nas.study import study_from_spec

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("searched")
    searched(home)
    return home


@pytest.fixture
def found(home: Path, tmp_path: Path) -> StoredStudy:
    """A search of its own for each test."""
    return StoredStudy("found", f"sqlite:///{shutil.copytree(home, tmp_path / 'studies')}/nas.db", tmp_path / "studies")


def confirmed(stored: StoredStudy, fake: Formula | None = None, **asked: object) -> StoredStudy:
    study = confirmation(stored.name, home=stored.home, **asked)     # type: ignore[arg-type]
    return confirm(study, home=stored.home, evaluate=fake or Formula()).stored


def test_candidates_are_the_front_and_what_is_near_it(found: StoredStudy) -> None:
    front = {int(number) for number in found.front()["number"]}
    chosen = candidates(found)
    assert {one.why.trial for one in chosen.values() if one.why.role == "front"} == front
    near = [one for one in chosen.values() if one.why.role == "near"]
    assert 0 < len(near) <= len(front)
    records, images = found.records, found.info.n_validation
    for one in near:
        trial = records[one.why.trial]
        ahead = max(other.accuracy for other in records.values() if other.macs <= trial.macs)
        noise = (trial.accuracy * (1 - trial.accuracy) + ahead * (1 - ahead)) / images
        assert 0 < ahead - trial.accuracy <= 1.645 * noise ** 0.5
    alone = candidates(found, front_alone=True)
    assert {one.why.trial for one in alone.values()} == front
    best = max(records.values(), key=lambda trial: trial.accuracy)
    assert next(iter(candidates(found, top=1).values())).why.trial == best.number
    assert len(candidates(found, top=5)) == 5


def test_controls_cost_the_same_and_are_new(found: StoredStudy) -> None:
    chosen = candidates(found, front_alone=True, control=9)
    controls = [one for one in chosen.values() if one.why.role == "control"]
    ids = {one.network.id for one in controls}
    assert len(controls) == len(ids) == 9
    assert not ids & {trial.architecture_id for trial in found.records.values()}
    for one in controls:
        wanted = found.records[chosen[one.why.beside].why.trial].macs
        assert cost(plan(one.network, found.shape, 10)).macs == pytest.approx(wanted, rel=0.25)
    assert {one.why.beside for one in controls} <= set(chosen)


def test_each_network_is_trained_with_each_seed_once(found: StoredStudy) -> None:
    fake = Formula()
    stored = confirmed(found, fake, seeds=3, control=2)
    names = stored.study.confirm.networks
    assert len(fake.started) == len(set(fake.started)) == 3 * len(names)
    assert {seed for _, seed in fake.started} == {1000, 1001, 1002}, "none of the search's"
    report = report_of(stored, 2)
    assert not report.unfinished
    assert {one.name for one in report.networks} == set(names)
    for one in report.networks:
        assert one.of_validation.estimate == pytest.approx(statistics.fmean(one.validation))
        assert len(one.test) == 3
        assert one.tested is not None
    assert stored.study.recipe.epochs == 4
    assert stored.study.recipe.schedule == "one_cycle"


def test_the_figures_are_what_the_ledger_says(found: StoredStudy) -> None:
    stored = confirmed(found, seeds=2, control=4)
    report = report_of(stored, 2)
    by_name = {one.name: one for one in report.networks}
    was = {trial.number: trial.accuracy for trial in found.records.values()}
    now = {str(trial.point["network"]): trial.accuracy for trial in stored.records.values()}
    moved = [now[name] - was[one.why.trial] for name, one in by_name.items() if one.why.role == "front"]
    assert report.shift.estimate == pytest.approx(statistics.fmean(moved))
    pairs: dict[str, list[float]] = {}
    for one in report.networks:
        if one.why.beside:
            pairs.setdefault(one.why.beside, []).append(one.of_test.estimate)
    gains = [by_name[name].of_test.estimate - statistics.fmean(values) for name, values in pairs.items()]
    assert report.gain.estimate == pytest.approx(statistics.fmean(gains))
    macs = {str(trial.point["network"]): trial.macs for trial in stored.records.values()}
    assert set(report.after) == {name for name in now if not any(
        macs[other] <= macs[name] and now[other] >= now[name] and (macs[other], -now[other]) != (macs[name], -now[name])
        for other in now)}


@pytest.mark.parametrize("after", [0, 1, 4, 7])
def test_what_is_cut_off_goes_on_and_trains_no_seed_again(found: StoredStudy, after: int) -> None:
    fake = Formula(stop_after=after)
    study = confirmation(found.name, home=found.home, top=4, seeds=3)
    assert confirm(study, home=found.home, evaluate=fake).interrupted
    fake.stop_after = None
    stored = confirmed(found, fake)
    assert len(fake.started) == len(set(fake.started)) == 12
    assert not report_of(stored, 2).unfinished


def test_killed_again_and_again_it_trains_no_finished_seed_again(found: StoredStudy) -> None:
    log, main = found.home / "log", Path(__file__).with_name("killed_main.py")
    log.touch()
    rng, finished, kills = random.Random(0), set(), 0
    while True:
        before = len(log.read_text().splitlines())
        process = subprocess.Popen([sys.executable, str(main), str(found.home), str(log)], stderr=subprocess.PIPE)
        began = wait_for(lambda start=before: len(log.read_text().splitlines()) > start, process)
        if began and kills < 6:
            time.sleep(rng.uniform(0, 0.5))
            process.kill()
            kills += 1
        error = process.communicate(timeout=60)[1]
        assert process.returncode in (0, -signal.SIGKILL), error.decode()
        assert not finished & set(started(log)[before:])
        finished = {(trial.architecture_id, one.seed) for trial in StoredStudy(
            "found-confirm", found.storage, found.home).records.values()
            for one in trial.trainings if one.state is State.COMPLETE}
        if process.returncode == 0:
            break
    assert kills >= 3
    assert len(finished) == 15


def started(log: Path) -> list[tuple[str, int]]:
    return [(identity, seed) for identity, seed in map(json.loads, log.read_text().splitlines())]


def wait_for(happened: Callable[[], bool], process: subprocess.Popen[bytes]) -> bool:
    """Whether it happened while the process ran."""
    while process.poll() is None:
        if happened():
            return True
        time.sleep(0.02)
    return happened()


def test_more_seeds_later(found: StoredStudy) -> None:
    fake = Formula()
    confirmed(found, fake, seeds=1, top=3)
    stored = confirmed(found, fake, seeds=3)
    assert len(fake.started) == len(set(fake.started)) == 9
    assert report_of(stored, 2).spread.freedom == 6


def test_another_choice_is_refused_in_a_line(found: StoredStudy) -> None:
    confirmed(found, top=2, seeds=1)
    for asked, said in (({"top": 3}, "--top 3"), ({"epochs": 9}, "--epochs 9"), ({"control": 1}, "--control 1")):
        with pytest.raises(NasError, match=f"{said}: study found-confirm was begun with"):
            confirmation(found.name, home=found.home, **asked)
    again = confirmation(found.name, home=found.home, title="other", top=3)
    assert len(again.confirm.networks) == 3
    with pytest.raises(NasError, match="is a confirmation itself"):
        confirmation("found-confirm", home=found.home)
    with pytest.raises(NasError, match="there: found, found-confirm"):
        confirmation("nosuch", home=found.home)


def test_a_second_confirmation_trains_nothing_twice(found: StoredStudy) -> None:
    fake = Formula()
    confirmed(found, fake, top=2, seeds=2)
    confirmed(found, fake, top=4, seeds=2, title="wider")
    assert len(fake.started) == len(set(fake.started)) == 8


def test_the_search_goes_on_and_the_confirmation_stays(found: StoredStudy) -> None:
    stored = confirmed(found, top=3, seeds=1)
    searched(found.home, study=search(**{"trials: 14": "trials: 30"}))
    assert confirmation(found.name, home=found.home).confirm == stored.study.confirm


def test_a_study_file_of_it_is_it(found: StoredStudy) -> None:
    study = confirmation(found.name, home=found.home, top=3, control=1)
    again = study_from_spec(json.loads(json.dumps(study.spec())))
    assert again.changes(study.spec()) == []
    assert again.confirm == study.confirm
    assert {name: one.id for name, one in again.space.networks.items()} == {
        name: one.id for name, one in study.space.networks.items()}


def test_the_test_part_is_read_there_and_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    whole = Dataset.test.func
    monkeypatch.setattr(Dataset, "test", property(lambda self: (opened.append(1), whole(self))[1]))
    small = search(**{"trials: 14": "trials: 3", "cardinality: [1, 2, 4]": "cardinality: 1", "[4, 8, 16]": "[4]"})
    stored = run(small, home=tmp_path).stored
    assert all(one.tested is None for trial in stored.records.values() for one in trial.trainings)
    assert opened == []
    study = confirmation("found", home=tmp_path, top=1, seeds=2, epochs=1)
    again = confirm(study, home=tmp_path).stored
    (trial,) = again.records.values()
    assert trial.state is State.COMPLETE
    assert [one.tested is not None for one in trial.trainings] == [True, True]
    assert opened, "each training is read on it"
    assert trial.trainings[0].test_accuracy != trial.trainings[0].accuracy


def test_luck_shows(tmp_path: Path) -> None:
    """Where accuracies in the search were mostly luck, the front falls back and the networks near it do less so."""
    stored = searched(tmp_path, Formula(noise=0.4), search(**{"trials: 14": "trials: 40"}))
    report = report_of(confirmed(stored, Formula(noise=0.02), seeds=2), 2)
    assert report.shift.estimate < -0.03
    assert report.regression < 0


def test_the_page_and_the_json(found: StoredStudy) -> None:
    report = report_of(confirmed(found, seeds=2, top=4, control=2), 2)
    page = write_confirmation(report, found.home / "page")
    values = json.loads((found.home / "page" / "confirm.json").read_text())
    assert [one["name"] for one in values["networks"]] == [one.name for one in report.networks]
    text = page.read_text()
    assert "http://" not in text.split("<body>")[0]
    assert all(one.name in text for one in report.networks)


def test_one_seed_and_few_networks_say_what_is_not_known(found: StoredStudy) -> None:
    report = report_of(confirmed(found, seeds=1, top=1), 2)
    assert report.correlation is None
    assert report.gain is None
    assert report.networks[0].likely is None
    assert dataclasses.asdict(report.spread)["freedom"] == 0


def test_failures_are_left_out_and_named(found: StoredStudy) -> None:
    class Failing(Formula):
        def __call__(self, job):
            if job.number == 1:
                from nas.evaluation import Progress
                yield Progress(1, failure="loss is nan")
                return
            yield from super().__call__(job)

    report = report_of(confirmed(found, Failing(), seeds=2, top=3), 2)
    assert len(report.networks) == 2
    assert len(report.unfinished) == 1
    assert Counter(one.why.role for one in report.networks)["front"] >= 1


def test_an_export_of_it_says_what_the_test_part_said(tmp_path: Path) -> None:
    """And nas evaluate finds the same, to the last bit."""
    small = search(**{"trials: 14": "trials: 2", "cardinality: [1, 2, 4]": "cardinality: 1", "[4, 8, 16]": "[4]"})
    run(small, home=tmp_path)
    stored = confirm(confirmation("found", home=tmp_path, top=1, seeds=2, epochs=2), home=tmp_path).stored
    (trial,) = stored.records.values()
    folder = export(stored, trial.number, tmp_path / "net", formats=())
    facts = read_manifest(folder)
    assert facts.test.accuracy == trial.trainings[0].test_accuracy
    assert facts.test.read == trial.trainings[0].tested.isoformat()
    found = score(folder, None, "test", "cpu")
    assert (found.accuracy, found.loss) == (facts.test.accuracy, facts.test.loss)
    assert f"On the {facts.test.images:,} test images" in (folder / "card.md").read_text()
