"""The named data sets: digits, and the binary files of the others from a local server, with right and wrong sums."""

from __future__ import annotations

import functools
import gzip
import hashlib
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from data_helpers import tar_of

from nas.data import describe, load, named
from nas.errors import NasError
from nas.settings import Data

RANDOM = np.random.default_rng(0)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that a local server serves as the mirror."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setenv("NAS_MIRROR", f"http://127.0.0.1:{server.server_port}")
    yield folder
    server.shutdown()
    server.server_close()
    thread.join()


def cifar_records(count: int, label_bytes: int, classes: int) -> tuple[bytes, np.ndarray]:
    """Records, and the pixels in them, of shape (count, 3, 32, 32)."""
    pixels = RANDOM.integers(0, 256, (count, 3072), dtype=np.uint8)
    labels = (np.arange(count) % classes).astype(np.uint8)[:, None]
    first = np.full((count, label_bytes - 1), 7, np.uint8)
    return np.hstack([first, labels, pixels]).tobytes(), pixels.reshape(-1, 3, 32, 32)


def cifar10(folder: Path) -> None:
    batches = {f"cifar-10-batches-bin/data_batch_{i}.bin": cifar_records(20, 1, 10)[0] for i in range(1, 6)}
    batches["cifar-10-batches-bin/test_batch.bin"] = cifar_records(10, 1, 10)[0]
    tar_of(batches | {"cifar-10-batches-bin/readme.html": b"x"}, folder / "cifar-10-binary.tar.gz")


def cifar100(folder: Path) -> None:
    tar_of({"cifar-100-binary/train.bin": cifar_records(300, 2, 100)[0],
            "cifar-100-binary/test.bin": cifar_records(100, 2, 100)[0]}, folder / "cifar-100-binary.tar.gz")


def idx(array: np.ndarray, magic: int) -> bytes:
    return gzip.compress(struct.pack(f">I{array.ndim}I", magic, *array.shape) + array.tobytes(), mtime=0)


def mnist(folder: Path) -> None:
    for stem, count in (("train", 60), ("t10k", 20)):
        images = RANDOM.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        (folder / f"{stem}-images-idx3-ubyte.gz").write_bytes(idx(images, 0x803))
        labels = (np.arange(count) % 10).astype(np.uint8)
        (folder / f"{stem}-labels-idx1-ubyte.gz").write_bytes(idx(labels, 0x801))


MAKERS: dict[str, Callable[[Path], None]] = {
    "cifar10": cifar10, "cifar100": cifar100, "mnist": mnist, "fashion_mnist": mnist}
COUNTS = {"cifar10": (100, 10), "cifar100": (300, 100), "mnist": (60, 20), "fashion_mnist": (60, 20)}


