"""One small study, trained once: complete trials with weights, pruned ones without."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.search.run import run
from nas.study import study_from_text

STUDY = """
name: tiny
network:
  stem: {kind: conv3x3, width: 8}
  stages: 2
  block: bottleneck
  depth: {per_stage: [1, 2]}
  width: {first: [6, 8], growth: 2}
  bottleneck_ratio: [0.5, 1.0]
  cardinality: [1, 2]
  residual_scaling: {from: 0.5, to: 1.0, log: true}
  gate: [none, highway]
  se_ratio: [0, 1/4]
rules:
  - when: {gate: highway}
    set: {residual_scaling: 1.0}
data: {source: digits, train: 500}
recipe: {epochs: 2, precision: float32, batch_size: 16}
search: {sampler: random, executor: local, early_stopping: {kind: halving, first: 1, eta: 2}}
budget: {trials: 6}
seed: 3
"""


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory):
    """The study in a home of its own. Not to be changed."""
    home: Path = tmp_path_factory.mktemp("studies")
    return run(study_from_text(STUDY), home=home).stored
