"""What `nas bench` measures, as ratios or rates of one run on this machine.

cost: points to exact costs. train: our trainer against a plain float32 loop of the same network. overhead: what a
trial costs beside its training, through Ray, with a trial that does nothing. scale: what it costs late in a long
search of a thousand workers. recipe: the learning curve of our final recipe against He et al.'s in plain torch.
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nas.architecture import Architecture, Stage
from nas.errors import NasError
from nas.evaluation import Job, Progress
from nas.network import TableRow
from nas.nodes import Cost

if TYPE_CHECKING:
    from nas.knobs import Value
    from nas.simulation import Table
    from nas.store import Ledger
    from nas.study import Study
    from nas.train.curves import Pair

Say = Callable[[str], None]
Figures = dict[str, float]

_SPACE = """
name: bench
network:
  stages: 3
  block: bottleneck
  depth: {per_stage: {from: 1, to: 4}}
  width: {per_stage: [16, 32, 48, 64, 96, 128]}
  cardinality: [1, 2, 4, 8]
  bottleneck_ratio: [0.25, 0.5, 1.0]
  shortcut_depth: [3, 4]
  residual_scaling: {from: 0.1, to: 1.0, log: true}
  gate: [none, transform]
  se_ratio: [0, 1/16, 1/4]
limits: {macs: {to: 1G}}
"""


def bench_cost(say: Say, trials: int) -> Figures:
    """Architectures a second on one core, from point to exact params, MACs and activations."""
    from nas.study import study_from_text

    space = study_from_text(_SPACE).space
    rng = random.Random(0)
    points = [space.sample(rng) for _ in range(20_000)]
    rates = []
    for start in range(0, len(points), 4000):
        part = points[start:start + 4000]
        started = time.perf_counter()
        for point in part:
            space.judge(point, (3, 32, 32), 10)
        rates.append(len(part) / (time.perf_counter() - started))
    say("from point to exact params, MACs and activations, points not seen before, five rounds")
    return {"architectures_per_second": statistics.median(rates), "architectures_per_second_low": min(rates),
            "architectures_per_second_high": max(rates)}


def bench_train(say: Say, trials: int) -> Figures:
    """Images a second of our trainer against a plain float32 loop of the same network, for five networks."""
    from nas.model import build
    from nas.plan import plan
    from nas.train import choose, set_threads, summary
    from nas.train.bench import train_throughput

    threads = set_threads(1)
    numerics = choose("auto", "auto", threads)
    say(f"{numerics.device}: {summary(numerics, threads)}")
    shape = (3, 16, 16)
    networks = {name: (lambda a=a: build(plan(a, shape, 10), seed=0)) for name, a in _NETWORKS.items()}
    found = train_throughput(networks, numerics, channels=3, resolution=16, classes=10, batch_size=64)
    figures: Figures = {}
    for name, throughput in found.items():
        figures |= throughput.figures(name)
    return figures


def _network(block: str, cardinality: int = 1, ratio: float = 0.5, se: float = 0.0, depth: int = 1) -> Architecture:
    spans = 2 if block == "basic" else 3
    stages = tuple(Stage(depth, width, block=block, bottleneck_ratio=ratio, cardinality=cardinality,
                         shortcut_depth=spans, se_ratio=se) for width in (32, 64, 128))
    return Architecture(stages)


_NETWORKS = {
    "basic": _network("basic"),
    "basic_deep": _network("basic", depth=2),
    "grouped_8": _network("bottleneck", 8, 1.0),
    "grouped_16": _network("bottleneck", 16, 1.0, depth=2),
    "grouped_4_se": _network("bottleneck", 4, 1.0, se=0.25),
}


def nothing(job: Job) -> Iterator[Progress]:
    """An evaluator that does nothing: one epoch, an accuracy made up from the job's number."""
    accuracy = 0.5 + 0.4 * random.Random(job.number).random()
    yield Progress(1, 1.0, 1.0, accuracy, 0.0, done=True, device="nothing")


