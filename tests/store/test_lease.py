"""One driver a study: leases by the database's clock, on SQLite and on PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from store_cases import SPEC, epoch, everything, run, start

from nas.errors import NasError
from nas.store import LeaseHeld, LeaseLost, Ledger, Projection, Refusals, State, engine, lease


@pytest.fixture
def two(url: str) -> Iterator[tuple[Ledger, Ledger]]:
    """Two ledgers on one database, as two processes have them."""
    with Ledger.open(url) as one, Ledger.open(url) as other:
        one.create_study("s", SPEC)
        one.create_study("t", SPEC)
        yield one, other


def test_a_second_driver_is_refused_with_the_owner(two: tuple[Ledger, Ledger]) -> None:
    import os
    import platform

    one, other = two
    one.take_lease("s", 30)
    with pytest.raises(LeaseHeld) as caught:
        other.take_lease("s")
    line = str(caught.value)
    assert line.startswith(f"study s is being run by process {os.getpid()} on {platform.node()}, for 0.")
    assert "nas stop s" in line
    assert "--name s-2" in line
    assert "\n" not in line
    other.take_lease("t")
    one.give_back_lease("s")
    other.take_lease("s")
    assert other.holder("s") is not None


def test_a_lapsed_lease_is_taken_over_and_its_owner_writes_nothing_more(two: tuple[Ledger, Ledger]) -> None:
    one, other = two
    one.take_lease("s", 0.2)
    start(one, 0)
    start(one, 1)
    time.sleep(0.3)
    one.record_epoch("s", 1, epoch(1))      # late, but nobody has come
    other.take_lease("s")
    before = everything(other)
    for step in STEPS:
        with pytest.raises(LeaseLost, match="was taken over by process"):
            step(one)
    with pytest.raises(LeaseLost), one.batch():
        run(one, 5)
    with pytest.raises(LeaseLost):
        Projection(one, "s", {"macs": "min"}, {}).catch_up()
    assert not one.renew_lease("s")
    assert everything(other) == before
    one.create_study("u", {})       # other studies are none of this lease's
    run(other, 2)
    other.put_back("s")
    assert {t.number: t.state for t in other.trials("s")} == {
        0: State.WAITING, 1: State.WAITING, 2: State.COMPLETE}


STEPS: list[Callable[[Ledger], object]] = [
    lambda ledger: start(ledger, 3),
    lambda ledger: ledger.record_epoch("s", 1, epoch(2)),
    lambda ledger: ledger.finish_trial("s", 0, State.COMPLETE, "", epoch(1)),
    lambda ledger: ledger.put_back("s"),
    lambda ledger: ledger.restart_trial("s", 0),
    lambda ledger: ledger.retry_trials("s"),
    lambda ledger: ledger.add_seconds("s", 1),
    lambda ledger: ledger.add_infeasible("s", {"macs": Refusals.one(0.1)}),
    lambda ledger: ledger.update_spec("s", {}),
    lambda ledger: ledger.set_checkpoint("s", 0, "there", "0" * 64),
    lambda ledger: ledger.start_repeat("s", 0, 1),
    lambda ledger: ledger.finish_repeat("s", 0, 1, State.FAILED),
    lambda ledger: ledger.confirm_lease("s"),
]


@pytest.mark.slow
def test_one_that_stops_while_it_writes_to_a_server_lets_go(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its lease lapses: else whoever takes the study over would wait for it for ever."""
    assert engine.PAUSE_SECONDS < lease.SECONDS
    monkeypatch.setattr(engine, "PAUSE_SECONDS", 1)
    with Ledger.open(postgres_url) as one, Ledger.open(postgres_url) as other:
        one.create_study("s", SPEC)
        one.take_lease("s", 0.2)
        start(one, 0)

        def write() -> None:
            with one.batch():
                one.add_seconds("s", 1)
                other.take_lease("s")
                other.put_back("s")

        time.sleep(0.3)
        with pytest.raises(LeaseLost):
            one.patiently(write)
        assert other.trials("s")[0].state is State.WAITING
        assert other.study("s").seconds_spent == 0


def test_a_renewed_lease_holds(two: tuple[Ledger, Ledger]) -> None:
    one, other = two
    one.take_lease("s", 0.4)
    for _ in range(5):
        time.sleep(0.2)
        assert one.renew_lease("s", 0.4)
        with pytest.raises(LeaseHeld):
            other.take_lease("s")


def test_what_is_known_to_be_dead_is_taken_over_at_once(two: tuple[Ledger, Ledger], url: str) -> None:
    one, _ = two
    program = ("import sys; from nas.store import Ledger; ledger = Ledger.open(sys.argv[1]); "
               "ledger.take_lease('s', 600); import os; os._exit(9)")
    subprocess.run([sys.executable, "-c", program, url], check=False)
    holder = one.holder("s")
    assert holder is not None
    assert holder.left > 500
    assert holder.dead
    one.take_lease("s")


@pytest.mark.parametrize("change", [{"machine": "elsewhere"}, {"pid": 1}], ids=["another machine", "another process"])
def test_of_others_only_the_clock_decides(two: tuple[Ledger, Ledger], change: dict[str, object]) -> None:
    one, other = two
    one.take_lease("s", 30)
    with one.writing() as connection:
        connection.execute(sa.update(lease.LEASE).values(**change))
    holder = other.holder("s")
    assert holder is not None
    assert holder.dead == ("pid" in change), "a number that belongs to another process by now"
    if holder.dead:
        other.take_lease("s")
    else:
        with pytest.raises(LeaseHeld, match=r"a dead one is taken over in (30|29) s"):
            other.take_lease("s")


def test_a_wrong_clock_of_this_machine_changes_nothing(two: tuple[Ledger, Ledger],
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = two
    one.take_lease("s", 30)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 10**6)
    with pytest.raises(LeaseHeld):
        other.take_lease("s")


@pytest.mark.slow
def test_only_one_of_many_that_come_at_once_gets_it(url: str) -> None:
    """Real processes, as when several are started by one script."""
    with Ledger.open(url) as ledger:
        ledger.create_study("s", SPEC)
    program = ("import sys, time; from nas.store import Ledger, LeaseHeld\n"
               "ledger = Ledger.open(sys.argv[1]); print('ready', flush=True); sys.stdin.readline()\n"
               "try: ledger.take_lease('s'); print('got', flush=True); time.sleep(2)\n"
               "except LeaseHeld: print('refused', flush=True)\n")
    many = [subprocess.Popen([sys.executable, "-c", program, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             text=True) for _ in range(4)]
    for one in many:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in many:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    said = sorted(one.communicate(timeout=60)[0].strip() for one in many)
    assert said == ["got", "refused", "refused", "refused"]


def test_stop_is_heard(two: tuple[Ledger, Ledger]) -> None:
    one, other = two
    one.take_lease("s", 30)
    other.ask_to_stop("s")
    holder = one.holder("s")
    assert holder is not None
    assert holder.stop
    one.give_back_lease("s")
    one.take_lease("s")
    holder = one.holder("s")
    assert holder is not None
    assert not holder.stop, "the next one is not meant"


def test_a_study_that_is_not_there(two: tuple[Ledger, Ledger]) -> None:
    with pytest.raises(NasError, match="no study nobody"):
        two[0].holder("nobody")
