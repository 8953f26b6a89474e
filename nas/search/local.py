"""The in-process executor: one training after the other, without Ray. For tests, debugging and small machines."""

from __future__ import annotations

import time

from nas.evaluation import Evaluator
from nas.search.driver import Driver
from nas.search.guard import guarded, log_traceback

_WAIT = 0.2     # seconds


def run_local(driver: Driver, evaluate: Evaluator) -> None:
    """Run `driver`'s study here until it is finished. Ctrl-C leaves through KeyboardInterrupt."""
    while (job := driver.next_job()) is not None or driver.awaiting:
        if job is None:
            time.sleep(_WAIT)
            continue
        for progress, trace in guarded(evaluate, job):
            log_traceback(job.number, trace)
            if not driver.report(job.number, progress):
                break
