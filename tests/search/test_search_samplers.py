"""The contract of every sampler: legal points, the same ones for the same history, an end, and a bounded memory."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any, get_args

import pytest
from search_cases import FACTS, SMALL, World, study, summary

from nas.errors import InvalidInput
from nas.front import Objective
from nas.search import proposals, samplers
from nas.search.samplers import SAMPLERS, Sampler, Seen
from nas.settings import Search
from nas.space import Point
from nas.store import TrialRecord
from nas.study import Study, study_from_text

GP_IS_SLOW = [pytest.param(name, marks=pytest.mark.slow) if name == "gp" else name for name in SAMPLERS]

NUMBERS = """
name: fake
network:
  stem: {{kind: conv3x3, width: 4}}
  stages: 2
  block: bottleneck
  depth: {{per_stage: [1, 2, 3]}}
  width: {{first: [4, 8, 16], growth: 2}}
  bottleneck_ratio: [0.5, 1.0]
  cardinality: [1, 2, 4]
  se_ratio: [0, 1/4]
limits: {{macs: {{to: 100k}}}}
objectives: {objectives}
recipe: {{epochs: 3}}
search: {{sampler: {sampler}, executor: local, early_stopping: {{kind: halving, first: 1, eta: 3}}}}
budget: {{trials: {trials}}}
seed: {seed}
"""


def study_of(sampler: str, trials: int = 12, seed: int = 0) -> Study:
    """A study that suits the sampler."""
    if sampler in ("cmaes", "grid"):
        objectives = "{accuracy: max}" if sampler == "cmaes" else "{accuracy: max, macs: min}"
        return study_from_text(NUMBERS.format(sampler=sampler, trials=trials, seed=seed, objectives=objectives))
    return study(sampler=sampler, trials=trials, seed=seed, epochs=3)


@pytest.fixture
def new_world(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes empty databases."""
    made: list[World] = []

    def make() -> World:
        made.append(World(tmp_path_factory.mktemp("world")))
        return made[-1]

    yield make
    for one in made:
        one.ledger.close()


def interrupted(world: World, wanted: Study, after: int) -> None:
    """A search that is stopped when so many trials have ended."""
    driver = world.driver(wanted)
    ended: list[int] = []

    def count(trial: TrialRecord) -> None:
        ended.append(trial.number)
        if len(ended) == after:
            driver.stop()

    driver.on_trial = count
    world.execute(driver, world.fake)
    driver.close()
    assert len(world.trials()) < wanted.budget.trials


