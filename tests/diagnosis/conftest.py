"""One small study, trained once, and an export of it, in a working folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from nas.export import export
from nas.search.run import run
from nas.study import study_from_text

STUDY = """
name: tiny
network:
  stem: {kind: conv3x3, width: 8}
  stages: 2
  depth: 3
  width: {first: 8, growth: 2}
  gate: [none, highway]
  se_ratio: 1/4
data: {source: digits, train: 500}
recipe: {epochs: 3, precision: float32, batch_size: 16}
search: {sampler: random, executor: local, early_stopping: none, keep: all}
budget: {trials: 2}
seed: 3
"""


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with `studies/`, in it the study tiny, and in `out/net` an export of its best trial."""
    folder = tmp_path_factory.mktemp("work")
    with contextlib.chdir(folder):
        stored = run(study_from_text(STUDY)).stored
        best = max(stored.records, key=lambda number: stored.records[number].accuracy or 0)
        export(stored, best, Path("out/net"), formats=())
    return folder


@pytest.fixture
def in_work(work: Path) -> Iterator[Path]:
    """Within that folder."""
    with contextlib.chdir(work):
        yield work
