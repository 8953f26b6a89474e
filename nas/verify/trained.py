"""What holds of trained networks: lesions, iterative estimation, effective depth, growth by copies; and S, statistics.

Networks are trained here by the project's own trainer, small enough that all of it takes less than 40 minutes on two
cores, and long enough that the claims hold (Veit's needs a training loss of about 0.8 or less). What S says is reported
with intervals and without a verdict: the published effects are 0.3 to 1.2 points, below the noise of short training.
"""

from __future__ import annotations

import math
import multiprocessing
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import torch
from safetensors.torch import load as tensors_of
from safetensors.torch import save as bytes_of
from torch import Tensor, nn

from nas.architecture import Architecture
from nas.data import Dataset, load
from nas.diagnosis import Estimation, Lesions, effective_depth, iterative_estimation, lesions
from nas.diagnosis.patches import estimated_norms
from nas.model import build
from nas.nodes import Shape
from nas.plan import plan
from nas.report.style import BLUE, GREY, VERMILION, figure
from nas.settings import Data, Recipe
from nas.train import Preprocess, Split, Trainer, choose, set_threads
from nas.train.interpolation import InterpolationGain, interpolation_gain
from nas.verify.claims import Finding, between
from nas.verify.networks import pyramid

RESIDUAL = pyramid(5, 16, 32, 64)
PLAIN = pyramid(5, 16, 32, 64, shortcut="none")
RESOLUTION = 16
IMAGES, CALIBRATION = 2_000, 512        # that measures and norm statistics are of
SEEDS = 4
T_95 = 3.182                            # Student's t of SEEDS - 1 degrees of freedom


@dataclass(frozen=True, slots=True)
class Effort:
    """Training images and epochs: of the pair that is looked into, of the many of a statistic, of what is grown."""

    pair: tuple[int, int] = (20_000, 25)
    many: tuple[int, int] = (4_000, 8)
    grown: tuple[int, int] = (10_000, 10)


@dataclass(frozen=True, slots=True)
class Training:
    """A network to train on so many images for so many epochs."""

    architecture: Architecture
    images: int
    epochs: int
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Trained:
    """weights: of safetensors. error: on the validation part, in [0, 1]. loss: in the last epoch's training, nats."""

    weights: bytes
    error: float
    loss: float


@dataclass
class Lab:
    """Trains what checks ask for, each network once, in `workers` processes of one thread."""

    source: str
    workers: int = 2
    progress: Callable[[str], None] = lambda _: None
    effort: Effort = Effort()
    _trained: dict[Training, Trained] = field(default_factory=dict)
    _lesions: dict[Training, Lesions] = field(default_factory=dict)

    @property
    def residual(self) -> Training:
        """The residual network of the pair."""
        return Training(RESIDUAL, *self.effort.pair)

    @property
    def plain(self) -> Training:
        """The same without shortcuts."""
        return Training(PLAIN, *self.effort.pair)

    def pair(self) -> list[Trained]:
        """Both, trained at once."""
        return self.trained(self.residual, self.plain)

    def trained(self, *trainings: Training) -> list[Trained]:
        """Of each training what came of it."""
        missing = [one for one in dict.fromkeys(trainings) if one not in self._trained]
        if missing:
            one = missing[0]
            self.progress(f"training {len(missing)} networks on {one.images:,} images, {one.epochs} epochs")
            with self._pool() as pool:
                found = pool.map(_train, [self.source] * len(missing), missing)
                self._trained |= dict(zip(missing, found, strict=True))
        return [self._trained[one] for one in trainings]

    def gains(self, seeds: Sequence[int]) -> list[InterpolationGain]:
        """What growing by copies is worth, by seed."""
        self.progress(f"growing {len(seeds)} networks")
        with self._pool() as pool:
            return list(pool.map(_gain, [self.source] * len(seeds), [self.effort.grown] * len(seeds), seeds))

    def network(self, training: Training) -> nn.Module:
        """Trained, in eval mode."""
        model = self.untrained(training)
        model.load_state_dict(tensors_of(self.trained(training)[0].weights))
        return model.eval()

    def untrained(self, training: Training) -> nn.Module:
        """The same as it started."""
        return build(plan(training.architecture, *_kind(_dataset(self.source, training.images))), training.seed)

    def images(self, count: int = IMAGES) -> tuple[Tensor, Tensor]:
        """Validation images (N, C, H, W), normalised, and their labels."""
        return self._normalised(self.dataset.validation, count)

    def calibration(self) -> Tensor:
        """Training images, normalised."""
        return self._normalised(self.dataset.train, CALIBRATION)[0]

    @property
    def dataset(self) -> Dataset:
        """What the pair is trained on."""
        return _dataset(self.source, self.effort.pair[0])

    def _normalised(self, part: Split, count: int) -> tuple[Tensor, Tensor]:
        """At random, as parts may be in the order of their classes."""
        chosen = np.sort(np.random.default_rng(0).permutation(len(part.labels))[:count])
        preprocess = Preprocess(self.dataset.mean, self.dataset.std)
        return preprocess(part.images[chosen]), torch.as_tensor(part.labels[chosen]).long()

    def lesions(self, training: Training) -> Lesions:
        """Single lesions of the trained network."""
        if training not in self._lesions:
            model = self.network(training)
            self.progress("deleting blocks")
            self._lesions[training] = lesions(model, *self.images(), calibration=self.calibration(), sizes=0)
        return self._lesions[training]

    def _pool(self) -> ProcessPoolExecutor:
        assert len(self.dataset.train.labels)       # decoded once, before several want it
        return ProcessPoolExecutor(self.workers, multiprocessing.get_context("spawn"))


