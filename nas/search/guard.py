"""Between an executor and an evaluator: whatever goes wrong in one training ends that training and not the search."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Generator

from nas.errors import DiskFull, NasError, disk_full
from nas.evaluation import Evaluator, Job, Progress

log = logging.getLogger("nas")


def guarded(evaluate: Evaluator, job: Job) -> Generator[tuple[Progress, str], None, None]:
    """What `evaluate` gives, an epoch at a time, and always an end: an exception becomes a failure with its traceback.

    What the user can mend (`NasError`, a full disk) would fail every training alike: a `mistake`.
    """
    epoch = 0
    try:
        for progress in evaluate(job):
            epoch = progress.epoch
            yield progress, ""
            if progress.done or progress.failure:
                return
    except Exception as error:
        full = disk_full(error) if isinstance(error, OSError) else error if isinstance(error, DiskFull) else None
        if full is not None or isinstance(error, NasError):
            yield Progress(epoch + 1, failure=str(full or error), mistake=True, disk_full=full is not None), ""
            return
        what = (str(error).splitlines() or [""])[0][:200]
        yield Progress(epoch + 1, failure=f"{type(error).__name__}: {what}; traceback in the log"), \
            traceback.format_exc()
        return
    yield Progress(epoch + 1, failure=f"the training ended after epoch {epoch} of {job.epochs}, without a result"), ""


def log_traceback(number: int, text: str) -> None:
    """Keep the traceback of a trial, where there is one."""
    if text:
        log.error("trial %d failed unexpectedly\n%s", number, text)
