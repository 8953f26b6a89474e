"""The schedules against their closed forms."""

import math

import pytest

from nas.settings import Recipe
from nas.train.schedule import SCHEDULES, constant, one_cycle, schedule


@pytest.mark.parametrize(("progress", "share"), [(0.0, 0.0), (0.5, 0.25), (1.5, 0.75), (2.0, 1.0), (999.0, 1.0)])
def test_constant_rises_and_stays(progress, share):
    assert constant(progress, warmup=2.0) == share


def test_without_warmup_the_rate_is_full_at_once():
    assert constant(0.0, warmup=0.0) == 1.0
    assert one_cycle(0.0, warmup=0.0, epochs=4) == 1.0


@pytest.mark.parametrize(("progress", "share"), [
    (0.5, 0.5), (1.0, 1.0), (3.0, 0.5 + 0.5 * math.cos(math.pi / 2)), (5.0, 0.0), (6.0, 0.0)])
def test_one_cycle_is_half_a_cosine_after_warmup(progress, share):
    assert one_cycle(progress, warmup=1.0, epochs=5.0) == pytest.approx(share, abs=1e-12)


def test_a_warmup_longer_than_the_training_leaves_half_of_it_to_the_cosine():
    assert one_cycle(0.5, warmup=10.0, epochs=1.0) == 1.0
    assert one_cycle(1.0, warmup=10.0, epochs=1.0) == pytest.approx(0.0)


def test_constant_does_not_depend_on_the_number_of_epochs():
    short, long = schedule(Recipe(epochs=3)), schedule(Recipe(epochs=200))
    assert [short(step / 7) for step in range(30)] == [long(step / 7) for step in range(30)]


def test_every_schedule_of_the_settings_exists_and_stays_within_bounds():
    names = Recipe.model_fields["schedule"].annotation.__args__
    assert set(SCHEDULES) == set(names)
    for name in names:
        shares = [schedule(Recipe(schedule=name, epochs=5))(step / 10) for step in range(51)]
        assert all(0 <= share <= 1 for share in shares)
        assert max(shares) == 1.0
