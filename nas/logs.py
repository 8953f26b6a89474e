"""The log of a study: studies/NAME/nas.log. What people see on the terminal is `nas.cli`'s."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path


class _Handler(logging.FileHandler):
    """Makes the folder with the first line: a run that is refused leaves none behind."""

    def _open(self) -> TextIOWrapper:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return super()._open()

    def handleError(self, record: logging.LogRecord) -> None:
        """Nothing: the run itself says that the folder cannot be written."""


@contextmanager
def log_to(folder: Path) -> Iterator[None]:
    """Keep what the package logs in `folder`/nas.log, tracebacks of unexpected errors included."""
    log = logging.getLogger("nas")
    handler = _Handler(folder / "nas.log", encoding="utf-8", delay=True)
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
