"""The in-process executor: one training after the other, without Ray. For tests, debugging and small machines."""

from __future__ import annotations

from nas.evaluation import Evaluator
from nas.search.driver import Driver
from nas.search.guard import guarded, log_traceback


def run_local(driver: Driver, evaluate: Evaluator) -> None:
    """Run `driver`'s study here until it is finished. Ctrl-C leaves through KeyboardInterrupt."""
    while (job := driver.next_job()) is not None:
        for progress, trace in guarded(evaluate, job):
            log_traceback(job.number, trace)
            if not driver.report(job.number, progress):
                break
