"""The log of a study: studies/NAME/nas.log. What people see on the terminal is `nas.cli`'s."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def log_to(folder: Path) -> Iterator[None]:
    """Keep what the package logs in `folder`/nas.log, tracebacks of unexpected errors included."""
    log = logging.getLogger("nas")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handler: logging.Handler = logging.FileHandler(folder / "nas.log", encoding="utf-8", delay=True)
    except OSError:
        handler = logging.NullHandler()     # the run itself says that the folder cannot be written
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    tune = logging.getLogger("ray.tune")        # what Tune has to say belongs there too, not between our lines
    tune.addHandler(handler)
    tune.propagate = False
    try:
        yield
    finally:
        tune.removeHandler(handler)
        tune.propagate = True
        log.removeHandler(handler)
        handler.close()