@pytest.mark.parametrize("sampler", GP_IS_SLOW)
def test_points_are_legal(sampler: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that are refused: the active axes and no others, each with a value of its domain."""
    asked: list[Point] = []

    def ask(self: Sampler, number: int, attempt: int = 0, was: Callable[..., Any] = Sampler.ask) -> Any:
        found = was(self, number, attempt)
        asked.append(found[0])
        return found

    monkeypatch.setattr(Sampler, "ask", ask)
    wanted = study_of(sampler, trials=12 if sampler == "gp" else 20)     # an ask of gp takes a second
    world.search(wanted)
    points = [*asked, *(dict(t.point) for t in world.trials())]
    assert len(points) > len(world.trials())
    for point in points:
        before: Point = {}
        for axis in wanted.space.axes:
            assert (axis.name in point) == wanted.space.active(axis, before), axis.name
            if axis.name in point:
                assert axis.domain.holds(point[axis.name])
                before[axis.name] = point[axis.name]
        assert point == before
    assert all(not wanted.space.judge(t.point, FACTS.shape, FACTS.classes).broken for t in world.trials())


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_seed_gives_the_same_search(sampler: str, new_world: Callable[[], World]) -> None:
    """Also with a restart in the middle; with a budget that is raised in the middle, the same points; another seed
    gives another search."""
    trials = {"gp": 8, "nsga2": 26, "nsga3": 26, "cmaes": 50}.get(sampler, 12)       # beyond a first generation
    whole, halved, raised, other = new_world(), new_world(), new_world(), new_world()
    whole.search(study_of(sampler, trials))
    interrupted(halved, study_of(sampler, trials), after=trials - 4)
    halved.search(study_of(sampler, trials))
    raised.search(study_of(sampler, trials=5))
    raised.search(study_of(sampler, trials))
    other.search(study_of(sampler, trials, seed=1))
    assert summary(halved.trials()) == summary(whole.trials())
    assert [t.point for t in raised.trials()[:8]] == [t.point for t in whole.trials()[:8]]
    assert [t.point for t in other.trials()] != [t.point for t in whole.trials()]


@pytest.mark.parametrize("sampler", GP_IS_SLOW)
def test_a_small_space_is_exhausted_cleanly(sampler: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "_DRAWS", 1000)
    monkeypatch.setattr(proposals, "_ASKS", 4)      # an ask of gp takes a second
    text = SMALL.replace("SAMPLER", sampler)
    wanted = study_from_text(text + ("objectives: {accuracy: max}" if sampler == "cmaes" else ""))
    driver = world.search(wanted)
    assert driver.exhausted
    assert driver.finished
    assert len(world.trials("small")) == 12
    assert len({t.architecture_id for t in world.trials("small")}) == 12


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_what_a_sampler_is_shown_stays_bounded(
    sampler: str, world: World, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(samplers, "MOST_SEEN", 8)
    sizes: list[int] = []

    def ask(self: Sampler, number: int, attempt: int = 0, was: Callable[..., Any] = Sampler.ask) -> Any:
        sizes.append(len(self._study.get_trials(deepcopy=False)))
        return was(self, number, attempt)

    monkeypatch.setattr(Sampler, "ask", ask)
    world.search(study_of(sampler, trials=60))
    assert len(sizes) >= 60 - proposals._START, "all but the start are asked for"
    assert max(sizes) <= 3 * 8 + 24 + 1, "three times the bound, and the asks of one trial"


def test_many_that_run_are_not_shown_anew_at_every_ask(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a thousand workers: they are more than the bound by themselves."""
    monkeypatch.setattr(samplers, "MOST_SEEN", 4)
    shows, asks = [], []
    show, ask = Sampler.show, Sampler.ask
    monkeypatch.setattr(Sampler, "show", lambda self, seen: shows.append(1) or show(self, seen))
    monkeypatch.setattr(Sampler, "ask", lambda self, *which: asks.append(1) or ask(self, *which))
    driver = world.driver(study_of("nsga2", trials=40))
    for _ in range(40):
        assert driver.next_job() is not None
    driver.close()
    assert (len(shows) - 2) * 4 <= len(asks) + 40, "two at the start, then one for four points that came since"


def test_the_front_and_the_newest_are_shown() -> None:
    space = study().space
    rng = random.Random(0)
    many = [Seen(n, space.sample(rng), {}, (rng.random() * 0.5, 1000.0 + n), False) for n in range(2000)]
    many[3] = Seen(3, many[3].point, {}, (0.9, 10.0), False)
    many.append(Seen(2000, space.sample(rng), {}, None, True))
    sampler = Sampler("tpe", space, (Objective("accuracy", "max"), Objective("macs", "min")), 0)
    sampler.show(many)
    shown = sampler._study.trials
    assert len(shown) == samplers.MOST_SEEN + 1
    assert [0.9, 10.0] in [t.values for t in shown]
    newest = [list(seen.values or ()) for seen in many[-400:-1]]
    assert all(values in [t.values for t in shown] for values in newest)
    assert [t.state.name for t in shown].count("RUNNING") == 1


def test_refused_points_are_told_with_the_reason(world: World) -> None:
    driver = world.search(study_of("tpe", trials=6))
    told = [t for t in driver.sampler._study.trials if t.constraints]
    assert all(share > 0 for t in told for share in t.constraints.values())
    assert sum(found.count for found in driver.tally.infeasible.values()) >= len(told)


@pytest.mark.parametrize(("name", "objectives", "rule"), [
    ("cmaes", "{accuracy: max, macs: min}", "serves one objective alone"),
    ("cmaes", "{accuracy: max}", "serves numbers only, and an axis holds words"),
    ("grid", "{accuracy: max, macs: min}", "takes at most 50,000 points"),
])
def test_a_sampler_that_cannot_serve_is_one_clear_line(name: str, objectives: str, rule: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        study(sampler=name, objectives=objectives)
    assert re.match(rf"study:\d+:\d+: search\.sampler: {name}: {rule}[^\n]*; [^\n]*$", str(caught.value))


def test_the_samplers_of_a_study_file_are_those_there_are() -> None:
    assert get_args(Search.model_fields["sampler"].annotation) == tuple(SAMPLERS)


def test_a_start_is_spread_over_macs_and_half_of_it_is_plain(world: World) -> None:
    world.search(study(sampler="tpe", trials=10, stopping="none", epochs=1))
    trials = world.trials()
    plain = [t for t in trials if t.point["gate"] == "none" and t.point["se_ratio"] == 0
             and t.point["residual_scaling"] == 1 and t.point["cardinality"] == 1]
    assert len(plain) >= 5
    sizes = sorted(math.log(t.macs) for t in trials)
    gaps = [b - a for a, b in pairwise(sizes)]
    assert max(gaps) < 2.5 * (sizes[-1] - sizes[0]) / 9
    assert sizes[-1] - sizes[0] > math.log(10)


def test_beside_what_a_sampler_proposes_again_and_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The networks tried then differ from it in one axis, while there are such."""
    driver = world.search(study(sampler="nsga2", trials=1, stopping="none", epochs=1))
    stuck = dict(driver.trials[0].point)
    asked = Sampler.ask

    def again(self: Sampler, number: int, attempt: int = 0) -> tuple[Point, dict[str, Any]]:
        _, attrs = asked(self, number, attempt)
        return dict(stuck), attrs

    monkeypatch.setattr(Sampler, "ask", again)
    world.search(study(sampler="nsga2", trials=5, stopping="none", epochs=1))
    for trial in world.trials()[1:]:
        assert len(set(trial.point.items()) ^ set(stuck.items())) <= 2 + len(set(trial.point) ^ set(stuck))
        assert trial.point != stuck
