"""The in-process executor: one training after the other, without Ray. For tests, debugging and small machines."""

from __future__ import annotations

from nas.evaluation import Evaluator
from nas.search.driver import Driver


def run_local(driver: Driver, evaluate: Evaluator) -> None:
    """Run `driver`'s study here until it is finished. Ctrl-C leaves through KeyboardInterrupt."""
    while (job := driver.next_job()) is not None:
        for progress in evaluate(job):
            if not driver.report(job.number, progress):
                break
