"""A table of latencies: what it predicts, what it says of its own errors, and what is kept of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from latency_cases import CLASSES, HERE, SHAPE, SPACE, Timer, law, table, timed_study

from nas.errors import NasError
from nas.latency.fitting import distinct
from nas.latency.records import Latency, record, recorded_latency
from nas.latency.table import Table, record_table, recorded_table, space_key
from nas.plan import plan
from nas.reference import reference
from nas.study import study_from_text


@pytest.fixture(scope="module")
def found() -> Table:
    return table()


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path))
    return tmp_path


def test_a_known_law_is_found_and_macs_alone_do_not_do(found: Table) -> None:
    assert found.points == 60
    assert found.error.median < 0.02
    assert found.error.p90 < 0.04
    assert found.error.rank > 0.99
    assert found.macs.median > 5 * found.error.median
    assert found.macs.rank < 0.95


def test_what_it_says_of_its_errors_holds_for_networks_that_it_never_saw(found: Table) -> None:
    every = distinct(timed_study().space, SHAPE, CLASSES, 200)
    errors = sorted(abs(found.predict(one) / (0.05 + law(one)) - 1) for one in every[60:])
    assert len(errors) == 140
    assert errors[70] < 0.02
    assert errors[126] < 0.04


def test_neighbours_that_disturb_for_a_while_change_little_and_are_said() -> None:
    disturbed = table(timer=Timer(bursts=range(20, 45)))
    assert disturbed.error.median < 0.02
    assert (disturbed.noisy, disturbed.repeat < 0.05) == (25, True)


def test_without_a_law_it_does_not_claim_one() -> None:
    assert table(timer=Timer(noise=0.3)).error.median > 0.1


def test_no_time_is_below_zero(found: Table) -> None:
    assert all(ms > 0 for ms in found.times.values())
    resnet = reference("resnet20")
    assert found.predict(plan(resnet.architecture, resnet.shape, resnet.classes)) > 0


def test_a_space_of_few_networks_has_no_table() -> None:
    with pytest.raises(NasError, match="has 2 feasible networks, and a table takes 10"):
        table(study_from_text("{name: two, network: {stages: 1, depth: [1, 2]}}"))


def test_it_is_kept_by_what_it_holds_for(found: Table, own_cache: Path) -> None:
    key = space_key(timed_study())
    assert found.space == key
    record_table(found)
    record_table(newer := replace(found, measured=found.measured + 1))
    record_table(replace(found, setting=replace(HERE, threads=2)))
    record_table(replace(found, setting=replace(HERE, torch="1.0")))
    assert recorded_table(key, SHAPE, CLASSES) == newer
    assert recorded_table(key, SHAPE, CLASSES, threads=2) is not None
    assert recorded_table(key, (1, 16, 16), CLASSES) is None
    assert recorded_table(key, SHAPE, CLASSES, batch=8) is None
    assert len(list(own_cache.glob("*"))) == 1, "nothing is left beside the one file"
    (own_cache / "latency_tables.json").write_text("[{]")
    assert recorded_table(key, SHAPE, CLASSES) is None
    record_table(found)
    assert recorded_table(key, SHAPE, CLASSES) == found


def test_the_space_counts_and_the_limits_do_not() -> None:
    key = space_key(timed_study())
    assert space_key(timed_study("limits: {macs: {to: 1M}}\nseed: 3\n")) == key
    assert space_key(study_from_text(SPACE.replace("[3, 5]", "[3, 7]"))) != key


def test_latencies_are_kept_and_replaced(own_cache: Path) -> None:
    one = Latency("a" * 16, SHAPE, CLASSES, HERE, 1.0, 0.9, 1.1, 1.5, 30, "", 5.0)
    record(one)
    record(replace(one, setting=replace(HERE, batch=4), median_ms=3.0))
    record(replace(one, median_ms=2.0, measured=6.0))
    assert recorded_latency("a" * 16, SHAPE, CLASSES) == replace(one, median_ms=2.0, measured=6.0)
    four = recorded_latency("a" * 16, SHAPE, CLASSES, batch=4)
    assert four is not None
    assert four.images_per_second == pytest.approx(4000 / 3)
    assert recorded_latency("b" * 16, SHAPE, CLASSES) is None
    (own_cache / "latency.json").write_text('[{"network": 3}]')
    assert recorded_latency("a" * 16, SHAPE, CLASSES) is None
