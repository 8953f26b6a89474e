"""Which axis matters for accuracy at fixed cost: effects and importance, both on what the cost does not explain.

Accuracy alone would only say that bigger is better. So a smooth trend of accuracy on the logarithm of the cost is
removed first, and what is left (the residual) is looked at by axis.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from nas.report.results import Results
from nas.report.style import BLUE, GREY, figure, note, safe, thinned

FEWEST = 15                 # complete trials that importance needs to say anything
MOST_TRIALS = 1_000         # that the forest sees
MOST_POINTS = 250           # that one panel draws
MANY_VALUES = 12            # more distinct numbers than these are binned, or so many that few trials share one
FOLDS, SHUFFLES = 5, 4
SHARED = "Axes that move together (tied or conditional ones) share their importance."


def residuals(results: Results) -> pd.DataFrame:
    """The COMPLETE trials with a column `residual`: accuracy less its trend on log cost (at most quadratic)."""
    complete = results.in_state("COMPLETE").dropna(subset=["accuracy", results.cost])
    complete = complete[complete[results.cost] > 0]
    logs = np.log(complete[results.cost].to_numpy(dtype=float))
    accuracy = complete["accuracy"].to_numpy(dtype=float)
    return complete.assign(residual=accuracy - _trend(logs, accuracy))


def _trend(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """A least-squares polynomial: constant below 5 points, a line below 12, then a parabola."""
    distinct = len(np.unique(np.round(x, 9)))
    degree = 0 if len(x) < 5 else 1 if len(x) < 12 else 2
    degree = max(0, min(degree, distinct - 2))
    if not len(x):
        return y
    centred = (x - x.mean()) / (x.std() or 1.0)
    fitted: NDArray[np.float64] = np.polynomial.Polynomial.fit(centred, y, degree)(centred) if degree else (
        np.full_like(y, y.mean()))
    return fitted


def varied_axes(results: Results, trials: pd.DataFrame) -> list[str]:
    """The axes that take at least two values in `trials`; being inactive is not a value."""
    return [axis for axis in results.axes if trials[axis].dropna().map(str).nunique() > 1]


def effects_figure(results: Results, axes: list[str] | None = None) -> go.Figure:
    """A panel for each axis (default: all that vary): the residual by value, with points and the middle half's band.

    The line joins medians, the band is from quartile to quartile. Numbers with many values are binned.
    """
    trials = residuals(results)
    chosen = varied_axes(results, trials) if axes is None else axes
    if len(trials) < 3 or not chosen:
        return note(figure(220), "Effects need at least three complete trials and an axis that varies.")
    columns = min(3, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    made = figure(220 * rows + 40)
    if len(chosen) > 1:
        made.set_subplots(rows=rows, cols=columns, shared_yaxes=True, subplot_titles=[safe(a) for a in chosen])
    for index, axis in enumerate(chosen):
        place = {} if len(chosen) == 1 else {"row": index // columns + 1, "col": index % columns + 1}
        _panel(made, trials.dropna(subset=[axis]), axis, place)
    made.update_yaxes(tickformat="+.3~f", zeroline=True, zerolinecolor=GREY, gridcolor="rgba(138,143,152,.25)")
    return made


def _panel(made: go.Figure, trials: pd.DataFrame, axis: str, place: dict[str, int]) -> None:
    numbers = pd.to_numeric(trials[axis], errors="coerce")
    numeric = bool(numbers.notna().all()) and not any(isinstance(value, bool) for value in trials[axis])
    binned = numeric and numbers.nunique() > min(MANY_VALUES, max(2, len(numbers) // 3))
    key = numbers if numeric else trials[axis].map(str)
    bins = min(6, max(1, len(numbers) // 4))
    groups = trials["residual"].groupby(pd.qcut(numbers, bins, duplicates="drop") if binned else key, observed=True)
    table = groups.quantile(np.array([0.25, 0.5, 0.75])).unstack()
    middles = [float(bin_.mid) for bin_ in table.index] if binned else list(table.index)
    places = middles if binned else list(range(len(middles)))
    at = key if binned else key.map({value: i for i, value in enumerate(middles)})
    shown = thinned(len(trials), MOST_POINTS)
    made.add_scatter(
        x=_jittered(at.iloc[shown], binned), y=trials["residual"].iloc[shown].round(5).tolist(), mode="markers",
        marker={"color": GREY, "size": 4, "opacity": 0.5}, hoverinfo="skip", **place)
    low, middle, high = (table[q].round(5).to_numpy() for q in (0.25, 0.5, 0.75))
    counts = groups.size().tolist()
    made.add_scatter(
        x=places, y=middle.tolist(), mode="lines+markers" if numeric else "markers",
        marker={"color": BLUE, "size": 9}, line={"color": BLUE, "width": 1.5},
        error_y={"type": "data", "symmetric": False, "array": (high - middle).tolist(),
                 "arrayminus": (middle - low).tolist(), "thickness": 3, "width": 0, "color": "rgba(47,134,201,.45)"},
        text=[f"{safe(_shown(v))}: {m:+.4f} (n = {n})" for v, m, n in zip(middles, middle, counts, strict=True)],
        hovertemplate="%{text}<extra></extra>", **place)
    if not binned:
        made.update_xaxes(tickvals=places, ticktext=[safe(_shown(v)) for v in middles],
                          range=[-0.5, len(middles) - 0.5], **place)


def _shown(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float | int) and not isinstance(value, bool) else str(value)
    return text if len(text) <= 18 else text[:17] + "…"


def _jittered(at: pd.Series[Any], binned: bool) -> list[float]:
    """Spread a little to the sides, the same way each time."""
    shifts = np.zeros(len(at)) if binned else 0.5 * ((np.arange(len(at)) * 0.618034) % 1 - 0.5)
    return [float(f"{value:.4g}") for value in at.to_numpy(dtype=float) + shifts]


def importance(results: Results) -> pd.DataFrame:
    """Axes by importance for accuracy at fixed cost: columns axis, importance, spread; attrs: note, r2, trials.

    Permutation importance of a random forest on the residual, on held-out folds only: the share of the residual's
    variance that can no longer be told once the axis is shuffled. `spread` is the standard deviation over folds and
    shuffles. `attrs['r2']` is what the forest tells of the residual in all (below 0: nothing). The table is empty, and
    `attrs['note']` says why, where there are fewer than 15 complete trials.
    """
    trials = residuals(results)
    axes = varied_axes(results, trials)
    if len(trials) < FEWEST or not axes:
        why = (f"Too few to say anything: importance needs at least {FEWEST} complete trials, there are {len(trials)}."
               if len(trials) < FEWEST else "No axis takes more than one value among the complete trials.")
        return _table([], {}, why, float("nan"), len(trials))
    if float(trials["residual"].std()) < 1e-9:
        return _table([], {}, "All networks of equal cost are equally accurate: nothing to explain.", 0.0, len(trials))
    trials = trials.iloc[thinned(len(trials), MOST_TRIALS)]
    drops, r2 = _held_out(_encoded(trials, axes), trials["residual"].to_numpy(dtype=float))
    text = (f"A forest of {len(trials)} trials tells {max(0.0, r2):.0%} of what the cost leaves open "
            f"(held out). {SHARED}")
    if r2 <= 0:
        text = (f"From {len(trials)} trials the axes do not predict what the cost leaves open: "
                "read nothing into the bars.")
    return _table(axes, drops, text, r2, len(trials))


def _table(axes: list[str], drops: dict[int, list[float]], text: str, r2: float, trials: int) -> pd.DataFrame:
    rows = [(axis, float(np.mean(drops[i])), float(np.std(drops[i], ddof=1))) for i, axis in enumerate(axes)]
    table = pd.DataFrame(rows, columns=["axis", "importance", "spread"])
    table = table.sort_values("importance", ascending=False, kind="stable").reset_index(drop=True)
    table.attrs = {"note": text, "r2": r2, "trials": trials}
    return table


def _encoded(trials: pd.DataFrame, axes: list[str]) -> NDArray[np.float64]:
    """Numbers as they are, words by their alphabetical rank, inactive axes as NaN, which the forest can split on."""
    columns = []
    for axis in axes:
        numbers = pd.to_numeric(trials[axis], errors="coerce")
        if numbers[trials[axis].notna()].isna().any():
            words = trials[axis].map(str).where(trials[axis].notna())
            numbers = words.map({word: i for i, word in enumerate(sorted(words.dropna().unique()))})
        columns.append(numbers.to_numpy(dtype=float))
    return np.column_stack(columns)


def _held_out(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[dict[int, list[float]], float]:
    """By column, the drops of held-out R² for each fold and shuffle; and R² without shuffling."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import KFold

    generator = np.random.default_rng(0)
    drops: dict[int, list[float]] = {column: [] for column in range(x.shape[1])}
    errors, variance = [], float(np.var(y))
    for train, test in KFold(FOLDS, shuffle=True, random_state=0).split(x):
        forest = RandomForestRegressor(60, min_samples_leaf=2, max_features=0.6, random_state=0, n_jobs=1)
        forest.fit(x[train], y[train])
        error = float(np.mean((forest.predict(x[test]) - y[test]) ** 2))
        errors.append(error * len(test))
        guesses = forest.predict(_shuffled(x[test], generator)).reshape(x.shape[1], SHUFFLES, len(test))
        for column, rises in enumerate((np.mean((guesses - y[test]) ** 2, axis=2) - error) / variance):
            drops[column] += rises.tolist()
    return drops, 1 - sum(errors) / len(y) / variance


