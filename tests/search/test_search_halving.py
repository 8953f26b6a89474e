"""Early stopping by itself: rungs, closed cases, and what must hold of any rung."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_cases import World, brute_front, study

from nas.search.halving import NEIGHBOURS, SCREENED, SIMILAR, Halving, Rung, Seen, rungs
from nas.settings import EarlyStopping
from nas.store import State


@pytest.mark.parametrize(("first", "eta", "epochs", "expected"), [
    (3, 3.0, 20, (3, 9)), (3, 3.0, 27, (3, 9)), (3, 3.0, 28, (3, 9, 27)), (1, 3.0, 9, (1, 3)), (3, 3.0, 3, ()),
    (3, 3.0, 4, (3,)), (5, 3.0, 4, ()), (1, 2.0, 9, (1, 2, 4, 8)), (1, 1.2, 6, (1, 2, 3, 4, 5)), (1, 3.0, 1, ()),
])
def test_rungs(first: int, eta: float, epochs: int, expected: tuple[int, ...]) -> None:
    assert rungs(EarlyStopping(first=first, eta=eta), epochs) == expected
    assert rungs(EarlyStopping(kind="none", first=first, eta=eta), epochs) == ()


def goes_on(mine: Seen, others: list[Seen], eta: float) -> bool:
    """Whether `mine` passes a rung where the others were."""
    rung = Rung(eta)
    for number, seen in enumerate([*others, mine]):
        rung.add(number, seen)
    return rung.passes(len(others))


def same_size(*accuracies: float) -> list[Seen]:
    """Networks of the same MACs."""
    return [Seen(1000, accuracy) for accuracy in accuracies]


def test_the_first_networks_go_on() -> None:
    assert goes_on(Seen(1000, 0.1), [], 3)
    assert goes_on(Seen(1000, 0.1), same_size(0.9), 3)
    assert not goes_on(Seen(1000, 0.1), same_size(0.9, 0.8), 3)


def test_one_in_eta_goes_on() -> None:
    others = same_size(0.9, 0.8, 0.7, 0.6, 0.5)
    assert goes_on(Seen(1000, 0.85), others, 3)
    assert not goes_on(Seen(1000, 0.75), others, 3)
    assert goes_on(Seen(1000, 0.75), others, 2)
    assert not goes_on(Seen(1000, 0.55), others, 2)


def test_a_small_network_is_not_stopped_for_being_small() -> None:
    large = [Seen(int(10_000 * SIMILAR) + i, 0.9) for i in range(20)]
    assert goes_on(Seen(9_999, 0.1), large, 3)
    assert goes_on(Seen(9_999, 0.1), [*large, Seen(9_000, 0.2)], 3), "one peer is too few to be judged by"
    assert not goes_on(Seen(9_999, 0.1), [*large, Seen(9_000, 0.2), Seen(9_001, 0.2)], 3)


def test_what_small_networks_reach_does_not_stop_a_large_one_alone() -> None:
    small = [Seen(1_000 + i, 0.9) for i in range(20)]
    assert goes_on(Seen(100_000, 0.5), small, 3)


def test_a_member_of_the_front_goes_on() -> None:
    """The cheapest of its neighbours is never dominated, however bad it is."""
    assert goes_on(Seen(900, 0.1), same_size(0.9, 0.8, 0.7, 0.6), 3)


def test_ties_do_not_stop_each_other() -> None:
    assert goes_on(Seen(1000, 0.5), same_size(*[0.5] * 8), 3)
    assert goes_on(Seen(1000, 0.5), [*same_size(*[0.5] * 6), Seen(999, 0.5), Seen(999, 0.6)], 3)


SEEN = st.builds(Seen, st.integers(1, 10**6), st.floats(0, 1).map(lambda x: round(x, 2)))
ETA = st.floats(1.1, 5)


@given(mine=SEEN, others=st.lists(SEEN, max_size=40), eta=ETA)
def test_against_the_rule_in_words(mine: Seen, others: list[Seen], eta: float) -> None:
    """A slow reading of the rule: stopped, if dominated and worse than one in eta of those alike and nearest."""
    front = not any(o.macs <= mine.macs and o.accuracy >= mine.accuracy and o != mine for o in others)
    ratio = [max(o.macs, mine.macs) / min(o.macs, mine.macs) for o in others]
    nearest = sorted(range(len(others)), key=lambda i: ratio[i])[:NEIGHBOURS - 1]
    if any(math.isclose(ratio[i], SIMILAR) for i in nearest) or len(set(ratio)) < len(ratio):
        return      # ties in distance are broken by rounding
    peers = [others[i] for i in nearest if ratio[i] < SIMILAR]
    place = sum(p.accuracy > mine.accuracy for p in peers)
    expected = front or len(peers) + 1 < eta or place < math.ceil((len(peers) + 1) / eta)
    assert goes_on(mine, others, eta) == expected


@given(mine=SEEN, others=st.lists(SEEN, max_size=40), eta=ETA, more=st.floats(0, 1))
def test_better_is_never_worse(mine: Seen, others: list[Seen], eta: float, more: float) -> None:
    if goes_on(mine, others, eta):
        assert goes_on(mine._replace(accuracy=mine.accuracy + more), others, eta)


@given(rung=st.lists(SEEN, min_size=1, max_size=40), eta=ETA)
def test_the_front_of_a_rung_goes_on(rung: list[Seen], eta: float) -> None:
    for index, mine in enumerate(rung):
        others = rung[:index] + rung[index + 1:]
        if not any(o.macs <= mine.macs and o.accuracy >= mine.accuracy and o != mine for o in others):
            assert goes_on(mine, others, eta)


@given(rung=st.lists(SEEN, min_size=1, max_size=20), again=st.lists(st.tuples(st.integers(0, 19), SEEN), max_size=9),
       eta=ETA)
def test_a_network_seen_again_counts_once(rung: list[Seen], again: list[tuple[int, Seen]], eta: float) -> None:
    one, other = Rung(eta), Rung(eta)
    last = dict(enumerate(rung))
    for number, seen in [*enumerate(rung), *((n, s) for n, s in again if n < len(rung))]:
        one.add(number, seen)
        last[number] = seen
    for number, seen in last.items():
        other.add(number, seen)
    assert [one.passes(n) for n in last] == [other.passes(n) for n in last]


def screened(count: int, epochs: int = 9, first: int = 1) -> Halving:
    """A search whose first rung has seen `count` networks, each larger and better than the one before."""
    halving = Halving(EarlyStopping(first=first, eta=3), epochs)
    for number in range(count):
        halving.note(number, 1000 * 2 ** number, first, 0.1 + number / 100)
    return halving


def test_all_stop_at_the_first_rung_until_enough_have_been_there() -> None:
    for count in range(1, SCREENED):
        halving = screened(count)
        assert not halving.goes_on(count - 1, 1, more=True)
        assert halving.promotable(range(count), more=True) == []
    assert screened(SCREENED).goes_on(0, 1, more=True)


def test_no_more_than_one_in_eta_goes_on_while_new_ones_can_be_tried() -> None:
    halving = screened(SCREENED)
    for _ in range(SCREENED // 3):
        halving.promote(halving.promotable(range(SCREENED), more=True)[0])
    assert halving.promotable(range(SCREENED), more=True) == []
    assert not halving.goes_on(min(set(range(SCREENED)) - halving._promoted[1]), 1, more=True)
    assert set(halving.promotable(range(SCREENED), more=False)) == set(range(SCREENED)) - halving._promoted[1]


def test_the_best_and_the_farthest_in_macs_are_promoted_in_turn() -> None:
    halving, order = screened(SCREENED), []
    while wanted := halving.promotable(range(SCREENED), more=False):
        order.append(wanted[0])
        halving.promote(wanted[0])
    assert order[:3] == [9, 0, 8]
    assert order[3] == 4
    assert sorted(order) == list(range(SCREENED)), "every one of them is on the front"


def test_what_was_promoted_is_not_judged_at_the_first_rung_again() -> None:
    halving = screened(SCREENED)
    halving.promote(3)
    halving.note(3, 8000, 1, 0.0)
    assert halving.goes_on(3, 1, more=True)


def test_one_that_was_stopped_at_a_later_rung_is_promoted_too() -> None:
    """Second best of three at epoch 3 stops; of five it is worth going on with, before any of the first rung."""
    halving = Halving(EarlyStopping(first=1, eta=3), 27)
    for number, accuracy in enumerate((0.6, 0.5, 0.4)):
        for epoch in (1, 3):
            halving.note(number, 1000, epoch, accuracy)
    assert [halving.goes_on(number, 3, more=True) for number in range(3)] == [True, False, False]
    assert halving.promotable([1, 2], more=True) == []
    for number, accuracy in ((3, 0.3), (4, 0.2)):
        for epoch in (1, 3):
            halving.note(number, 1000, epoch, accuracy)
    assert halving.promotable([1, 2, 3, 4], more=True) == [1]
    halving.promote(1)
    assert halving.goes_on(1, 1, more=True)
    assert halving.goes_on(1, 3, more=True)
    assert halving.promotable([2, 3, 4], more=True) == []


def test_no_rung_after_the_last_one() -> None:
    assert Halving(EarlyStopping(first=1, eta=3, last=5), 27).rungs == (1, 3)
    assert Halving(EarlyStopping(first=1, eta=3), 27).rungs == (1, 3, 9)
    assert Halving(EarlyStopping(first=3, last=2), 27).rungs == ()


def test_the_last_epoch_and_those_between_rungs_stop_nothing() -> None:
    halving = screened(SCREENED)
    assert halving.goes_on(0, 2, more=True)
    assert halving.goes_on(0, 9, more=True)
    assert Halving(EarlyStopping(kind="none"), 9).goes_on(0, 3, more=True)
    assert Halving(EarlyStopping(kind="none"), 9).promotable([0], more=False) == []


def test_a_promoted_trial_is_trained_again_and_keeps_its_number(world: World) -> None:
    """Also where it was stopped in an earlier run: more trials make a search go on with those that were stopped."""
    driver = world.search(study(trials=30))
    started = [number for number, _ in world.fake.started()]
    twice = {number for number in started if started.count(number) == 2}
    assert twice
    assert max(started.count(number) for number in twice) == 2
    assert twice <= {t.number for t in world.trials() if t.epochs > 1}, "promoted ones get beyond the first rung"
    assert sum(driver.tally.states.values()) == 30
    shown = world.optuna().trials
    assert {t.number: t.state.name for t in shown} == {t.number: t.state.name for t in world.trials()}
    assert [len(t.intermediate_values) for t in shown] == [t.epochs for t in world.trials()]


def test_with_few_trials_the_worthy_are_trained_to_the_end(world: World) -> None:
    wanted = study(trials=4)
    world.search(wanted)
    assert {t.number for t in world.trials() if t.state is State.COMPLETE} >= brute_front(world.trials(), wanted)
    assert any(t.state is State.COMPLETE for t in world.trials())


@pytest.mark.parametrize("eta", [2, 3])
def test_a_search_stops_some_and_none_of_them_is_on_the_front(world: World, eta: int) -> None:
    wanted = study(trials=30, stopping=f"{{kind: halving, first: 1, eta: {eta}}}")
    driver = world.search(wanted)
    trials = world.trials()
    pruned = {t.number for t in trials if t.state is State.PRUNED}
    assert pruned
    assert not pruned & {t.number for t in driver.front()}
    assert {t.number for t in driver.front()} == brute_front(trials, wanted)
    assert all(t.epochs in rungs(wanted.search.early_stopping, 9) for t in trials if t.number in pruned)


@pytest.mark.slow
def test_the_sampler_sees_one_fidelity(world: World) -> None:
    """Every value in the sampler's own study is the accuracy at one number of epochs, never a stopped one's last."""
    driver = world.search(study(sampler="tpe", trials=30))
    curves, level = world.ledger.epochs("fake"), driver.observations.level
    assert level > 1
    assert any(t.epochs < level for t in world.trials()), "some were stopped before"
    by_params = {tuple(sorted(driver.sampler._frozen(driver.observations.one(t)).params.items())): t
                 for t in world.trials()}
    seen = [t for t in driver.sampler._study.trials if t.state.name == "COMPLETE" and not t.constraints]
    assert len(seen) >= 8
    for one in seen:
        trial = by_params[tuple(sorted(one.params.items()))]
        assert trial.epochs >= level
        assert one.values == [curves[trial.number][level - 1].accuracy, trial.macs]


def test_a_promoted_trial_whose_driver_dies_is_not_judged_again(world: World) -> None:
    """How far a trial had come counts after a restart, for itself and for its rung."""
    wanted = study(trials=30, seed=2)
    driver = world.driver(wanted)
    while True:     # until one that was stopped is gone on with
        job = driver.next_job()
        assert job is not None
        again = driver.trials[job.number].epochs > 0
        steps = iter(world.fake(job))
        assert driver.report(job.number, next(steps)) == again
        if again:
            break
    driver.report(job.number, next(steps))
    driver.recorder.update(force=True)
    successor = world.driver(wanted)        # the first is gone without a word
    back = successor.next_job()
    assert back is not None
    assert back.number == job.number
    assert successor.halving.reached(1) == driver.halving.reached(1)
    assert successor.report(job.number, next(iter(world.fake(back)))), "it had passed here"
    successor.close()
    driver.recorder.forget(job.number)
