"""Files of the named data sets: a copy that is already there, else a download through pooch, always by
SHA-256.

Looked for, in this order: the folder of the environment's NAS_DATA (as SOURCE/FILE or FILE), the cache, the
mirror of the environment's NAS_MIRROR (a base URL that has SOURCE/FILE), the addresses of the registry. What
is in the files is not known here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from nas.data import cache
from nas.data.values import Progress
from nas.errors import NasError, one_line

TIMEOUT = (10, 60)
"""Seconds to connect, and to wait for the next bytes."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A file of a data set: its name, its SHA-256, and the folders (URLs that end in `/`) that have it."""

    name: str
    sha256: str
    folders: tuple[str, ...]


def fetch(source: str, remote: Remote, progress: Progress) -> Path:
    """A local copy of `remote`, its SHA-256 checked. Raises `NasError` if there is none and none can be had."""
    folder = cache.root() / "downloads" / source
    if found := local(source, remote, folder):
        return found
    with cache.explained():
        folder.mkdir(parents=True, exist_ok=True)
    tried = []
    for url in addresses(source, remote):
        progress(f"downloading {url}")
        reason = download(url, remote, folder)
        if reason is None:
            return folder / remote.name
        tried.append(f"{url}: {reason}")
    raise NasError(one_line(
        f"{source}: cannot be downloaded ({'; '.join(tried)}); put {remote.name} (SHA-256 {remote.sha256}) "
        f"into {folder}, or use the data that needs no network: --data digits"))


def local(source: str, remote: Remote, folder: Path) -> Path | None:
    """A copy in NAS_DATA or in the cache. Raises `NasError` if NAS_DATA has only a file that differs."""
    if (cached := folder / remote.name).is_file() and cache.sha256_of(cached) == remote.sha256:
        return cached
    if not (given := os.environ.get("NAS_DATA")):
        return None
    top = Path(given).expanduser()
    there = [path for path in (top / source / remote.name, top / remote.name) if path.is_file()]
    for path in there:
        if cache.sha256_of(path) == remote.sha256:
            return path
    if there:
        raise NasError(one_line(f"{there[0]}: is not the {remote.name} of {source} (its SHA-256 is not "
                                f"{remote.sha256}); replace it or remove it"))
    return None


def addresses(source: str, remote: Remote) -> list[str]:
    """URLs to try, in order: NAS_MIRROR alone where it is set."""
    if mirror := os.environ.get("NAS_MIRROR"):
        return [f"{mirror.rstrip('/')}/{source}/{remote.name}"]
    return [folder + remote.name for folder in remote.folders]


def download(url: str, remote: Remote, folder: Path) -> str | None:
    """Download to `folder`; None if that went well, else why not. pooch renames only what has the SHA-256."""
    import pooch  # slow to import, rarely needed
    import requests

    pooch.get_logger().setLevel("ERROR")
    try:
        pooch.retrieve(url, known_hash=f"sha256:{remote.sha256}", fname=remote.name, path=folder,
                       downloader=pooch.HTTPDownloader(progressbar=False, timeout=TIMEOUT))
    except requests.RequestException as error:
        return reason(error)
    except ValueError:  # pooch's for a checksum that differs
        return "what came has another SHA-256 than it should"
    except OSError as error:
        return error.strerror or str(error)
    return None


def reason(error: Exception) -> str:
    """The last and most telling cause of a network error, in one short line."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return type(error).__name__
