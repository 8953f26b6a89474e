"""One network, trained epoch by epoch: what a worker does all day.

Plain torch: SGD with Nesterov momentum on flat tensors (see `flat`), batched augmentation, a learning rate that is a
function of progress, and an average of the weights that is what gets evaluated, kept and exported. A training can be
stopped, saved and gone on with after any epoch, to the same bits on a CPU. It knows nothing of searches, files or
processes.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.settings import Recipe
from nas.train.augment import Augmentation, Batches
from nas.train.data import Dataset, Preprocess, Split
from nas.train.evaluation import accuracy_and_loss, recalibrate
from nas.train.flat import Flat, portable
from nas.train.mixing import Mixing
from nas.train.numerics import Numerics
from nas.train.quick import quicken
from nas.train.schedule import schedule

EXPLODED = 10.0     # times the loss of a network that knows nothing, as the mean of an epoch so far
CALIBRATION = 512   # training images that the norm statistics of the averaged weights are estimated on


class Diverged(Exception):
    """The training is beyond rescue; `str(error)` says why and when."""


@dataclass(frozen=True, slots=True)
class EpochResult:
    """What one more epoch gave: losses in nats, `accuracy` in [0, 1], wall-clock seconds of training and evaluation.

    `train_loss` is the mean over the steps, of the weights as they were, on images as mixed; `loss` and `accuracy` are
    of the averaged weights on the validation part. `epoch` counts from 1.
    """

    epoch: int
    train_loss: float
    loss: float
    accuracy: float
    seconds: float


class Trainer:
    """Trains `model` on `dataset` by `recipe`. Takes the model over: use `weights()`, not the model, for its result.

    The same seed, device and thread count give the same result; the model comes initialised. `micro_batch`, where
    given, splits each batch to need less memory, at the same learning rate; norm statistics are then of the
    parts. `before`: epochs that other networks were trained for before this one took over; the schedule and the average
    count from there.
    """

    def __init__(self, model: nn.Module, dataset: Dataset, recipe: Recipe, *, seed: int, numerics: Numerics,
                 micro_batch: int | None = None, before: int = 0):
        self.recipe, self.seed, self.numerics, self.dataset = recipe, seed, numerics, dataset
        self.device = torch.device(numerics.device)
        self.epoch = self._before = before
        self.model = model.to(self.device)
        self._evaluated = copy.deepcopy(model)
        if numerics.device == "cpu" and numerics.channels_last:
            quicken(self.model)
        self._flat = Flat(self.model, numerics.channels_last, recipe.decay_norms)
        self._momentum = torch.zeros_like(self._flat.gradient)
        self._average = self._flat.state.clone()
        self._batches = self._make_batches()
        self._mixing = Mixing(recipe.mixup, recipe.cutmix, len(dataset.info.classes))
        self._averaged_at = -1
        self._micro_batch = micro_batch or self._batches.batch_size
        self._schedule = schedule(recipe)
        self._keep = math.exp(-1 / (recipe.averaging * self._batches.steps)) if recipe.averaging else 0.0

    def run_epoch(self) -> EpochResult:
        """Train one more epoch and evaluate the averaged weights on the validation part.

        Raises Diverged where the loss is no number or has exploded, and torch.OutOfMemoryError as torch does.
        """
        started = time.perf_counter()
        train_loss = self.train_epoch()
        accuracy, loss = self.evaluate()
        if not math.isfinite(loss):
            raise Diverged(f"validation loss is {loss} after epoch {self.epoch}")
        return EpochResult(self.epoch, train_loss, loss, accuracy, time.perf_counter() - started)

    def train_epoch(self) -> float:
        """Train one more epoch without evaluating; returns the mean loss of its steps. Raises Diverged."""
        steps = self._batches.steps
        step, done = 0, self.epoch - self._before
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        self.model.train()
        seed = epoch_seed(self.seed, self.epoch)
        mixes = self._mixing.draw(steps, self.dataset.train.images.shape[-1], seed)
        with self._reproducible(seed):
            for chunk in self._batches.epoch(torch.Generator().manual_seed(seed)):
                for images, labels in chunk:
                    total += self._gradient(*self._mixing.mixed(images, labels, mixes[step]))
                    self._update(done + (step + 0.5) / steps)
                    step += 1
                    self._follow(done * steps + step)
                self._check(float(total) / step, f"in epoch {self.epoch + 1}, step {step} of {steps}")
        self.epoch += 1
        return float(total) / steps

    def evaluate(self, split: Split | None = None) -> tuple[float, float]:
        """Accuracy and loss of the averaged weights on `split`, the validation part; before any training, of the
        weights."""
        dataset = self.dataset
        return accuracy_and_loss(self._averaged_model(), split or dataset.validation, dataset.mean, dataset.std,
                                 self.device, flip=self.recipe.flip_test)

    def weights(self) -> dict[str, Tensor]:
        """The averaged weights as evaluated, with norm statistics of their own: the model's state, on the CPU."""
        return {name: portable(value) for name, value in self._averaged_model().state_dict().items()}

    def state(self) -> dict[str, Any]:
        """All that is needed to go on: tensors on the CPU by the model's names, and numbers."""
        return {
            "epoch": self.epoch,
            "seed": self.seed,
            "model": self._flat.copied(self._flat.state),
            "average": self._flat.copied(self._average),
            "momentum": self._flat.copied(self._momentum),
            "other": self._other_state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state()` of a trainer of the same model. Raises KeyError for another model, ValueError seed."""
        if state["seed"] != self.seed:
            raise ValueError(f"the saved training has seed {state['seed']}, not {self.seed}")
        self._flat.read(state["model"], self._flat.state)
        self._flat.read(state["average"], self._average)
        self._flat.read(state["momentum"], self._momentum)
        for name, value in self._flat.others().items():
            value.data.copy_(state["other"][name])
        self.epoch, self._averaged_at = int(state["epoch"]), -1

    def _make_batches(self) -> Batches:
        dataset = self.dataset
        augmentation = Augmentation.of(self.recipe, dataset.info, dataset.train.images.shape[-1])
        return Batches(dataset.train, Preprocess(dataset.mean, dataset.std), augmentation,
                       self.recipe.batch(len(dataset.train.labels)), self.device,
                       self.numerics.channels_last)

    def _gradient(self, images: Tensor, labels: Tensor) -> Tensor:
        """Leave the gradient of the batch's mean loss in the flat gradient; returns that loss.

        labels: of shape (n,), or (n, classes) where images are mixed.
        """
        self._flat.gradient.zero_()
        total = torch.zeros((), device=self.device)
        for inputs, answers in zip(*(torch.split(part, self._micro_batch) for part in (images, labels)), strict=True):
            with self._autocast():
                logits = self.model(inputs)
            loss = F.cross_entropy(logits.float(), answers, label_smoothing=self.recipe.label_smoothing)
            if len(inputs) < len(images):
                loss = loss * (len(inputs) / len(images))
            loss.backward()     # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def _update(self, progress: float) -> None:
        """One step of SGD with Nesterov momentum (Sutskever et al., 2013, in torch.optim.SGD's form)."""
        flat, recipe = self._flat, self.recipe
        rate = recipe.learning_rate * self._schedule(progress)
        gradient, parameters = flat.gradient, flat.state[: flat.trained]
        if recipe.clip:
            norm = torch.linalg.vector_norm(gradient)
            gradient.mul_((recipe.clip / (norm + 1e-6)).clamp_(max=1.0))
        gradient[: flat.decayed].add_(parameters[: flat.decayed], alpha=recipe.weight_decay)
        self._momentum.mul_(recipe.momentum).add_(gradient)
        parameters.add_(gradient, alpha=-rate).add_(self._momentum, alpha=-rate * recipe.momentum)

    def _follow(self, step: int) -> None:
        """Move the average towards the weights after update number `step` of the whole training."""
        self._average.lerp_(self._flat.state, averaging_rate(step, self._keep))

    def _check(self, loss: float, when: str) -> None:
        """The bound holds for mixed images, too: equal logits give log(classes) for any shares of the classes."""
        if not math.isfinite(loss):
            raise Diverged(f"training loss is {loss} {when}")
        guessing = math.log(max(2, len(self.dataset.info.classes)))
        if loss > EXPLODED * guessing:
            raise Diverged(f"diverged {when}: training loss is {loss:.3g}, over {EXPLODED:g} times that of guessing "
                           f"({guessing:.2g})")

    def _averaged_model(self) -> nn.Module:
        """A network of its own with the averaged weights, made when first asked for after an epoch."""
        if self._averaged_at != self.epoch:
            self._evaluated.load_state_dict({**self._flat.named(self._average), **self._flat.others()})
            generator = torch.Generator().manual_seed(epoch_seed(self.seed, self.epoch))
            recalibrate(self._evaluated, self._batches.sample(CALIBRATION, generator))
            self._averaged_at = self.epoch
        return self._evaluated

    def _other_state(self) -> dict[str, Tensor]:
        return {name: portable(value) for name, value in self._flat.others().items()}

    def _autocast(self) -> AbstractContextManager[object]:
        if self.numerics.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    @contextmanager
    def _reproducible(self, seed: int) -> Iterator[None]:
        """Within, torch's global generator (dropout, stochastic depth) is seeded; without, it is as it was."""
        cuda = self.device.type == "cuda"
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True) if cuda else nullcontext()
        with torch.random.fork_rng([torch.cuda.current_device()] if cuda else []), exact:
            torch.manual_seed(seed)
            yield


def averaging_rate(step: int, keep: float) -> float:
    """How far the average moves to the weights after update `step` (from 1), with decay `keep` a step.

    At the start the average spans about a tenth of the training so far, so that it forgets the first weights, and it
    owes nothing to where it began; later the decay of the recipe holds. Measured on CIFAR-10 at 16 x 16, 10,000
    images, a network of three basic blocks: accuracy after epochs 1 to 3 is 0.38, 0.42 and 0.48 with a plain mean of
    all weights at the start, 0.40, 0.44 and 0.49 over a sixth, 0.40, 0.45 and 0.50 over a twentieth; on digits
    the sixth is ahead of the twentieth by 0.01.
    """
    return max(1 - keep, 10 / (step + 9))


def epoch_seed(seed: int, epoch: int) -> int:
    """A seed for one epoch: nothing but `seed` and the epoch's number has to be saved to go on."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> 1)