@lru_cache(maxsize=3)
def _dataset(source: str, images: int) -> Dataset:
    return load(Data(source=source, resolution=RESOLUTION, train=images))


def _kind(dataset: Dataset) -> tuple[Shape, int]:
    return (dataset.train.images.shape[1], RESOLUTION, RESOLUTION), len(dataset.info.classes)


def _train(source: str, training: Training) -> Trained:
    """In a worker."""
    set_threads(1)
    dataset = _dataset(source, training.images)
    shape, classes = _kind(dataset)
    recipe = Recipe(epochs=training.epochs, schedule="one_cycle")
    trainer = Trainer(build(plan(training.architecture, shape, classes), training.seed), dataset, recipe,
                      seed=training.seed, numerics=choose(recipe.precision))
    loss = math.nan
    for _ in range(training.epochs):
        _leave_if_alone()
        loss = trainer.train_epoch()
    error = 1 - trainer.evaluate()[0]
    return Trained(bytes_of(trainer.weights()), error, loss)


def _leave_if_alone() -> None:
    """A worker whose parent was killed has nobody to train for."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        raise SystemExit


def _gain(source: str, effort: tuple[int, int], seed: int) -> InterpolationGain:
    """In a worker."""
    set_threads(1)
    images, epochs = effort
    return interpolation_gain(_dataset(source, images), Recipe(epochs=epochs, schedule="one_cycle"), seed)


# --- one residual and one plain network -------------------------------------------------------------------------------

def lesion_of_residual(lab: Lab) -> Finding:
    """Veit et al. 2016, figure 3: less than 10 points in the median."""
    return _lesion(lab, lab.residual, -math.inf, 10.0, "small (29.3 % to 34.5)")


def lesion_of_plain(lab: Lab) -> Finding:
    """More than 30 points."""
    return _lesion(lab, lab.plain, 30.0, math.inf, "large (47.2 % to 79..96)")


def _lesion(lab: Lab, training: Training, low: float, high: float, predicted: str) -> Finding:
    lab.pair()
    (found,), deleted = lab.trained(training), lab.lesions(training)
    errors = [100 * one.estimated for one in deleted.single]
    made = figure(320, yaxis={"title": {"text": "error without the block, %"}, "range": [0, 100]})
    made.add_bar(x=[one.deleted[0] for one in deleted.single], y=errors, marker={"color": BLUE, "opacity": 0.75})
    made.add_hline(y=100 * deleted.whole.estimated, line={"color": GREY, "dash": "dash"})
    made.add_annotation(text=f"dashed: whole, {100 * deleted.whole.estimated:.1f} %; training loss {found.loss:.2f}",
                        x=1, y=1, xref="paper", yref="paper", xanchor="right", yanchor="bottom", showarrow=False)
    rise = 100 * deleted.median_increase
    finding = between(low, high, rise, predicted, figures=(made,))
    median = 100 * deleted.whole.estimated + rise
    words = (f"{rise:+.1f}: {100 * deleted.whole.estimated:.1f} % to {median:.1f} ({min(errors):.1f} to "
             f"{max(errors):.1f})")
    return replace(finding, measured=words)


def estimation_of_residual(lab: Lab) -> Finding:
    """Greff et al. 2017, figure 3: in each stage the standard deviation falls from block to block."""
    found = _estimated(lab, lab.residual)
    return Finding("falls (0.67 to 0.28)", _ends(found), "each block, each stage", all(one.falls for one in found),
                   (_estimation_figure(found),))


def estimation_of_plain(lab: Lab) -> Finding:
    """It does not fall: the last is above 0.8 of the first, and all are above 1."""
    found = _estimated(lab, lab.plain)
    passed = all(one.std[-1] > 0.8 * one.std[0] and min(one.std) > 1 for one in found)
    return Finding("flat (1.3 to 1.6)", _ends(found), "> 1, last > .8 first", passed, (_estimation_figure(found),))


def _estimated(lab: Lab, training: Training) -> list[Estimation]:
    lab.pair()
    model = lab.network(training)
    with estimated_norms(model, lab.calibration()):
        return iterative_estimation(model, lab.images(1000)[0])


def _ends(found: list[Estimation]) -> str:
    return "; ".join(" ".join(f"{std:.2f}" for std in one.std) for one in found)


def _estimation_figure(found: list[Estimation]) -> object:
    made = figure(320, xaxis={"title": {"text": "block"}},
                  yaxis={"title": {"text": "distance to the stage's output"}, "rangemode": "tozero"})
    for one, colour in zip(found, (BLUE, VERMILION, GREY), strict=False):
        places = list(range(1, len(one.std) + 1))
        made.add_scatter(x=places, y=list(one.std), name=f"{one.stage}, std", line={"color": colour})
        made.add_scatter(x=places, y=[abs(m) for m in one.mean], name=f"{one.stage}, |mean|",
                         line={"color": colour, "dash": "dot"})
    made.update_layout(showlegend=True)
    return made


def depth_rises(lab: Lab) -> Finding:
    """Littwin and Wolf 2016: by the gradient of the loss at the images, as it started and trained.

    It does not, in what was tried here: 15 and 54 blocks, orders post and pre, rates of 0.003 to 0.1, no decay at all,
    a training to a loss of 0.07, averaged weights and raw ones, norms' scales that start at 1 and between 0 and 1, with
    norms' own statistics and the batch's, at the images and behind the stem, of both parts, by image and of all
    together. It falls by a third in the first epochs, while norms' scales hardly move, and stays there. So this
    verdict fails.
    """
    lab.pair()
    x, y = lab.images(256)
    start = lab.untrained(lab.residual)
    with estimated_norms(start, lab.calibration()):
        before = effective_depth(start, x, y)
    after = effective_depth(lab.network(lab.residual), x, y)
    made = figure(320, xaxis={"title": {"text": "blocks to the end"}},
                  yaxis={"title": {"text": "effective depth, blocks"}, "rangemode": "tozero"})
    for name, found, colour in (("before", before, GREY), ("after", after, BLUE)):
        made.add_scatter(x=list(found.depth), y=list(found.effective), name=name, line={"color": colour})
    made.update_layout(showlegend=True)
    return Finding("rises", [before.whole, after.whole], "rises", after.whole > before.whole, (made,))


def interpolation(lab: Lab) -> Finding:
    """Chang et al. 2018: trained 2-2-2 grown to 4-4-4, step halved, norms re-estimated; mean of two seeds: copies are
    at least 5 points ahead of random blocks.
    """
    gains = lab.gains((0, 1))
    copied, random = (100 * statistics.fmean(getattr(one, name) for one in gains) for name in ("copied", "random"))
    return Finding("far below (51.0, 62.4)", [round(copied, 1), round(random, 1)], "> 5 points apart",
                   random - copied > 5)


# --- S: with seeds and intervals, without a verdict -------------------------------------------------------------------

def sharing(lab: Lab) -> Finding:
    """Weights shared over a stage, against none shared, at equal depth."""
    return _difference(lab, *(pyramid(3, 16, 32, 64, stage={"share": share}) for share in ("stage", "none")))


def cardinality(lab: Lab) -> Finding:
    """Eight groups of 4 channels in the first stage against one of 16, whose blocks have about as many MACs."""
    return _difference(lab, *(pyramid(2, 32, 64, 128, stage={
        "block": "bottleneck", "shortcut_depth": 3, "cardinality": c, "bottleneck_ratio": ratio})
        for c, ratio in ((8, 1.0), (1, 0.5))))


def squeeze(lab: Lab) -> Finding:
    """Squeeze-and-excitation with r = 4 against none."""
    return _difference(lab, *(pyramid(2, 16, 32, 64, stage={"se_ratio": ratio}) for ratio in (0.25, 0.0)))


def _difference(lab: Lab, one: Architecture, other: Architecture) -> Finding:
    """Mean difference of errors in points over seeds, paired, and its 95 % interval (Student's t)."""
    trainings = [Training(a, *lab.effort.many, seed) for seed in range(SEEDS) for a in (one, other)]
    errors = [100 * found.error for found in lab.trained(*trainings)]
    differences = [a - b for a, b in zip(errors[::2], errors[1::2], strict=True)]
    half = T_95 * statistics.stdev(differences) / SEEDS**0.5
    mean = statistics.fmean(differences)
    words = (f"{mean:+.2f}, 95 % interval {mean - half:+.2f} to {mean + half:+.2f} ({SEEDS} seeds, at "
             f"{statistics.fmean(errors):.1f} %)")
    return Finding("published: 0.3 to 1.2 points", words, "none: below the noise", None)
