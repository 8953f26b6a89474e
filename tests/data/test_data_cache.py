"""The cache: shared between processes, whole or absent, checked, mended."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from data_helpers import folder_of, images, tar_of

from nas.data import cache, dataset, describe, load
from nas.errors import NasError
from nas.settings import Data

PARTED = images(prefix="train/", each=20) | images(prefix="test/", each=4)
ROOT = Path(__file__).parents[2]
CHILD = """
import sys
from nas.data import load
from nas.settings import Data
said = []
loaded = load(Data(source=sys.argv[1]), said.append)
print(loaded.checksum, int(loaded.train.images.sum()), int(loaded.test.images.sum()),
      sum("decoding" in line for line in said))
"""


@pytest.fixture
def source(tmp_path: Path) -> Data:
    return Data(source=str(tar_of(PARTED, tmp_path / "set.tar.gz")))


def files(folder: Path, name: str) -> list[Path]:
    return sorted(folder.rglob(name))


def test_the_arrays_are_mapped_and_a_write_stays_here(source: Data) -> None:
    loaded = load(source)
    assert isinstance(loaded.train.images, np.memmap)
    before = int(loaded.train.images[0, 0, 0, 0])
    loaded.train.images[0, 0, 0, 0] = 255 - before
    assert int(load(source).train.images[0, 0, 0, 0]) == before


def test_a_second_load_decodes_nothing(source: Data) -> None:
    first = load(source)
    said: list[str] = []
    again = load(source, said.append)
    assert said == []
    assert again.checksum == first.checksum
    assert (again.mean, again.std) == (first.mean, first.std)


def test_a_copied_archive_is_known_again_and_a_changed_one_is_not(source: Data, tmp_path: Path) -> None:
    first = load(source)
    shutil.copy(source.source, tmp_path / "copy.tar.gz")
    said: list[str] = []
    copied = load(Data(source=str(tmp_path / "copy.tar.gz")), said.append)
    assert said == []
    assert (copied.checksum, copied.info.name) == (first.checksum, "copy")
    changed = tar_of(PARTED | images(("cat",), 21, "train/"), tmp_path / "set.tar.gz")
    assert load(Data(source=str(changed))).checksum != first.checksum


def test_a_changed_folder_is_decoded_again(tmp_path: Path) -> None:
    folder = folder_of(PARTED, tmp_path / "set")
    first = load(Data(source=str(folder)))
    (folder / "train" / "cat" / "000.png").write_bytes(PARTED["train/dog/001.png"])
    os.utime(folder / "train" / "cat" / "000.png", ns=(1, 1))
    assert load(Data(source=str(folder))).checksum != first.checksum


def test_the_same_images_have_the_same_checksum_however_they_are_asked_for(source: Data) -> None:
    whole = load(source)
    assert whole.info.n_train == 32
    asked = load(source.model_copy(update={"train": 16}))
    assert (asked.info.n_train, asked.info.n_validation) == (16, 8)
    assert asked.checksum != whole.checksum
    named = load(source.model_copy(update={"resolution": 8, "channels": 3}))
    assert named.checksum == whole.checksum
    assert load(source.model_copy(update={"channels": 1})).checksum != whole.checksum


def test_too_many_are_refused_with_the_largest_number(source: Data) -> None:
    for function in (describe, load):
        with pytest.raises(NasError, match=r"data.train: 33: more than there is.*give at most 32"):
            function(source.model_copy(update={"train": 33}))


def test_the_test_part_is_not_opened_by_a_load(source: Data, cache_folder: Path) -> None:
    load(source)
    (path,) = files(cache_folder, "test.images")
    path.write_bytes(b"damaged")
    loaded = load(source)
    assert path.read_bytes() == b"damaged"
    assert len(loaded.test) == 8  # decoded again
    assert path.stat().st_size == 8 * 3 * 8 * 8


@pytest.mark.parametrize("name", ["train.images", "train.labels", "validation.images", "meta.json"])
@pytest.mark.parametrize("kind", ["decoded", "splits", "surveys"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_damaged_entry_is_made_again(
        name: str, kind: str, damage: str, source: Data, cache_folder: Path) -> None:
    first = load(source)
    expected = first.train.images.copy()
    for path in files(cache_folder / kind, name):
        data = bytearray(path.read_bytes())
        data[0] ^= 255
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(data if damage == "flipped" else data[:-1])
    again = load(source)
    assert again.checksum == first.checksum
    assert np.array_equal(again.train.images, expected)
    assert np.array_equal(again.test.images, first.test.images)


def test_large_files_are_checked_by_size_and_ends(
        source: Data, cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "FULL_CHECK", 10)
    monkeypatch.setattr(cache, "EDGE", 16)
    first = load(source)
    (path,) = files(cache_folder / "splits", "train.images")
    data = bytearray(path.read_bytes())
    data[-1] ^= 255
    path.write_bytes(data)
    said: list[str] = []
    assert load(source, said.append).checksum == first.checksum
    assert any("damaged" in line for line in said)


def test_what_a_killed_process_left_is_removed(source: Data, cache_folder: Path) -> None:
    load(source)
    (meta,) = files(cache_folder / "decoded", "meta.json")
    left = meta.parent.with_name(f"{meta.parent.name}.1234.tmp")
    meta.parent.rename(left)
    load(source)
    assert not left.exists()
    assert not files(cache_folder, "*.tmp")


def test_a_failure_leaves_nothing(
        source: Data, cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache.os, "fsync", full)
    with pytest.raises(NasError, match=r"No space left on device; make room there or set NAS_CACHE") as caught:
        load(source)
    assert "\n" not in str(caught.value)
    assert not files(cache_folder, "*.tmp")


def test_no_room_is_said_before_the_work(source: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(NasError, match=r"which has 0\.0 GB free"):
        load(source)


def test_a_cache_that_cannot_be_made_is_one_line(
        source: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "file"))
    with pytest.raises(NasError, match="set NAS_CACHE to another folder"):
        load(source)


def test_the_default_is_the_systems_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NAS_CACHE")
    assert cache.root().name == "nas"


def test_processes_that_load_at_once_share_one_decoding(source: Data, cache_folder: Path) -> None:
    command = [sys.executable, "-c", CHILD, source.source]
    children = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    lines = [child.communicate(timeout=120)[0].split() for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    assert len({tuple(line[:3]) for line in lines}) == 1
    assert sum(int(line[3]) for line in lines) == 1
    assert not files(cache_folder, "*.tmp")


def test_losing_a_race_is_as_good_as_winning_it(source: Data, cache_folder: Path) -> None:
    """Without locks (another system) two processes may build one entry; the second finds it there."""
    def build(folder: Path) -> cache.Meta:
        cache.publish(cache_folder / "kind" / "key", lambda _: {"arrays": {}, "by": "other"})
        return {"arrays": {}, "by": "me"}

    folder = cache.entry("kind", "key", build, (), print)
    assert cache.read_meta(folder)["by"] == "other"
    assert not files(cache_folder, "*.tmp")


def test_nothing_here_imports_torch() -> None:
    code = "import sys, nas.data; assert not {'torch', 'ray', 'sklearn', 'pooch', 'requests'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
