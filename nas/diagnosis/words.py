"""Each finding as one or two sentences, with the figures that matter. What the figures do not say, these do not."""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch
from typing import Any

from nas.diagnosis.correlation import GradientCorrelation
from nas.diagnosis.curvature import Curvature
from nas.diagnosis.effective_depth import EffectiveDepth
from nas.diagnosis.estimation import Estimation
from nas.diagnosis.gates import Excitation, GateValues
from nas.diagnosis.lesion import Lesions
from nas.diagnosis.paths import PathGradients
from nas.diagnosis.reordering import Reorderings
from nas.diagnosis.residual_norms import ResidualNorm
from nas.units import many

LITTLE, MUCH = 0.10, 0.30       # of the median increase of the error, where residual and plain networks lie
LEAST, PART = 0.02, 0.25        # little is less than this, or than such a part of the error, too
TRAINED = 0.6                   # of the error: above, there is too little to lose


@singledispatch
def words(result: object) -> str:
    """A result of any measure, in words."""
    raise TypeError(f"no words for {type(result).__name__}")


@words.register
def _(found: Lesions) -> str:
    rise, count = found.median_increase, len(found.single)
    worst = max(found.single, key=lambda one: one.estimated)
    whole, median = found.whole.estimated, found.whole.estimated + rise
    said = (f"Without one of its {count} same-shape blocks the error goes from {_percent(whole)} to a median of "
            f"{_percent(median)}: {verdict(found)}. The worst is {_place(worst.deleted[0])}, "
            f"{_percent(worst.estimated)}.")
    if count == 1:       # of which nothing follows for blocks in general
        said = (f"Without {_place(worst.deleted[0])}, its one same-shape block, the error goes from {_percent(whole)} "
                f"to {_percent(worst.estimated)}.")
    if found.downsampling:
        hard = max(found.downsampling, key=lambda one: one.estimated)
        said += (f" Without the branch of {_place(hard.deleted[0])}, which changes the shape: "
                 f"{_percent(hard.estimated)}.")
    return said


def verdict(found: Lesions) -> str:
    """What the median increase says of the network."""
    if found.whole.estimated > TRAINED:
        return "too little trained to tell"
    rise = found.median_increase
    if rise < LEAST or rise < min(LITTLE, PART * found.whole.estimated):
        return "little, as in an ensemble of paths"
    return "much, as in a plain network" if rise > MUCH else "between an ensemble of paths and a plain network"


@words.register
def _(found: Reorderings) -> str:
    if not found.found:
        return "There was no other order to try."
    least, most = found.found[0], found.found[-1]
    further = f", to {_percent(most.error)} with {most.distance:.0%}" if len(found.found) > 1 else ""
    return (f"With blocks in another order the error goes from {_percent(found.whole)} to {_percent(least.error)} "
            f"with {least.distance:.0%} of the pairs turned round{further}.")


@words.register
def _(found: PathGradients) -> str:
    return (f"Paths go through {found.mean_length:.3g} of {found.blocks} branches on average; those that bring the "
            f"gradient go through {found.effective_length:.2g}.")


@words.register
def _(found: EffectiveDepth) -> str:
    return (f"For its gradient the network of {many(found.depth[0], 'block')} is {found.whole:.2g} blocks deep, "
            f"{found.share:.0%} of them.")


@words.register
def _(found: GradientCorrelation) -> str:
    return (f"Gradients of two images at the first block have a correlation of {found.output[0]:.2g} for a fixed "
            f"output and {found.loss[0]:.2g} for their own losses (1: alike, 0: unrelated).")


@words.register
def _(found: Curvature) -> str:
    if not found.largest:
        return f"No eigenvalue of the Hessian converged within {found.products} products with it."
    are = "eigenvalues of the Hessian are" if len(found.largest) > 1 else "eigenvalue of the Hessian is"
    said = f"The largest {are} {', '.join(f'{value:.3g}' for value in found.largest)}"
    if found.smallest is None:
        return f"{said}; the least did not converge."
    share = abs(found.smallest) / max(found.largest[0], 1e-12)
    return f"{said}; the least is {found.smallest:.3g}, {share:.0%} as large."


@words.register(list)
def _(found: list[Any]) -> str:
    return _MANY[type(found[0])](found)


def _norms(found: list[ResidualNorm]) -> str:
    same = [one for one in found if one.same_shape] or found
    kind = "same-shape blocks add" if same[0].same_shape else "blocks add"
    low, high = min(same, key=lambda one: one.ratio), max(same, key=lambda one: one.ratio)
    if len(same) == 1:
        what = f"its one {kind.removesuffix('s add')}, adds" if len(found) > 1 else "its one block, adds"
        return f"{_place(low.block)}, {what} {low.ratio:.2g} of the norm of what it is given.".capitalize()
    return (f"Its {kind} {low.ratio:.2g} ({_place(low.block)}) to {high.ratio:.2g} ({_place(high.block)}) of the norm "
            "of what they are given.")


def _stages(found: list[Estimation]) -> str:
    spans = ", ".join(f"{_place(one.stage, 1)} {_span(one.std[0], one.std[-1], '.2f')}" for one in found)
    several = [one for one in found if len(one.std) > 1]
    falling = [one for one in several if one.falls and _span(one.std[0], one.std[-1], ".2f") != f"{one.std[0]:.2f}"]
    said = f"; it falls all the way in {len(falling)} of {len(several)} stages" if len(several) > 1 else \
        f"; it falls all the way in {_place(several[0].stage, 1)}" if falling else ""
    return f"The distance to the stage's last estimate, in its standard deviations: {spans}{said}."


def _gates(found: list[GateValues]) -> str:
    parts = []
    for part, name in (("T", "transform gates let through"), ("C", "carry gates let through")):
        means = [one.mean for one in found if one.part == part]
        if means:
            spread = f" ({_span(min(means), max(means), '.0%')})" if len(means) > 1 else ""
            parts.append(f"{name} {sum(means) / len(means):.0%} on average{spread}")
    return f"The {', '.join(parts)}."


def _weights(found: list[Excitation]) -> str:
    images = sum(one.over_images for one in found) / len(found)
    channels = sum(one.over_channels for one in found) / len(found)
    means = [one.mean for one in found]
    by_block = " by block" if len(means) > 1 else ""
    return (f"Channels are weighed by {_span(min(means), max(means), '.2f')} on average{by_block}; weights vary by "
            f"{channels:.2g} over channels and by {images:.2g} over images.")


_MANY: dict[type, Callable[[list[Any]], str]] = {
    ResidualNorm: _norms, Estimation: _stages, GateValues: _gates, Excitation: _weights,
}


def _place(name: str, parts: int = 2) -> str:
    """The end of a path: a block with its stage, or a stage."""
    return ".".join(name.split(".")[-parts:])


def _span(first: float, last: float, digits: str) -> str:
    """From one number to another, or the number that both are once they are written down."""
    one, other = format(first, digits), format(last, digits)
    return one if one == other else f"{one} to {other}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
