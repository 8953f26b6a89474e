"""All measures of one network, one after the other, each with its own share of the images; what is undefined is said.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from nas.diagnosis.blocks import Block, Undefined, blocks_of
from nas.diagnosis.correlation import gradient_correlation
from nas.diagnosis.curvature import hessian_eigenvalues
from nas.diagnosis.effective_depth import effective_depth
from nas.diagnosis.estimation import iterative_estimation
from nas.diagnosis.gates import excitations, gate_values
from nas.diagnosis.lesion import lesions
from nas.diagnosis.patches import Progress, error_rate, silent
from nas.diagnosis.paths import path_gradients
from nas.diagnosis.reordering import reorderings
from nas.diagnosis.residual_norms import residual_norms
from nas.diagnosis.subject import Subject
from nas.diagnosis.words import words
from nas.errors import NasError

Measure: TypeAlias = Callable[[Subject, int, Progress], Any]

SET_IMAGES = 300        # of random sets and orders, which are many
PATH_IMAGES, CORRELATION_IMAGES, DEPTH_IMAGES, CURVATURE_IMAGES = 64, 128, 256, 48      # gradients cost more


def _lesion(of: Subject, seed: int, progress: Progress) -> Any:
    return lesions(of.model, of.images, of.labels, calibration=of.calibration, set_images=SET_IMAGES, seed=seed,
                   progress=progress)


def _reordering(of: Subject, seed: int, progress: Progress) -> Any:
    return reorderings(of.model, of.images[:SET_IMAGES], of.labels[:SET_IMAGES], calibration=of.calibration, seed=seed,
                       progress=progress)


def _paths(of: Subject, seed: int, progress: Progress) -> Any:
    return path_gradients(of.model, of.images[:PATH_IMAGES], of.labels[:PATH_IMAGES], seed=seed, progress=progress)


def _depth(of: Subject, seed: int, progress: Progress) -> Any:
    return effective_depth(of.model, of.images[:DEPTH_IMAGES], of.labels[:DEPTH_IMAGES])


def _correlation(of: Subject, seed: int, progress: Progress) -> Any:
    return gradient_correlation(of.model, of.images[:CORRELATION_IMAGES], of.labels[:CORRELATION_IMAGES], seed=seed)


def _curvature(of: Subject, seed: int, progress: Progress) -> Any:
    return hessian_eigenvalues(of.model, of.images[:CURVATURE_IMAGES], of.labels[:CURVATURE_IMAGES], seed=seed,
                               progress=progress)


MEASURES: dict[str, Measure] = {
    "lesion": _lesion,
    "reordering": _reordering,
    "paths": _paths,
    "depth": _depth,
    "correlation": _correlation,
    "residual": lambda of, seed, progress: residual_norms(of.model, of.images),
    "estimation": lambda of, seed, progress: iterative_estimation(of.model, of.images),
    "gates": lambda of, seed, progress: gate_values(of.model, of.images),
    "excitation": lambda of, seed, progress: excitations(of.model, of.images),
    "curvature": _curvature,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One measure's outcome. result: what its function returned; None where it is undefined. words: the finding in one
    sentence, or why there is none.
    """

    measure: str
    result: Any
    words: str
    seconds: float

    @property
    def undefined(self) -> bool:
        return self.result is None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """error: of the whole network, as it is, on the images. findings: in the order of `MEASURES`."""

    subject: Subject
    blocks: tuple[Block, ...]
    error: float
    findings: tuple[Finding, ...]
    seconds: float

    def result(self, measure: str) -> Any:
        """What a measure found; None where it is undefined or was not asked for."""
        return next((found.result for found in self.findings if found.measure == measure), None)

    def to_dict(self) -> dict[str, Any]:
        """All figures, for JSON."""
        of = self.subject
        return {
            "network": of.name, "line": of.line, "params": of.cost.params, "macs": of.cost.macs,
            "images": len(of.images), "data": of.about, "error": self.error, "seconds": round(self.seconds, 2),
            "blocks": [{"name": b.name, "same_shape": b.same_shape, "shortcut": b.shortcut} for b in self.blocks],
            "measures": {one.measure: _plain(one) for one in self.findings},
        }


def chosen_measures(only: str | None) -> list[str]:
    """The measures that a list joined by commas names; all, without one. Raises `NasError` for an unknown one."""
    names = [word.strip() for word in only.split(",") if word.strip()] if only is not None else list(MEASURES)
    unknown = [name for name in names if name not in MEASURES]
    if unknown or not names:
        raise NasError(f"--only {only}: {unknown[0] if unknown else 'nothing'} is no measure; there are "
                       f"{', '.join(MEASURES)}")
    return [name for name in MEASURES if name in names]


def diagnose(
    subject: Subject, measures: Sequence[str] = tuple(MEASURES), seed: int = 0, progress: Progress = silent,
    found: Callable[[Finding], None] = lambda _: None,
) -> Diagnosis:
    """Ask every one of `measures`. progress: a line for each slow step. found: called with each finding as it comes.

    Raises `NasError` where the network has no residual block.
    """
    began, findings = time.monotonic(), []
    try:
        blocks = blocks_of(subject.model, subject.images)
    except Undefined as error:
        raise NasError(f"{subject.name}: {error}: there is nothing to diagnose") from None
    whole = error_rate(subject.model, subject.images, subject.labels)
    for name in measures:
        start = time.monotonic()
        progress(name)
        result, said = _asked(MEASURES[name], subject, seed, progress)
        findings.append(Finding(name, result, said or words(result), time.monotonic() - start))
        found(findings[-1])
    return Diagnosis(subject, tuple(blocks), whole, tuple(findings), time.monotonic() - began)


def _asked(measure: Measure, subject: Subject, seed: int, progress: Progress) -> tuple[Any, str]:
    try:
        return measure(subject, seed, progress), ""
    except Undefined as error:
        return None, f"Undefined: {error}."


def _plain(found: Finding) -> Mapping[str, Any]:
    common = {"words": found.words, "seconds": round(found.seconds, 2)}
    if found.undefined:
        return {**common, "undefined": True}
    result = found.result
    return {**common, "undefined": False,
            "figures": [asdict(one) for one in result] if isinstance(result, list) else asdict(result)}
