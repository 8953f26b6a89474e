"""The trainer's promises: reproducible, resumable, anytime, correct, and honest about what it evaluated."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from train_helpers import FAST, PLAIN, digits, equal, network, noise, norm_free

from nas.settings import Recipe
from nas.train import Diverged, Trainer, accuracy_and_loss
from nas.train.flat import Flat
from nas.train.trainer import averaging_rate, epoch_seed

RECIPE = Recipe(batch_size=16, cutout=0.25)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trainer(recipe=RECIPE, seed=0, numerics=FAST, model=None, data=None, micro_batch=None):
    return Trainer(model or network(), data or noise(), recipe, seed=seed, numerics=numerics, micro_batch=micro_batch)


def run(epochs, **settings):
    one = trainer(**settings)
    return one, [result_of(one) for _ in range(epochs)]


def result_of(one):
    result = one.run_epoch()
    assert result.seconds > 0
    return result.epoch, result.train_loss, result.loss, result.accuracy


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    first, results = run(2)
    again, others = run(2)
    assert results == others
    assert equal(first.state(), again.state())
    assert run(2, seed=1)[1] != results


@pytest.mark.parametrize("numerics", [PLAIN, FAST])
@pytest.mark.parametrize("stop", [1, 3])
def test_resumed_equals_uninterrupted(numerics, stop, tmp_path):
    whole, results = run(4, numerics=numerics)
    begun, first = run(stop, numerics=numerics)
    torch.save(begun.state(), tmp_path / "state.pt")
    resumed = trainer(numerics=numerics, model=network(seed=99))
    resumed.load_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert equal(resumed.weights(), begun.weights())
    assert first + [result_of(resumed) for _ in range(4 - stop)] == results
    assert equal(resumed.state(), whole.state())
    assert equal(resumed.weights(), whole.weights())


def test_a_state_goes_from_one_layout_to_the_other():
    begun, _ = run(1, numerics=PLAIN)
    other = trainer(numerics=FAST)
    other.load_state(begun.state())
    assert equal(other.state(), begun.state())


def test_a_state_of_another_seed_is_refused():
    with pytest.raises(ValueError, match="seed 0, not 1"):
        trainer(seed=1).load_state(trainer(seed=0).state())


def test_the_first_epochs_do_not_depend_on_how_many_follow():
    short, results = run(3, recipe=RECIPE.model_copy(update={"epochs": 3}))
    long, others = run(3, recipe=RECIPE.model_copy(update={"epochs": 20}))
    assert results == others
    assert equal(short.weights(), long.weights())


def test_a_one_cycle_training_does_depend_on_it():
    settings = {"schedule": "one_cycle", "batch_size": 16}
    assert run(3, recipe=Recipe(epochs=3, **settings))[1] != run(3, recipe=Recipe(epochs=20, **settings))[1]


def test_global_random_state_is_neither_read_nor_moved():
    dropout = nn.Sequential(norm_free(), nn.Dropout(0.5))
    first = trainer(model=copy.deepcopy(dropout))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first.run_epoch()
    assert torch.equal(torch.rand(3), expected)
    second = trainer(model=dropout)
    torch.manual_seed(6)
    second.run_epoch()
    assert equal(first.state(), second.state())


def test_epoch_seeds_differ_and_fit():
    seeds = {epoch_seed(seed, epoch) for seed in range(30) for epoch in range(30)}
    assert len(seeds) == 900
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_step_is_that_of_torch_sgd_with_nesterov_clipping_and_no_decay_on_vectors():
    recipe = Recipe(batch_size=100, warmup_epochs=0, crop=0, flip=False, clip=0.5, weight_decay=0.1,
                    label_smoothing=0.1)
    data, reference = noise(train=100), network()
    ours = trainer(recipe=recipe, data=data, model=copy.deepcopy(reference), numerics=PLAIN)
    weights = [parameter for parameter in reference.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in reference.parameters() if parameter.ndim < 2]
    optimizer = torch.optim.SGD([{"params": weights, "weight_decay": 0.1}, {"params": others}], 0.1, 0.9, nesterov=True)
    for epoch in range(3):
        ours.train_epoch()
        (images, labels), = next(ours._batches.epoch(torch.Generator().manual_seed(epoch_seed(0, epoch))))
        optimizer.zero_grad()
        nn.functional.cross_entropy(reference(images), labels, label_smoothing=0.1).backward()
        nn.utils.clip_grad_norm_(reference.parameters(), 0.5)
        optimizer.step()
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(ours.state()["model"].get(name, value), value, rtol=1e-4, atol=1e-5)


def test_norms_and_biases_do_not_decay():
    model = network()
    flat = Flat(model, channels_last=True)
    flat.state[: flat.decayed] = 7.0
    assert {name for name, value in model.named_parameters() if (value == 7).all()} == {
        "0.weight", "3.weight", "8.weight"}
    flat.state[flat.trained :] = 3.0
    assert {name for name, value in model.named_buffers() if (value == 3).all()} == {
        f"{norm}.running_{what}" for norm in (1, 4) for what in ("mean", "var")}


def test_norms_decay_where_the_recipe_says_so():
    model = network()
    flat = Flat(model, channels_last=True, decay_norms=True)
    flat.state[: flat.decayed] = 7.0
    decayed = {name for name, value in model.named_parameters() if (value == 7).all()}
    assert decayed == {"0.weight", "3.weight", "8.weight", "1.weight", "1.bias", "4.weight", "4.bias"}
    shrunk, kept = (trainer(recipe=Recipe(batch_size=100, weight_decay=0.5, decay_norms=on), numerics=PLAIN)
                    for on in (True, False))
    for one in (shrunk, kept):
        one.train_epoch()
    scales = [one.state()["model"]["1.weight"].abs().sum() for one in (shrunk, kept)]
    assert scales[0] < 0.99 * scales[1]


def test_tied_weights_stay_tied_and_keep_both_names():
    model = norm_free()
    tied = nn.ModuleDict({"a": model[0], "b": nn.Sequential(model[0])})
    flat = Flat(tied, channels_last=False)
    flat.state.fill_(2.0)
    assert tied["a"].weight is tied["b"][0].weight
    assert flat.named(flat.state).keys() == tied.state_dict().keys()


def test_double_precision_is_refused():
    with pytest.raises(TypeError, match="float64"):
        Flat(network().double(), channels_last=False)


def test_the_average_has_its_closed_form():
    one = trainer(recipe=Recipe(batch_size=16, averaging=0.5))
    kept, followed = [], one._follow
    def follow(step):
        kept.append(one._flat.state.clone())
        followed(step)
    one._follow = follow
    for _ in range(6):
        one.train_epoch()
    keep = math.exp(-1 / (0.5 * 6))
    shares, left = [], 1.0
    for step in range(len(kept), 0, -1):
        rate = averaging_rate(step, keep)
        shares.append(left * rate)
        left *= 1 - rate
    assert left == pytest.approx(0.0)                       # nothing of the initial weights
    assert sum(shares) == pytest.approx(1.0)
    assert shares[1] / shares[0] == pytest.approx(keep)     # at the end: exponential
    expected = sum(share * state for share, state in zip(shares, reversed(kept), strict=True))
    torch.testing.assert_close(one._average, expected, rtol=1e-4, atol=1e-5)


def test_without_averaging_the_weights_are_the_last():
    one, _ = run(2, recipe=Recipe(batch_size=16, averaging=0))
    weights = one.weights()
    assert all(equal(weights[name], value) for name, value in one.state()["model"].items() if "running" not in name)


def test_norm_statistics_are_those_of_the_averaged_weights():
    one, _ = run(2)
    fresh = network(seed=3)
    fresh.load_state_dict(one.weights())
    fresh.train()[1].momentum = 1.0
    images = torch.cat(list(one._batches.sample(10_000, torch.Generator().manual_seed(0))))
    with torch.no_grad():
        fresh(images)
    torch.testing.assert_close(fresh[1].running_mean, one.weights()["1.running_mean"], rtol=0.05, atol=0.05)


@pytest.mark.parametrize("numerics", [PLAIN, FAST])
def test_weights_in_a_fresh_network_give_exactly_the_accuracy(numerics):
    data = noise(validation=700)
    one, results = run(3, numerics=numerics, data=data)
    weights = one.weights()
    fresh = network(seed=3)
    assert weights.keys() == fresh.state_dict().keys()
    assert all(value.is_contiguous() and value.device.type == "cpu" for value in weights.values())
    fresh.load_state_dict(weights)
    accuracy, loss = accuracy_and_loss(fresh, data.validation, data.mean, data.std)
    assert (loss, accuracy) == results[-1][2:]
    assert fresh.training
    assert fresh[0].weight.grad is None


def test_accuracy_and_loss_against_a_plain_computation():
    data, model = noise(), network().eval()
    accuracy, loss = accuracy_and_loss(model, data.validation, data.mean, data.std, batch=7)
    mean, std = (np.array(values)[:, None, None] for values in (data.mean, data.std))
    with torch.no_grad():
        logits = model(torch.tensor((data.validation.images / 255 - mean) / std, dtype=torch.float32))
    labels = torch.tensor(data.validation.labels)
    assert accuracy == int((logits.argmax(1) == labels).sum()) / 60
    assert loss == pytest.approx(nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)


def test_an_empty_split_is_no_accuracy():
    data = noise(validation=0)
    with pytest.raises(ValueError, match="nothing"):
        accuracy_and_loss(network(), data.validation, data.mean, data.std)


@pytest.mark.parametrize("micro_batch", [1, 5, 16])
def test_accumulated_parts_equal_the_whole_batch_without_norms(micro_batch):
    whole, results = run(2, model=norm_free())
    parts, others = run(2, model=norm_free(), micro_batch=micro_batch)
    assert others[-1][1:] == pytest.approx(results[-1][1:], rel=1e-4)
    for name, value in whole.weights().items():
        torch.testing.assert_close(parts.weights()[name], value, rtol=1e-3, atol=1e-5)


class Spoiled(nn.Module):
    """Gives what `spoil` makes of a network's logits from the call `after` on."""

    def __init__(self, spoil, after=0):
        super().__init__()
        self.network, self.spoil, self.left = norm_free(), spoil, after

    def forward(self, x):
        self.left -= 1
        return self.network(x) if self.left >= 0 else self.spoil(self.network(x))


