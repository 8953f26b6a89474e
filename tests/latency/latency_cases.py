"""A tiny space, a machine whose law of times is known, and the table that is fitted to it."""

from __future__ import annotations

import random

from nas.latency.fitting import make_table
from nas.latency.records import Setting
from nas.latency.rounds import Rounds
from nas.latency.table import Table
from nas.measure import processor, torch_version
from nas.nodes import Conv, Node, Norm, Sequence
from nas.study import Study, study_from_text

SPACE = """
name: timed
network:
  stem: {kind: conv3x3, width: 8}
  stages: 2
  block: bottleneck
  depth: {per_stage: [1, 2, 3, 4]}
  width: {first: [16, 32, 64], growth: 2}
  kernel: [3, 5]
  cardinality: [1, 4]
  se_ratio: [0, 1/4]
"""
SHAPE, CLASSES = (1, 8, 8), 10
HERE = Setting("cpu", 1, 1, processor(), processor(), torch_version())


def law(node: Node) -> float:
    """Milliseconds of a network on a machine where a call costs, a grouped convolution does badly, and 5x5 well."""
    own = 0.0
    if isinstance(node, Conv):
        a_million = 2.0 if node.groups > 1 else 0.1 if node.kernel == 5 else 0.3
        own = 0.010 + a_million * node.own.macs / 1e6
    if isinstance(node, Norm):
        own = 0.004
    return own + sum(law(part) for _, part in node.parts)


class Timer:
    """The law with a spread of `noise`; the calls whose numbers are in `bursts` take three times as long."""

    def __init__(self, noise: float = 0.01, bursts: range = range(0)):
        self.noise, self.bursts, self.calls, self.rng = noise, bursts, 0, random.Random(0)

    def __call__(self, plan: Sequence) -> Rounds:
        disturbed = self.calls in self.bursts
        self.calls += 1
        seconds = (0.05 + law(plan)) / 1000 * (1 + self.rng.gauss(0, self.noise)) * (3 if disturbed else 1)
        return Rounds((seconds,) * 20, True, 1.9 if disturbed else 0.0, 1)


def timed_study(text: str = "") -> Study:
    return study_from_text(SPACE + text)


def table(study: Study | None = None, timer: Timer | None = None, points: int = 60) -> Table:
    return make_table(study or timed_study(), SHAPE, CLASSES, HERE, points, timer or Timer())
