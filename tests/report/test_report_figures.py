"""Figures, effects and importance: what they say of made-up studies whose truth is known, and of empty ones."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_cases import AXES, BOTH, made_up

from nas.front import Objective, hypervolume
from nas.report import (
    COLUMNS,
    Results,
    curves_figure,
    effects_figure,
    front,
    front_figure,
    hypervolume_figure,
    importance,
    importance_figure,
    payload,
)
from nas.report.effects import residuals
from nas.report.figures import running_hypervolume
from nas.report.results import empty_text, knee_number


def empty(**changes: Any) -> Results:
    nothing = {"trials": pd.DataFrame(), "epochs": pd.DataFrame(), "architectures": {}, "infeasible": {}}
    return made_up(1, **{**nothing, **changes})


def only(state: str) -> Results:
    results = made_up(6)
    trials = results.trials.assign(state=state, accuracy=np.nan, loss=np.nan, reason="boom")
    return replace(results, trials=trials)


CASES = {
    "usual": lambda: made_up(30),
    "empty": empty,
    "single": lambda: replace(made_up(1), trials=made_up(1).trials.assign(state="COMPLETE", accuracy=0.5)),
    "all failed": lambda: only("FAILED"),
    "all running": lambda: only("RUNNING"),
    "one objective": lambda: made_up(30, objectives=[Objective("accuracy", "max")]),
    "three objectives": lambda: made_up(30, objectives=[*BOTH, Objective("latency", "min")]),
    "cost alone": lambda: made_up(30, objectives=[Objective("params", "min")]),
    "no axis": lambda: made_up(30, axes=()),
    "NaN everywhere": lambda: replace(made_up(20), trials=made_up(20).trials.assign(accuracy=np.nan, macs=np.inf)),
    "no architecture": lambda: made_up(5, architectures={}),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_every_case_is_drawn(case: str) -> None:
    results = CASES[case]()
    for made in (front_figure(results), curves_figure(results), effects_figure(results), hypervolume_figure(results),
                 importance_figure(importance(results))):
        assert made.data or made.layout.annotations, "an empty figure says why it is empty"
    assert payload(results)["study"] == "made_up"


def trace(made: Any, name: str) -> Any:
    return next(t for t in made.data if t.name == name)


def test_front_is_not_dominated_and_sorted_by_cost() -> None:
    results = made_up(40)
    chosen, complete = front(results), results.in_state("COMPLETE")
    assert chosen["macs"].is_monotonic_increasing
    assert chosen["accuracy"].is_monotonic_increasing
    for row in chosen.itertuples():
        assert not ((complete["accuracy"] > row.accuracy) & (complete["macs"] <= row.macs)).any()
    assert set(chosen["state"]) == {"COMPLETE"}


def test_front_of_one_objective_is_the_best() -> None:
    results = CASES["one objective"]()
    assert front(results)["accuracy"].tolist() == [results.in_state("COMPLETE")["accuracy"].max()]
    assert knee_number(results) is None


def test_front_figure_holds_each_trial_once() -> None:
    results = made_up(40)
    made = front_figure(results)
    points = [n for t in made.data if t.customdata is not None for n in t.customdata]
    assert sorted(points) == results.trials.dropna(subset=["accuracy"])["number"].tolist()
    assert list(trace(made, "front").customdata) == front(results)["number"].tolist()
    assert made.layout.xaxis.type == "log"
    assert trace(made, "knee").x[0] == pytest.approx(
        results.trials.set_index("number")["macs"][knee_number(results)], rel=1e-4)


def test_hover_tells_the_network() -> None:
    results = made_up(40)
    made = trace(front_figure(results), "front")
    number = made.customdata[0]
    trial = results.trials.set_index("number").loc[number]
    assert f"trial {number}<" in made.text[0]
    assert f"{trial['accuracy']:.4f}" in made.text[0]
    assert "MACs" in made.text[0]
    assert "params" in made.text[0]
    assert "8 epochs" in made.text[0]


def test_hover_and_axis_texts_are_escaped() -> None:
    results = made_up(30)
    trials = results.trials.assign(architecture="<b>bold</b><a href='x'>y</a>")
    trials = trials.rename(columns={"gate": "<i>gate</i>"})
    trials["block"] = trials["block"].map(lambda b: f"<u>{b}</u>")
    axes = tuple("<i>gate</i>" if axis == "gate" else axis for axis in AXES)
    hostile = replace(results, trials=trials, axes=axes)
    for made in (front_figure(hostile), effects_figure(hostile), importance_figure(importance(hostile))):
        text = made.to_json().replace("\\u003c", "<")
        assert not any(tag in text for tag in ("<b>bold", "<a href", "<i>", "<u>"))


def test_running_hypervolume_ends_at_the_fronts() -> None:
    results = made_up(40)
    shares = running_hypervolume(results)
    assert len(shares) == len(results.complete())
    assert all(b >= a - 1e-12 for a, b in pairwise(shares))
    complete = results.complete()
    logs = np.log10(complete["macs"].to_numpy(dtype=float))
    worst = logs.max() + 0.05 * (logs.max() - logs.min())
    whole = hypervolume(list(zip(complete["accuracy"], logs, strict=True)), ["max", "min"], [0.1, worst])
    assert shares[-1] == pytest.approx(whole / (0.9 * (worst - logs.min())))


def test_residual_has_no_trend_left() -> None:
    trials = residuals(made_up(200))
    assert abs(np.corrcoef(np.log(trials["macs"]), trials["residual"])[0, 1]) < 0.02
    assert abs(trials["residual"].mean()) < 1e-9


def test_importance_finds_the_axis_that_helps() -> None:
    table = importance(made_up(80))
    assert table["axis"].iloc[0] == "se_ratio"
    assert table["importance"].iloc[0] > 3 * table["importance"].iloc[1]
    assert (table["spread"] >= 0).all()
    assert 0.3 < table.attrs["r2"] <= 1


def test_importance_says_when_there_is_too_little() -> None:
    table = importance(made_up(12))
    assert table.empty
    assert "at least 15" in table.attrs["note"]


def test_importance_of_noise_is_not_believed() -> None:
    results = made_up(60)
    noise = np.random.default_rng(1).normal(0.5, 0.1, len(results.trials))
    table = importance(replace(results, trials=results.trials.assign(accuracy=noise)))
    assert table.attrs["r2"] < 0.2
    assert (table["importance"] < 0.5).all()


def test_constant_accuracy_is_no_explanation() -> None:
    results = made_up(60)
    table = importance(replace(results, trials=results.trials.assign(accuracy=0.5)))
    assert table.empty
    assert "nothing to explain" in table.attrs["note"]


def test_empty_studies_say_what_to_do() -> None:
    assert "nas run" in empty_text(empty())
    failed = only("FAILED")
    assert empty_text(failed).endswith(f" failed; nas status {failed.study} says why.")
    assert "goes on" in empty_text(only("RUNNING"))


def test_missing_columns_are_read_as_empty() -> None:
    results = empty(trials=pd.DataFrame({"number": [0], "state": ["WAITING"]}))
    assert set(COLUMNS) <= set(results.trials.columns)
    assert front(results).empty