@pytest.mark.parametrize(("spoil", "reason"), [
    (lambda logits: logits * float("nan"), "training loss is nan in epoch 1"),
    (lambda logits: logits - float("inf"), "training loss is nan in epoch 1"),
    (lambda logits: logits * 1e6, r"diverged in epoch 1.*: training loss is [\d.e+]+, over 10 times that of guess"),
])
def test_divergence_is_said(spoil, reason):
    with pytest.raises(Diverged, match=reason):
        trainer(model=Spoiled(spoil, after=2)).run_epoch()


def test_divergence_in_evaluation_is_said():
    one = trainer(model=norm_free())
    one.train_epoch()
    one._average.fill_(float("nan"))
    with pytest.raises(Diverged, match="validation loss is nan"):
        one.run_epoch()


def test_bfloat16_trains_and_is_evaluated_in_float32():
    from nas.train import Numerics

    one, results = run(1, numerics=Numerics("cpu", "bfloat16", True))
    assert all(value.dtype != torch.bfloat16 for value in one.weights().values())
    assert 0 <= results[0][3] <= 1


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["constant", "one_cycle"])
def test_digits_are_learnt_in_a_few_epochs(schedule):
    _, results = run(6, recipe=Recipe(epochs=6, schedule=schedule), data=digits(), model=network(1, 32))
    assert results[-1][3] > 0.9
