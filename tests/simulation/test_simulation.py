"""Simulated searches: tables, the virtual clock, and figures that can be checked by hand."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from nas.errors import NasError
from nas.simulation import Setup, Table, read_table, simulate
from nas.simulation.many import Volume, simulate_once, whole_front
from nas.simulation.setup import setup_of
from nas.simulation.showing import write_simulation
from nas.simulation.virtual import Lookup
from nas.store import Ledger, State

MACRO = Path(__file__).parents[3] / "shared" / "data" / "nas_bench_macro.csv"
EPOCHS = 9


def small(folder: Path, curves: bool = True, seconds: bool = True) -> Path:
    """A table of 3 x 4 x 2 networks: accuracy grows with log MACs, and a word on the third axis adds to it."""
    rng = random.Random(1)
    levels = [f"accuracy@{epoch}" for epoch in (1, 3, EPOCHS)] if curves else ["accuracy"]
    lines = [",".join(["name", "depth", "width", "gate", "macs", "params", *levels, *(["seconds"] if seconds else [])])]
    for number, (depth, width, gate) in enumerate(itertools.product((1, 2, 3), (8, 16, 32, 64), ("none", "highway"))):
        final = 0.4 + 0.05 * (depth + width.bit_length()) + 0.02 * (gate == "highway") + rng.uniform(-0.02, 0.02)
        found = [round(final * share, 4) for share in ((0.5, 0.8, 1.0) if curves else (1.0,))]
        macs = depth * width * width * 100
        lines.append(",".join(map(str, [f"net-{number}", depth, width, gate, macs, macs // 10, *found,
                                        *([macs / 1000] if seconds else [])])))
    path = folder / "small.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def setup(table: Table, samplers: str = "random", stoppings: str = "none", trials: int = 24, workers: int = 1,
          seeds: int = 1, overrides: tuple[str, ...] = ()) -> Setup:
    return setup_of(table, samplers.split(","), stoppings.split(","), seeds, trials, workers, None, None, overrides)


def test_a_table_is_read(tmp_path: Path) -> None:
    table = read_table(small(tmp_path))
    assert [axis.name for axis in table.axes] == ["depth", "width", "gate"]
    assert [axis.domain.values for axis in table.axes] == [(1, 2, 3), (8, 16, 32, 64), ("highway", "none")]
    assert (len(table.rows), table.epochs, table.complete) == (24, EPOCHS, True)
    row = table.rows[2, 16, "none"]
    assert row.cost.macs == 51_200
    assert row.seconds == 51.2
    assert [epoch for epoch, _ in row.curve] == [1, 3, 9]


@pytest.mark.skipif(not MACRO.exists(), reason=f"{MACRO} is not there")
def test_a_published_table_is_read_as_it_is() -> None:
    table = read_table(MACRO)
    assert [axis.name for axis in table.axes] == [f"layer{n}" for n in range(8)]
    assert (len(table.rows), table.epochs, table.complete) == (6561, 1, True)
    row = table.rows[0, 2, 0, 1, 2, 1, 0, 0]
    assert (row.cost.macs, row.cost.params, row.accuracy) == (47_327_744, 890_666, pytest.approx(0.8919666544596355))


@pytest.mark.parametrize(("change", "said"), [
    (("macs", "size"), r"small\.csv:1: no column is macs; name one macs \(known: macs, flops, madds, mult_adds\)"),
    (("name,depth", "depth,depth"), r"small\.csv:1: column depth is there twice"),
    (("net-3,1,16", "net-3,1,8"), r"small\.csv:5: depth=1 width=8 gate=highway: the same network as in line 3"),
    (("net-2,1,16,none,25600", "net-2,1,16,none,many"), r"small\.csv:4: macs: many: must be a number; mend it"),
    (("net-2,1,16,none,25600", "net-2,1,16,none,0"), r"small\.csv:4: macs 0 must be at least 1; mend it"),
    (("net-2,1,16,none", "net-2,1,16"), r"small\.csv:4: 9 cells under 10 columns; mend the line"),
])
def test_mistakes_in_a_table_are_one_line(change: tuple[str, str], said: str, tmp_path: Path) -> None:
    path = small(tmp_path)
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(*change, 1))
    with pytest.raises(NasError, match=said) as caught:
        read_table(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "a,b\n", "\x00\x01", "macs,accuracy\n1,1\n"])
def test_what_is_no_table(text: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(NasError, match=r"t\.csv"):
        read_table(path)


def test_percent_and_shares_are_the_same(tmp_path: Path) -> None:
    path = small(tmp_path, curves=False)
    table = read_table(path)
    lines = [line.split(",") for line in path.read_text().splitlines()]
    for cells in lines[1:]:
        cells[6] = f"{float(cells[6]) * 100:.6f}"
    path.write_text("\n".join(",".join(cells) for cells in lines))
    for key, row in read_table(path).rows.items():
        assert row.accuracy == pytest.approx(table.rows[key].accuracy, abs=1e-9)


@pytest.mark.parametrize("workers", [1, 3, 24])
def test_time_is_the_longest_worker_s(workers: int, tmp_path: Path) -> None:
    """All of the table: the whole hypervolume, the work of all rows, and no worker idle before the last jobs."""
    table = read_table(small(tmp_path))
    trace = simulate_once(setup(table, "grid", workers=workers), "grid", "none", 0)
    seconds = [row.seconds or 0.0 for row in table.rows.values()]
    assert trace.trials == 24
    assert trace.states == {"COMPLETE": 24}
    assert trace.work == pytest.approx(sum(seconds))
    assert max(sum(seconds) / workers, max(seconds)) <= trace.end + 1e-6
    assert trace.end <= sum(seconds) / workers + max(seconds) + 1e-6
    assert trace.shares[-1] == pytest.approx(1.0)
    assert list(trace.shares) == sorted(trace.shares)
    assert list(trace.times) == sorted(trace.times)


def test_hypervolume_is_what_it_is_by_hand(tmp_path: Path) -> None:
    import math

    table = read_table(small(tmp_path))
    made = replace(setup(table), reference=(0.0, 2_000_000.0))
    front = sorted((row.cost.macs, row.accuracy) for row in whole_front(table, made.study.objectives))
    costs = [math.log(cost) for cost, _ in front] + [math.log(2_000_000)]
    whole = sum(accuracy * (costs[i + 1] - costs[i]) for i, (_, accuracy) in enumerate(front))
    volume = Volume(made)
    assert volume.whole == pytest.approx(whole)
    cost, accuracy = front[2]
    assert volume.share([(accuracy, cost)]) == pytest.approx(accuracy * (math.log(2e6) - math.log(cost)) / whole)


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_the_same_seed_gives_the_same_search(sampler: str, tmp_path: Path) -> None:
    made = setup(read_table(small(tmp_path)), sampler, "halving", trials=16, workers=4)
    first, again = (simulate_once(made, sampler, "halving", 3) for _ in range(2))
    assert first == again
    assert first != simulate_once(made, sampler, "halving", 4)


def test_early_stopping_saves_and_leaves_nothing_partial_on_a_front(tmp_path: Path) -> None:
    made = setup(read_table(small(tmp_path)), "random", "halving,none", trials=20, workers=4, seeds=5,
                 overrides=("search.early_stopping.first=1",))
    result = simulate(made, processes=1)
    stopped, whole = (result.figures()[index] for index in (0, 1))
    assert stopped["early_stopping"] == "halving"
    assert stopped["partial_on_front"] == whole["partial_on_front"] == 0
    assert stopped["states"]["PRUNED"] > 0
    assert stopped["work"] < 0.85 * whole["work"]


@pytest.mark.skipif(not MACRO.exists(), reason=f"{MACRO} is not there")
@pytest.mark.parametrize(("seeds", "trials"), [
    pytest.param(1, 80, marks=pytest.mark.slow),
    pytest.param(20, 200, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def test_a_published_table_leaves_nothing_partial_on_a_front(seeds: int, trials: int) -> None:
    """Eight asynchronous workers, with and without early stopping; the same seeds give the same searches."""
    made = setup_of(read_table(MACRO), ["tpe", "nsga2", "random"], ["halving", "none"], seeds, trials, 8, 27)
    result, again = (simulate(made, processes=2).figures() for _ in range(2))
    assert result == again
    assert all(figures["partial_on_front"] == 0 for figures in result)
    for sampler in ("tpe", "nsga2", "random"):
        work = {figures["early_stopping"]: figures["work"] for figures in result if figures["sampler"] == sampler}
        assert work["halving"] < 0.6 * work["none"]


def test_a_promoted_network_does_not_pay_for_its_first_epochs_again(tmp_path: Path) -> None:
    table = read_table(small(tmp_path))
    with Ledger.in_memory() as ledger:
        made = setup(table, trials=24, overrides=("search.early_stopping.first=1",))
        trace = simulate_once(made, "random", "halving", 0, ledger)
        epochs = {t.number: len(ledger.epochs("simulation")[t.number]) for t in ledger.trials("simulation")}
        cost = sum((table.rows[tuple(t.point.values())].seconds or 0) * epochs[t.number] / EPOCHS
                   for t in ledger.trials("simulation"))
        assert {t.state for t in ledger.trials("simulation")} == {State.COMPLETE, State.PRUNED}
    assert trace.end == pytest.approx(cost), "one worker, always busy, with nothing twice"


def test_made_up_curves_rank_as_they_say(tmp_path: Path) -> None:
    rng = random.Random(0)
    path = tmp_path / "many.csv"
    rows = [f"{a},{b},{1000 + a + 40 * b},{0.3 + 0.01 * a + rng.gauss(0, 0.05):.5f}"
            for a in range(40) for b in range(20)]
    path.write_text("a,b,macs,accuracy\n" + "\n".join(rows))
    table = read_table(path)
    lookup = Lookup(table, epochs=12, early_rank=0.9)
    found = list(table.rows.values())
    import numpy as np

    def ranks(values: list[float]) -> np.ndarray:
        return np.argsort(np.argsort(values))

    final = ranks([row.accuracy for row in found])
    early = ranks([lookup._accuracy(row, 3, 12) for row in found])
    assert np.corrcoef(final, early)[0, 1] == pytest.approx(0.9, abs=0.03)
    assert [lookup._accuracy(row, 12, 12) for row in found] == [row.accuracy for row in found]


def test_a_table_with_gaps_is_searched_row_by_row(tmp_path: Path) -> None:
    path = small(tmp_path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *lines[1::2], lines[2]]))
    table = read_table(path)
    assert not table.complete
    for sampler in ("random", "tpe", "grid"):
        trace = simulate_once(setup(table, sampler, trials=13), sampler, "none", 0)
        assert trace.states == {"COMPLETE": 13}
        assert trace.shares[-1] == pytest.approx(1.0)


@pytest.mark.parametrize(("words", "said"), [
    ({"samplers": ["magic"]}, "--samplers: magic: is not known"),
    ({"samplers": []}, "--samplers: is empty"),
    ({"stoppings": ["never"]}, "--early-stopping: never: is not known"),
    ({"samplers": ["cmaes"]}, "--samplers: cmaes: serves one objective alone"),
    ({"reference": "accuracy=2"}, "no network of the table is better"),
    ({"reference": "size=2"}, "--reference: size=2: must be accuracy=A and COST=C"),
    ({"reference": "macs=much"}, "--reference macs: much: must be"),
    ({"overrides": ["objectives={accuracy: max, latency_ms: min}"]}, "has no latency_ms"),
    ({"overrides": ["search.early_stopping.eta=0"]}, "search.early_stopping.eta"),
])
def test_mistakes_in_what_is_asked_for(words: dict[str, object], said: str, tmp_path: Path) -> None:
    given = {"samplers": ["random"], "stoppings": ["none"], "seeds": 1, "trials": 5, "workers": 1, **words}
    with pytest.raises(NasError) as caught:
        setup_of(read_table(small(tmp_path)), **given)  # type: ignore[arg-type]
    assert said in str(caught.value)


@pytest.mark.slow
def test_many_processes_give_what_one_gives(tmp_path: Path) -> None:
    made = setup(read_table(small(tmp_path)), "random,nsga2", trials=12, workers=2, seeds=2)
    assert simulate(made, 2).traces == simulate(made, 1).traces


def test_the_page_and_the_figures(tmp_path: Path) -> None:
    result = simulate(setup(read_table(small(tmp_path)), "random,qmc", "halving,none", trials=12, seeds=3), 1)
    page = write_simulation(result, tmp_path / "out")
    assert page.stat().st_size > 1_000_000, "Plotly comes along"
    figures = json.loads((tmp_path / "out" / "simulation.json").read_text())
    assert [(f["sampler"], f["early_stopping"]) for f in figures["figures"]] == [
        ("random", "halving"), ("random", "none"), ("qmc", "halving"), ("qmc", "none")]
    last = figures["figures"][1]["hypervolume"]["12"]
    assert 0 < last["low"] <= last["median"] <= last["high"] <= 1