def bench_overhead(say: Say, trials: int) -> Figures:
    """Seconds a trial that are not training, through Ray, after start-up, and whether they grow."""
    from nas.search.driver import Driver
    from nas.search.run import Silent, run
    from nas.store import EpochRecord, TrialRecord
    from nas.study import study_from_text

    ends: list[float] = []

    class Clock(Silent):
        def trial(self, driver: Driver, trial: TrialRecord) -> None:
            ends.append(time.perf_counter())

        def epoch(self, driver: Driver, trial: TrialRecord, epoch: EpochRecord) -> None: ...

    study = study_from_text(_SPACE + "recipe: {epochs: 1}\nsearch: {workers: 2, sampler: random}\n"
                            f"budget: {{trials: {trials}}}\n")
    with tempfile.TemporaryDirectory(prefix="nas-bench-") as folder:
        run(study, home=Path(folder), view=Clock(), evaluate=nothing)
    gaps = [after - before for before, after in itertools.pairwise(ends)]
    quarter = max(1, len(gaps) // 4)
    first, last = statistics.mean(gaps[:quarter]), statistics.mean(gaps[-quarter:])
    say(f"{trials} trials of one epoch that do nothing, on two Ray workers, random sampler, SQLite")
    return {"seconds_per_trial": statistics.mean(gaps), "seconds_per_trial_first_quarter": first,
            "seconds_per_trial_last_quarter": last, "growth": last / first}


def bench_scale(say: Say, trials: int) -> Figures:
    """Milliseconds of an ask and of a report in a long search of many workers, simulated, on SQLite; and memory."""
    from nas.store import Ledger

    with tempfile.TemporaryDirectory(prefix="nas-bench-") as folder, \
            Ledger.open(f"sqlite:///{folder}/nas.db") as ledger:
        say(f"{trials} simulated trials of 9 epochs on 1,000 virtual workers, NSGA-II, halving, SQLite")
        return scale(ledger, trials)


def scale(ledger: Ledger, trials: int) -> Figures:
    """Those of `bench_scale`, on a database without studies."""
    import resource

    from nas.simulation.many import simulate_once
    from nas.simulation.setup import setup_of

    setup = setup_of(_table(), ["nsga2"], ["halving"], 1, trials, 1000, epochs=9)
    figures: Figures = {}
    asks: list[float] = []
    reports: list[float] = []
    simulate_once(setup, "nsga2", "halving", 0, ledger, timed=(asks, reports))
    for name, times in (("ask", asks), ("report", reports)):
        last = sorted(times[-max(20, len(times) // 10):])
        figures[f"{name}_ms_p95_at_the_end"] = 1000 * last[int(0.95 * (len(last) - 1))]
        figures[f"{name}_ms_median"] = 1000 * statistics.median(times)
    figures["resident_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return figures


def bench_recipe(study: Study, seeds: int, say: Say) -> list[list[Pair]]:
    """For each seed the learning curves of the study's recipe and of He et al.'s, on its one network and its data.

    say: is told every epoch's figures. Raises `NasError` where the study is of several networks.
    """
    from nas.data import load
    from nas.model import build
    from nas.plan import plan
    from nas.search.run import data_line
    from nas.train import choose, set_threads
    from nas.train.curves import curves

    if study.space.axes:
        raise NasError(f"--network: {study.name}: is a space of several networks; give one network or its name")
    with study.blamed():
        dataset = load(study.data, say)
    numerics, info = choose(study.recipe.precision, "auto", set_threads(1)), dataset.info
    described = plan(study.space.decode({}), (info.channels, info.resolution, info.resolution), info.n_classes)
    say(f"{study.name} on {data_line(dataset)}; ours in {numerics}; ratios are ours over He et al.'s")
    found: list[list[Pair]] = []
    for seed in range(seeds):
        found.append([])
        for pair in curves(partial(build, described, seed=seed), dataset, study.recipe, seed=seed, numerics=numerics):
            found[-1].append(pair)
            row = row_of([pair])
            say(f"seed {seed} epoch {len(found[-1]):>2}  error {row['error']:.4f} / {row['he_error']:.4f} = "
                f"{row['error_ratio']:.2f}  seconds {row['seconds']:.1f} / {row['he_seconds']:.1f} = "
                f"{row['seconds_ratio']:.2f}")
    return found


def row_of(pairs: Sequence[Pair]) -> Figures:
    """One epoch over seeds: means of errors in [0, 1] and of seconds, their ratios, standard deviations of errors."""
    row: Figures = {}
    for name in ("error", "seconds"):
        ours, theirs = ([getattr(pair, prefix + name) for pair in pairs] for prefix in ("", "plain_"))
        row |= {name: statistics.fmean(ours), f"he_{name}": statistics.fmean(theirs)}
        row[f"{name}_ratio"] = row[name] / row[f"he_{name}"] if row[f"he_{name}"] else math.nan
        if name == "error" and len(pairs) > 1:
            row |= {"error_spread": statistics.stdev(ours), "he_error_spread": statistics.stdev(theirs)}
    return row


def _table() -> Table:
    """59,049 made-up networks: ten axes of three values."""
    from nas.simulation.table import Row, Table, table_axes

    rng = random.Random(0)
    names = [f"axis{number}" for number in range(10)]
    rows: dict[tuple[Value, ...], Row] = {}
    for values in itertools.product((0, 1, 2), repeat=10):
        macs = 10_000 * math.prod(1 + value for value in values[:5])
        accuracy = min(0.99, 0.3 + 0.04 * math.log(macs / 10_000) + 0.02 * sum(values[5:]) / 5 + rng.gauss(0, 0.01))
        place = TableRow(tuple(zip(names, values, strict=True)))
        rows[values] = Row(place, Cost(params=macs, macs=macs, activations=1), ((1, accuracy),), None, None)
    return Table("made up", table_axes(names, list(rows)), rows, 1)


BENCHMARKS: dict[str, Callable[[Say, int], Figures]] = {
    "cost": bench_cost, "train": bench_train, "overhead": bench_overhead, "scale": bench_scale,
}
