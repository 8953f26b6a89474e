"""A diagnosis as one self-contained page, and all its figures as JSON beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.diagnosis.figures import FIGURES
from nas.diagnosis.running import MEASURES, Diagnosis, Finding
from nas.report.page import assembled, replace_file
from nas.report.style import as_data
from nas.units import human_count, human_seconds


@dataclass(frozen=True, slots=True)
class About:
    """What a plot shows, how it is read, and what the paper found."""

    title: str
    shows: str
    paper: str


ABOUT = {
    "lesion": About(
        "Lesions",
        "The error with one block deleted: replaced by its shortcut, or by nothing in a plain network. Bars are after "
        "the norm statistics were estimated afresh; a bar that hardly rises above the dashed line is a block that the "
        "rest does without. The second plot: random sets of same-shape blocks on fewer images.",
        "Veit et al. 2016: a residual network loses a few points with any same-shape block gone, and more of them "
        "smoothly; a plain one loses everything. Blocks that change the shape are missed."),
    "reordering": About(
        "Reordering",
        "The error with same-shape blocks of a stage run in another order, norms re-estimated; each point is one "
        "order. The distance is the share of pairs of blocks that stand the wrong way round: 0 is the right order, 1 "
        "reversed.",
        "Veit et al. 2016: the error rises smoothly with the distance. Blocks that each needed the one before could "
        "not change places at all."),
    "paths": About(
        "Paths and their gradient",
        "A path takes the branch or the shortcut of each block. Grey: how many there are of each length. Blue: how "
        "much of the gradient at the input those of a length bring. The second plot: the gradient that one path "
        "brings: where it falls as a straight line, each further branch weakens it by the same factor.",
        "Veit et al. 2016: of 54 blocks 95 % of the paths go through 19 to 35 branches, but those that bring the "
        "gradient through 5 to 17."),
    "depth": About(
        "Effective depth",
        "The mean number of branches that the gradient has come through, from each block to the end. On the dashed "
        "line the network would be as deep as it has blocks; how far it stays below is how much of a shallow ensemble "
        "it is.",
        "Littwin and Wolf 2016: at the start the effective depth is a small part of the depth, less in deeper "
        "networks; it rises with training."),
    "correlation": About(
        "Correlation of gradients",
        "How alike the gradients of two images are at each block's input: 1 the same direction, 0 unrelated. The grey "
        "lines are theory for untrained networks, with one rectified layer a block: a guide to the eye, no target.",
        "Balduzzi et al. 2017: the correlation halves with every layer of a plain network, until gradients are like "
        "white noise; with shortcuts it falls as the root of the depth."),
    "residual": About(
        "What blocks add",
        "The norm of what each block adds to its shortcut's output by the norm of that; mean over images, whiskers "
        "are one standard deviation. Near 0: the block passes its input on. Above 1: it writes over it.",
        "Jastrzebski et al. 2018: the first blocks of a trained residual network, and of its stages, change the "
        "representation; later ones refine it and add less."),
    "estimation": About(
        "Iterative estimation",
        "How far each block's output is from what its stage puts out in the end: standard deviation (solid) and mean "
        "(dotted) of the difference, by the standard deviation of the last output. Unrelated outputs are at 1.41.",
        "Greff et al. 2017: in a residual stage the distance falls from block to block and its mean stays near 0: "
        "blocks refine one estimate. In a plain stage it stays flat."),
    "gates": About(
        "Gates",
        "What gates let through by block: median, the middle half (thick) and the 5th to 95th percentile (thin), over "
        "images, channels and places. T near 0 and C near 1 carry the input on.",
        "Srivastava et al. 2015: trained highway networks carry most of the input through most layers, and the gates "
        "depend on the input."),
    "excitation": About(
        "Channel weights",
        "What channels are multiplied by, by block; in the second plot how much the weights vary over channels, and "
        "for one channel over images. Without variation over images a weight does what the norm before it could do.",
        "Hu et al. 2018: early blocks weigh channels alike for all classes, later ones by class, and the last ones "
        "are nearly constant, so that they can be left out at little loss."),
    "curvature": About(
        "Curvature of the loss",
        "The largest eigenvalues of the Hessian of the loss by all weights on a fixed batch, and the least. Large "
        "ones are steep directions; a least one that is far below 0 is a way down that training has not taken.",
        "Sagun et al. 2017: a few large eigenvalues, about as many as classes, stand far above the rest, which lie "
        "around 0; the negative ones are small."),
}
assert ABOUT.keys() == MEASURES.keys() == FIGURES.keys()


def write_diagnosis(diagnosis: Diagnosis, folder: Path) -> Path:
    """Write `diagnosis.html` and `diagnosis.json` into `folder`; the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = json.dumps(_finite(diagnosis.to_dict()), indent=2, allow_nan=False)
    replace_file(folder / "diagnosis.json", figures + "\n")
    page, scripts = folder / "diagnosis.html", ("plots.js", "diagnosis.js")
    replace_file(page, assembled("diagnosis", scripts, diagnosis.subject.name, _payload(diagnosis)))
    return page


def _payload(diagnosis: Diagnosis) -> dict[str, Any]:
    of = diagnosis.subject
    order = [block.name for block in diagnosis.blocks]
    return {
        "facts": [of.line, of.about, f"measured in {human_seconds(diagnosis.seconds)}"],
        "tiles": _tiles(diagnosis),
        "sections": [_section(found, order) for found in diagnosis.findings if not found.undefined],
        "undefined": [{"title": ABOUT[found.measure].title, "words": found.words.removeprefix("Undefined: ")}
                      for found in diagnosis.findings if found.undefined],
    }


def _section(found: Finding, order: list[str]) -> dict[str, Any]:
    about = ABOUT[found.measure]
    return {"id": found.measure, "title": about.title, "words": found.words, "shows": about.shows, "paper": about.paper,
            "seconds": human_seconds(found.seconds),
            "figures": [as_data(made) for made in FIGURES[found.measure](found.result, order)]}


def _tiles(diagnosis: Diagnosis) -> list[dict[str, str]]:
    """The headline: label, value and a line below it."""
    of, blocks = diagnosis.subject, diagnosis.blocks
    lesion, depth, paths = (diagnosis.result(name) for name in ("lesion", "depth", "paths"))
    tiles = [
        {"label": "error", "value": f"{100 * diagnosis.error:.1f} %", "below": f"of {len(of.images):,} images"},
        {"label": "blocks", "value": str(len(blocks)),
         "below": f"{sum(block.same_shape for block in blocks)} keep the shape"},
        {"label": "size", "value": human_count(of.cost.params), "below": f"params, {human_count(of.cost.macs)} MACs"},
    ]
    if lesion is not None:
        tiles.append({"label": "a block deleted", "value": f"{100 * lesion.median_increase:+.1f}",
                      "below": "points of error, median"})
    if depth is not None:
        tiles.append({"label": "effective depth", "value": f"{depth.whole:.2g}",
                      "below": f"of {depth.depth[0]} blocks"})
    if paths is not None:
        tiles.append({"label": "gradient's paths", "value": f"{paths.effective_length:.2g}",
                      "below": f"branches long, all: {paths.mean_length:.2g}"})
    return tiles


def _finite(value: Any) -> Any:
    """What JSON can hold: a number that is none is null."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and value - value != 0 else value
