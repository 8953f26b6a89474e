"""The plots of a diagnosis, one or two a measure: colours that the colour-blind tell apart, and shapes beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, log10
from typing import Any

import plotly.graph_objects as go

from nas.diagnosis.correlation import GradientCorrelation
from nas.diagnosis.curvature import Curvature
from nas.diagnosis.effective_depth import EffectiveDepth
from nas.diagnosis.estimation import Estimation
from nas.diagnosis.gates import Excitation, GateValues
from nas.diagnosis.lesion import Lesion, Lesions
from nas.diagnosis.paths import PathGradients
from nas.diagnosis.reordering import Reorderings
from nas.diagnosis.residual_norms import ResidualNorm
from nas.report.style import BLUE, GREEN, GREY, VERMILION, figure, safe

COLOURS = (BLUE, VERMILION, GREEN, "#b8629a", "#c9a227", GREY)
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "x")
HEIGHT = 360


def lesion_figures(found: Lesions, order: Sequence[str]) -> list[go.Figure]:
    """Error by deleted block, in the network's `order`; error by number of deleted blocks."""
    kinds = [("same shape", found.single, BLUE), ("changes the shape", found.downsampling, VERMILION)]
    singles = _figure("", "error, %")
    for name, lesions, colour in kinds:
        if lesions:
            labels = [short(one.deleted[0]) for one in lesions]
            singles.add_bar(x=labels, y=[_percent(one.estimated) for one in lesions], name=name,
                            marker={"color": colour}, hovertemplate="without %{x}: %{y} %<extra></extra>")
    every = {one.deleted[0]: one for one in (*found.single, *found.downsampling)}
    names = [name for name in order if name in every]
    singles.add_scatter(x=[short(name) for name in names], y=[_percent(every[name].as_is or 0.0) for name in names],
                        mode="markers", name="norms not re-estimated",
                        marker={"symbol": "diamond-open", "size": 9, "color": GREY, "line": {"width": 2}},
                        hovertemplate="without %{x}, norms as they were: %{y} %<extra></extra>")
    singles.update_xaxes(categoryorder="array", categoryarray=[short(name) for name in names])
    _level(singles, _percent(found.whole.estimated), "whole network", [short(name) for name in names])
    singles.update_yaxes(rangemode="tozero")
    return [singles, _sets(found)] if found.sets else [singles]