def register(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the sums of the registry those of the files in `folder`."""
    source = named.REGISTRY[name]
    files = tuple(replace(file, sha256=hashlib.sha256((folder / file.name).read_bytes()).hexdigest())
                  for file in source.files)
    monkeypatch.setitem(named.REGISTRY, name, replace(source, files=files))


@pytest.fixture(params=list(MAKERS))
def small(request: pytest.FixtureRequest, served: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a data set of which a small version is served."""
    name: str = request.param
    (served / name).mkdir()
    MAKERS[name](served / name)
    register(name, served / name, monkeypatch)
    return name


def test_a_download_is_decoded_and_kept(small: str, monkeypatch: pytest.MonkeyPatch, cache_folder: Path) -> None:
    said: list[str] = []
    loaded = load(Data(source=small), said.append)
    assert any(line.startswith("downloading http://127.0.0.1") for line in said)
    train, test = COUNTS[small]
    assert (loaded.info.n_train + loaded.info.n_validation, loaded.info.n_test) == (train, test)
    known = describe(Data(source=small))
    assert known == loaded.info
    assert loaded.train.images.shape[1:] == (known.channels, known.resolution, known.resolution)
    assert loaded.test.labels.tolist() == [i % known.n_classes for i in range(test)]
    monkeypatch.setenv("NAS_MIRROR", "http://127.0.0.1:9")
    assert load(Data(source=small)).checksum == loaded.checksum
    assert load(Data(source=small, resolution=14, channels=1)).train.images.shape[1:] == (1, 14, 14)


def test_pixels_of_cifar_are_channel_by_channel(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (served / "cifar100").mkdir()
    train, _ = cifar_records(200, 2, 100)
    test, pixels = cifar_records(100, 2, 100)
    tar_of({"c/train.bin": train, "c/test.bin": test}, served / "cifar100" / "cifar-100-binary.tar.gz")
    register("cifar100", served / "cifar100", monkeypatch)
    assert np.array_equal(load(Data(source="cifar100")).test.images, pixels)


def test_a_wrong_sum_is_refused_and_not_kept(small: str, served: Path, cache_folder: Path) -> None:
    victim = named.REGISTRY[small].files[-1].name
    (served / small / victim).write_bytes(b"something else")
    with pytest.raises(NasError, match=f"another SHA-256.*put {victim}.*--data digits") as caught:
        load(Data(source=small))
    assert "\n" not in str(caught.value)
    assert not list(cache_folder.rglob(victim))


def test_no_network_and_no_copy_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAS_MIRROR", "http://127.0.0.1:9")
    with pytest.raises(NasError, match=r"no connection.*put cifar-10-binary.tar.gz .*into .*--data digits") as caught:
        load(Data(source="cifar10"))
    assert "\n" not in str(caught.value)


def test_a_missing_file_on_the_mirror_is_one_line(served: Path) -> None:
    with pytest.raises(NasError, match="HTTP 404"):
        load(Data(source="mnist"))


def test_a_broken_copy_in_the_cache_is_downloaded_again(small: str, cache_folder: Path) -> None:
    file = named.REGISTRY[small].files[0].name
    folder = cache_folder / "downloads" / small
    folder.mkdir(parents=True)
    (folder / file).write_bytes(b"torn")
    assert load(Data(source=small)).info.name == small


@pytest.mark.parametrize("below", ["", "mnist"])
def test_a_local_copy_needs_no_network(below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "copies" / below
    folder.mkdir(parents=True)
    mnist(folder)
    register("mnist", folder, monkeypatch)
    monkeypatch.setenv("NAS_DATA", str(tmp_path / "copies"))
    monkeypatch.setenv("NAS_MIRROR", "http://127.0.0.1:9")
    assert load(Data(source="mnist")).info.n_test == 20
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(b"other")
    with pytest.raises(NasError, match=r"is not the t10k-labels-idx1-ubyte.gz of mnist"):
        load(Data(source="mnist", resolution=14))


def with_labels(folder: Path, labels: np.ndarray) -> None:
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(idx(labels, 0x801))


@pytest.mark.parametrize(("spoil", "said"), [
    (lambda folder: with_labels(folder, np.zeros(59, np.uint8)), "60 images, but .* has 59 labels"),
    (lambda folder: with_labels(folder, np.full(60, 11, np.uint8)), "labels beyond 10 classes"),
    (lambda folder: (folder / "train-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8b torn"), "not a whole gzip"),
    (lambda folder: (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"junk")), "not an IDX"),
    (lambda folder: (folder / "train-images-idx3-ubyte.gz").write_bytes(
        gzip.compress(struct.pack(">4I", 0x803, 9, 28, 28))), "its header says"),
])
def test_files_that_are_not_what_they_should_be(
        spoil: Callable[[Path], None], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mnist(tmp_path)
    spoil(tmp_path)
    register("mnist", tmp_path, monkeypatch)
    monkeypatch.setenv("NAS_DATA", str(tmp_path))
    with pytest.raises(NasError, match=said):
        load(Data(source="mnist"))


@pytest.mark.parametrize(("files", "said"), [
    ({"c/train.bin": bytes(3074)}, "has no test.bin"),
    ({"c/train.bin": bytes(3073), "c/test.bin": bytes(3074)}, "no whole number of records"),
])
def test_a_cifar_archive_that_is_not_one(
        files: dict[str, bytes], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tar_of(files, tmp_path / "cifar-100-binary.tar.gz")
    register("cifar100", tmp_path, monkeypatch)
    monkeypatch.setenv("NAS_DATA", str(tmp_path))
    with pytest.raises(NasError, match=said):
        load(Data(source="cifar100"))


def test_digits() -> None:
    loaded = load(Data())
    assert loaded.info == describe(Data())
    assert (loaded.info.n_train, loaded.info.n_validation, loaded.info.n_test) == (1150, 288, 359)
    assert loaded.train.images.shape == (1150, 1, 8, 8)
    assert (loaded.train.images.min(), loaded.train.images.max()) == (0, 255)
    assert loaded.mean[0] == pytest.approx(4.884 / 16, abs=0.005)  # scikit-learn's mean is 4.884
    counts = np.bincount(loaded.test.labels)
    assert counts.min() >= 34
    assert counts.max() <= 38
    other = load(Data(seed=1))
    assert np.array_equal(other.test.images, loaded.test.images)
    assert other.checksum != loaded.checksum
    assert load(Data(resolution=16, channels=3)).train.images.shape == (1150, 3, 16, 16)


def test_the_registry_is_whole() -> None:
    for name, source in named.REGISTRY.items():
        assert source.facts.name == name
        assert len(set(source.facts.classes)) == len(source.facts.classes)
        assert all(len(file.sha256) == 64 and file.folders for file in source.files)
    assert len(named.CIFAR100) == 100
    assert list(named.CIFAR100) == sorted(named.CIFAR100)
    assert list(named.CIFAR10) == sorted(named.CIFAR10)


def test_describing_downloads_nothing(monkeypatch: pytest.MonkeyPatch, cache_folder: Path) -> None:
    monkeypatch.setenv("NAS_MIRROR", "http://127.0.0.1:9")
    info = describe(Data(source="cifar100", train=1000))
    assert (info.n_classes, info.n_train, info.n_validation, info.n_test) == (100, 1000, 500, 10_000)
    assert not list(cache_folder.iterdir())