def _shuffled(x: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
    """Copies of `x` below each other, `SHUFFLES` for each column with that column shuffled: one call of the forest."""
    copies = np.tile(x, (x.shape[1], SHUFFLES, 1, 1))
    for column in range(x.shape[1]):
        for copy in copies[column]:
            copy[:, column] = generator.permutation(copy[:, column])
    return copies.reshape(-1, x.shape[1])


def importance_figure(table: pd.DataFrame) -> go.Figure:
    """The most important axes as bars with their spread; from `importance`."""
    top = table.head(20).iloc[::-1]
    title = "drop of held-out R² when the axis is shuffled"
    made = figure(80 + 26 * max(3, len(top)), xaxis={"title": {"text": title}})
    if top.empty:
        return note(made, str(table.attrs.get("note", "Nothing to show.")))
    made.add_bar(
        x=top["importance"].round(4).tolist(), y=[safe(axis) for axis in top["axis"]], orientation="h",
        marker={"color": BLUE, "opacity": 0.75},
        error_x={"type": "data", "array": top["spread"].round(4).tolist(), "color": GREY, "thickness": 1.5, "width": 4},
        hovertemplate="%{y}: %{x:.3f}<extra></extra>")
    made.update_yaxes(type="category", ticks="", showgrid=False)
    return made