def _sets(found: Lesions) -> go.Figure:
    made = _figure("blocks deleted", "error, %")
    sizes: dict[int, list[Lesion]] = {}
    for one in found.sets:
        sizes.setdefault(len(one.deleted), []).append(one)
    middle = [sorted(one.estimated for one in some)[len(some) // 2] for some in sizes.values()]
    made.add_scatter(x=[0, *sizes], y=[_percent(e) for e in (found.set_whole.estimated, *middle)], mode="lines",
                     name="median", line={"color": BLUE, "width": 2}, hoverinfo="skip")
    drawn = [one for some in sizes.values() for one in some]
    made.add_scatter(x=[len(one.deleted) for one in drawn], y=[_percent(one.estimated) for one in drawn],
                     mode="markers", name="a set", marker={"color": BLUE, "size": 8, "opacity": 0.7},
                     text=[", ".join(short(block) for block in one.deleted) for one in drawn],
                     hovertemplate="without %{text}: %{y} %<extra></extra>")
    made.update_xaxes(dtick=1)
    made.update_yaxes(rangemode="tozero")
    return made


def reordering_figures(found: Reorderings, order: Sequence[str]) -> list[go.Figure]:
    """Error by Kendall's tau distance."""
    made = _figure("Kendall tau distance from the right order", "error, %")
    made.add_scatter(x=[round(one.distance, 4) for one in found.found], y=[_percent(one.error) for one in found.found],
                     mode="markers", name="an order", marker={"color": BLUE, "size": 9},
                     text=[f"{one.swaps} swap{'s' * (one.swaps > 1)}" for one in found.found],
                     hovertemplate="%{text}, distance %{x:.3f}: %{y} %<extra></extra>")
    _level(made, _percent(found.whole), "the right order", [0, max((one.distance for one in found.found), default=1.0)])
    made.update_xaxes(rangemode="tozero")
    made.update_yaxes(rangemode="tozero")
    return [made]


def path_figures(found: PathGradients, order: Sequence[str]) -> list[go.Figure]:
    """How many paths and how much gradient by length; the gradient of one path by length."""
    lengths = list(range(found.blocks + 1))
    both = _figure("branches on the path", "share, %")
    for name, shares, colour in (("of the paths", found.share, GREY), ("of the gradient", found.contribution, BLUE)):
        both.add_bar(x=lengths, y=[_percent(share) for share in shares], name=name, marker={"color": colour},
                     hovertemplate=f"length %{{x}}: %{{y}} % {name}<extra></extra>")
    both.update_layout(barmode="group")
    one = _figure("branches on the path", "gradient norm of one path")
    one.add_scatter(x=lengths, y=[_digits(norm) if norm > 0 else None for norm in found.norm], mode="lines+markers",
                    line={"color": BLUE, "width": 2}, marker={"size": 6}, showlegend=False,
                    hovertemplate="length %{x}: %{y:.3~g}<extra></extra>")
    decades = log10(max(found.norm) / min(norm for norm in found.norm if norm > 0)) if any(found.norm) else 0.0
    one.update_yaxes(type="log", dtick="D2" if decades < 2 else ceil(decades / 8), tickformat="~g")
    return [both, one]


def depth_figures(found: EffectiveDepth, order: Sequence[str]) -> list[go.Figure]:
    """Effective depth by depth of the part of the network that begins at each block."""
    made = _figure("blocks from here to the end", "effective depth, blocks")
    made.add_scatter(x=[0, found.depth[0]], y=[0, found.depth[0]], mode="lines", name="as deep as it has blocks",
                     line={"color": GREY, "width": 1.5, "dash": "dash"}, hoverinfo="skip")
    made.add_scatter(x=list(found.depth), y=[_digits(value) for value in found.effective], mode="lines+markers",
                     name="effective", line={"color": BLUE, "width": 2}, marker={"size": 7},
                     text=[safe(name) for name in found.at],
                     hovertemplate="from %{text}: %{y:.3g} of %{x} blocks<extra></extra>")
    return [made]


def correlation_figures(found: GradientCorrelation, order: Sequence[str]) -> list[go.Figure]:
    """Correlation of gradients by block, beside what theory says of untrained networks of as many layers."""
    made = _figure("", "correlation over images")
    at = [short(name) for name in found.at]
    left = range(len(at), 0, -1)
    for name, values, dash in (("residual, untrained", [(1 + n) ** -0.5 for n in left], "dash"),
                               ("plain, untrained", [2.0 ** -n for n in left], "dot")):
        made.add_scatter(x=at, y=[_digits(value) for value in values], mode="lines", name=name, hoverinfo="skip",
                         line={"color": GREY, "width": 1.5, "dash": dash})
    for name, found_values, colour, symbol in (("of a fixed output", found.output, BLUE, "circle"),
                                               ("of each image's loss", found.loss, VERMILION, "diamond")):
        made.add_scatter(x=at, y=[_digits(value) for value in found_values], mode="lines+markers", name=name,
                         line={"color": colour, "width": 2}, marker={"size": 7, "symbol": symbol},
                         hovertemplate=f"{name}, at %{{x}}: %{{y:.3f}}<extra></extra>")
    return [made]


def residual_figures(found: list[ResidualNorm], order: Sequence[str]) -> list[go.Figure]:
    """What each block adds by what it is given."""
    made = _figure("", "norm added / norm given")
    for name, chosen, colour in (("same shape", True, BLUE), ("changes the shape", False, VERMILION)):
        some = [one for one in found if one.same_shape is chosen]
        if some:
            made.add_bar(x=[short(one.block) for one in some], y=[_digits(one.ratio) for one in some], name=name,
                         marker={"color": colour}, hovertemplate="%{x}: %{y:.3g}<extra></extra>",
                         error_y={"array": [_digits(one.spread) for one in some], "thickness": 1.5, "width": 4,
                                  "color": GREY})
    made.update_xaxes(categoryorder="array", categoryarray=[short(name) for name in order])
    return [made]


def estimation_figures(found: list[Estimation], order: Sequence[str]) -> list[go.Figure]:
    """Distance to the last estimate by block, a line for each stage."""
    made = _figure("block of the stage", "error, in standard deviations")
    for index, one in enumerate(found):
        colour, symbol = COLOURS[index % len(COLOURS)], SYMBOLS[index % len(SYMBOLS)]
        at = list(range(1, len(one.at) + 2))
        name = one.stage.rpartition(".")[2]
        for kind, values, dash in (("std", one.std, "solid"), ("mean", one.mean, "dot")):
            made.add_scatter(x=at, y=[_digits(value) for value in (*values, 0.0)], mode="lines+markers",
                             name=f"{safe(name)}, {kind}", line={"color": colour, "width": 2, "dash": dash},
                             marker={"size": 7, "symbol": symbol},
                             hovertemplate=f"{safe(name)}, block %{{x}}: {kind} %{{y:.3f}}<extra></extra>")
    made.add_hline(y=2 ** 0.5, line={"color": GREY, "width": 1.5, "dash": "dash"}, annotation_text="unrelated",
                   annotation_position="top left")
    made.update_xaxes(dtick=1)
    return [made]


def gate_figures(found: list[GateValues], order: Sequence[str]) -> list[go.Figure]:
    """Gates by block: median, middle half, from the 5th to the 95th percentile."""
    made = _figure("", "gate")
    for part, name, colour, symbol in (("T", "T, of the branch", BLUE, "circle"), ("C", "C, of the input", VERMILION,
                                                                                   "diamond")):
        _ranges(made, name, [(one.block, one.quantiles) for one in found if one.part == part], colour, symbol)
    made.update_yaxes(range=[0, 1])
    made.update_layout(scattermode="group", scattergap=0.6)
    return [made]


def excitation_figures(found: list[Excitation], order: Sequence[str]) -> list[go.Figure]:
    """Channel weights by block; how much of their variation is of images."""
    weights = _figure("", "channel weight")
    _ranges(weights, "over images and channels", [(one.block, one.quantiles) for one in found], BLUE, "circle")
    varies = _figure("", "standard deviation of the weights")
    for name, values, colour in (("over channels", [one.over_channels for one in found], GREY),
                                 ("over images", [one.over_images for one in found], BLUE)):
        varies.add_bar(x=[short(one.block) for one in found], y=[_digits(value) for value in values], name=name,
                       marker={"color": colour}, hovertemplate=f"%{{x}}, {name}: %{{y:.3g}}<extra></extra>")
    varies.update_layout(barmode="group")
    return [weights, varies]


def curvature_figures(found: Curvature, order: Sequence[str]) -> list[go.Figure]:
    """Eigenvalues of the Hessian from the largest down, then the least."""
    made = _figure("", "eigenvalue of the Hessian")
    labels = [_ordinal(index) for index in range(1, len(found.largest) + 1)]
    made.add_bar(x=labels, y=[_digits(value) for value in found.largest], name="largest", marker={"color": BLUE},
                 hovertemplate="%{x}: %{y:.4g}<extra></extra>")
    if found.smallest is not None:
        made.add_bar(x=["least"], y=[_digits(found.smallest)], name="least", marker={"color": VERMILION},
                     hovertemplate="least: %{y:.4g}<extra></extra>")
    made.update_layout(bargap=0.4)
    made.update_xaxes(title={"text": ""})
    return [made]


FIGURES: dict[str, Callable[[Any, Sequence[str]], list[go.Figure]]] = {
    "lesion": lesion_figures, "reordering": reordering_figures, "paths": path_figures, "depth": depth_figures,
    "correlation": correlation_figures, "residual": residual_figures, "estimation": estimation_figures,
    "gates": gate_figures, "excitation": excitation_figures, "curvature": curvature_figures,
}


def short(name: str) -> str:
    """A block's name as an axis shows it: `stage2.block3` is `2.3`."""
    stage, _, block = name.rpartition(".")
    parts = stage.rpartition(".")[2].removeprefix("stage"), block.removeprefix("block")
    return safe(".".join(parts)) if all(part.isdigit() for part in parts) else safe(name)


def _figure(x: str, y: str) -> go.Figure:
    kind: dict[str, Any] = {"type": "category", "title": {"text": "block (stage.block)"}} if not x else \
        {"title": {"text": x}}
    made = figure(HEIGHT, xaxis=kind, yaxis={"title": {"text": y}})
    made.update_layout(showlegend=True, bargap=0.25)
    return made


def _ranges(
    made: go.Figure, name: str, rows: Sequence[tuple[str, tuple[float, ...]]], colour: str, symbol: str,
) -> None:
    """A marker at the median, a thick line over the middle half, a thin one from the 5th to the 95th percentile."""
    if not rows:
        return
    x, middle = [short(block) for block, _ in rows], [quantiles[2] for _, quantiles in rows]
    for low, high, width in ((0, 4, 1.5), (1, 3, 5)):
        last = width == 5
        made.add_scatter(
            x=x, y=[_digits(value) for value in middle], mode="markers", name=name, legendgroup=name, showlegend=last,
            offsetgroup=name, marker={"color": colour, "size": 9 if last else 1, "symbol": symbol,
                                      "line": {"width": 1 if last else 0, "color": "white"}},
            error_y={"array": [_digits(q[high] - q[2]) for _, q in rows], "color": colour, "thickness": width,
                     "arrayminus": [_digits(q[2] - q[low]) for _, q in rows], "symmetric": False, "width": 0},
            hovertemplate=f"{name}, %{{x}}: median %{{y:.3f}}<extra></extra>" if last else None,
            hoverinfo=None if last else "skip")


def _level(made: go.Figure, y: float, name: str, x: Sequence[Any]) -> None:
    """A dashed line at `y` over the places `x`."""
    made.add_scatter(x=list(x), y=[y] * len(x), mode="lines", name=f"{name}: {y:.1f} %", hoverinfo="skip",
                     line={"color": GREEN, "width": 2.5, "dash": "dash"})


def _ordinal(number: int) -> str:
    return {1: "1st", 2: "2nd", 3: "3rd"}.get(number, f"{number}th")


def _percent(share: float) -> float:
    return round(100 * share, 2)


def _digits(value: float) -> float:
    return float(f"{value:.4g}")
