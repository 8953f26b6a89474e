"""What makes every test safe: a cache of this session's own, one thread, no proxy, and nothing of the user's.

A search in a test uses decoded data that the session keeps; what a test folder needs besides stands in its own
conftest.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator

import pytest

_cache = tempfile.mkdtemp(prefix="nas-test-cache-")
os.environ["NAS_CACHE"] = _cache
os.environ["OMP_NUM_THREADS"] = "1"         # before torch is imported: oversubscribed, training crawls
os.environ.setdefault("RAY_DEDUP_LOGS", "0")
for _name in ("NAS_DATA", "NAS_MIRROR", "NAS_ARCHIVE_BYTES", "FORCE_COLOR", "TTY_COMPATIBLE"):
    os.environ.pop(_name, None)


def pytest_unconfigure() -> None:
    shutil.rmtree(_cache, ignore_errors=True)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A test that sets torch's threads does not leave them so."""
    yield
    if "torch" in sys.modules:
        import torch

        if torch.get_num_threads() != 1:
            torch.set_num_threads(1)
