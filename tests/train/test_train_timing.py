"""As many epochs as fit a time: closed forms, and a measured epoch against one that was waited for."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from train_helpers import FAST, network, noise

from nas.errors import NasError
from nas.search.fitting import MOST, epochs_within, fitted
from nas.settings import Recipe
from nas.study import study_from_text
from nas.train import epoch_time, timing


@pytest.mark.parametrize(("by_level", "seconds", "epochs"), [
    ([10.0], 100, 10), ([10.0], 109.9, 10), ([10.0], 5, 1), ([1.0], 1e6, MOST),
    ([1.0, 10.0], 33, 6),           # 3 x 1 + 3 x 10; a seventh epoch would be of the deep one
    ([1.0, 10.0], 2, 2)])           # one a level, whatever it takes
def test_the_most_epochs_that_fit(by_level, seconds, epochs):
    assert epochs_within(by_level, seconds) == epochs


def test_a_study_goes_on_with_the_epochs_it_was_begun_with():
    study, said = study_from_text("{network: {depth: 1}}"), []
    stored = SimpleNamespace(spec={"recipe": {"epochs": 7}})
    found = fitted(study, stored, None, None, 3600, said.append)
    assert found.recipe == study.recipe.model_copy(update={"epochs": 7})
    assert said == ["epochs    7, with which study was begun"]


class Clocked:
    """A trainer whose steps take a time each on a clock of its own, the first one of all a second more."""

    now = 0.0
    begun = False

    def __init__(self, model, dataset, recipe, *, seed, numerics, micro_batch):
        self.dataset, self.recipe = dataset, recipe

    def train_epoch(self):
        Clocked.now += 0.5 * (len(self.dataset.train.labels) // self.recipe.batch_size) + (not Clocked.begun)
        Clocked.begun = True

    def evaluate(self):
        passes = min(512, len(self.dataset.train.labels)) + len(self.dataset.validation.labels)
        Clocked.now += 0.001 * (passes + len(self.dataset.validation.labels) * self.recipe.flip_test)


@pytest.mark.parametrize(("options", "seconds"), [({}, 62.5 + 0.512 + 0.6), ({"flip_test": True}, 62.5 + 0.512 + 1.2)])
def test_a_few_steps_tell_an_epochs_time(options, seconds, monkeypatch):
    """The first step, which warms up, counts only where it is all there is time for."""
    monkeypatch.setattr(timing, "Trainer", Clocked)
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: Clocked.now))
    monkeypatch.setattr(Clocked, "begun", False)
    data, recipe = noise(train=2000, validation=600), Recipe(batch_size=16, **options)      # 125 steps of half a second
    measured = epoch_time(network, data, recipe, seed=0, numerics=FAST)
    assert measured.seconds == pytest.approx(seconds)
    assert measured.steps == 2
    monkeypatch.setattr(timing, "SECONDS", 0.5)
    monkeypatch.setattr(Clocked, "begun", False)
    assert epoch_time(network, data, recipe, seed=0, numerics=FAST).steps == 1


def test_steps_of_the_network_itself_are_timed(monkeypatch):
    monkeypatch.setattr(timing, "SECONDS", 0.05)
    measured = epoch_time(network, noise(), Recipe(batch_size=16), seed=0, numerics=FAST)
    assert measured.seconds > 0
    assert 1 <= measured.steps <= 6


@pytest.mark.parametrize("fits", [True, False])
def test_out_of_memory_is_tried_with_half_the_batch(fits, monkeypatch):
    class Large(Clocked):
        def __init__(self, *words, micro_batch, **named):
            if not fits or micro_batch is None:
                raise torch.OutOfMemoryError
            super().__init__(*words, micro_batch=micro_batch, **named)

    monkeypatch.setattr(timing, "Trainer", Large)
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: Clocked.now))
    with nullcontext() if fits else pytest.raises(NasError, match=r"recipe.batch_size: 16: out of memory"):
        assert epoch_time(network, noise(), Recipe(batch_size=16), seed=0, numerics=FAST).seconds > 0
