"""A confirmation in a process of its own, to be killed: `killed_main.py HOME LOG`, which gets a line a training."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from confirm_cases import Formula

from nas.confirm import confirm, confirmation
from nas.evaluation import Job, Progress


class Slow(Formula):
    """Epochs that take a while."""

    def __init__(self, log: Path):
        super().__init__()
        self.log = log

    def __call__(self, job: Job) -> Iterator[Progress]:
        with self.log.open("a") as file:
            file.write(json.dumps([job.architecture.id, job.seed]) + "\n")
        for progress in super().__call__(job):
            time.sleep(0.03)
            yield progress


if __name__ == "__main__":
    home, log = map(Path, sys.argv[1:])
    confirm(confirmation("found", home=home, top=5, seeds=3), home=home, evaluate=Slow(log))
