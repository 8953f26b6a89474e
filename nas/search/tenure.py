"""The time in which a process drives a study: it takes the study's lease, renews it, and gives it back.

A thread renews the lease, also while the driver waits for an epoch, and hears whether the study is to stop. A process
that was stopped for longer than its lease finds on waking that the lease is another's; the ledger refuses its writes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nas.errors import NasError
from nas.store import Ledger
from nas.store.lease import SECONDS

log = logging.getLogger("nas")

_BEAT = 2.0         # seconds between looks at the lease, at most


class Tenure:
    """A held lease. `end` is called, from another thread, once the study is to stop or the lease is lost."""

    def __init__(self, ledger: Ledger, study: str, seconds: float):
        self.ledger, self.study, self.seconds = ledger, study, seconds
        self.end: Callable[[], None] = lambda: None
        self.asked = False          # to stop
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def _keep(self) -> None:
        beat = min(_BEAT, self.seconds / 8)
        since = 0.0
        while not self._over.wait(beat):
            since += beat
            try:
                holder = self.ledger.holder(self.study)
                if holder is not None and holder.stop:
                    self.asked = True
                    self.end()      # at every beat: the first may come before there is a driver to hear it
                if since >= self.seconds / 4:
                    since = 0.0
                    if not self.ledger.renew_lease(self.study, self.seconds):
                        log.error("the lease of study %s is lost", self.study)
                        self.end()
                        return
            except NasError as error:       # the driver's own writes will say so
                log.warning("the lease of study %s could not be renewed: %s", self.study, str(error))


@contextmanager
def tenure(ledger: Ledger, study: str, seconds: float = SECONDS) -> Iterator[Tenure]:
    """Drive `study` inside. Raises `LeaseHeld` where another living driver has it."""
    ledger.take_lease(study, seconds)
    held = Tenure(ledger, study, seconds)
    held._thread.start()
    try:
        yield held
    finally:
        held._over.set()
        held._thread.join(timeout=seconds)
        ledger.give_back_lease(study)
