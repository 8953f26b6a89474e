"""Every test of the data room has a cache of its own and nothing from the environment."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, outside of `tmp_path`."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("NAS_CACHE", str(folder))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("NAS_DATA", "NAS_MIRROR", "NAS_ARCHIVE_BYTES"):
        monkeypatch.delenv(name, raising=False)
    return folder
