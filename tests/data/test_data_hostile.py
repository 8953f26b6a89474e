"""Archives of strangers: each of these is refused with one line, and nothing is written outside of the cache."""

from __future__ import annotations

import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from data_helpers import images, noise, picture, tar_of, zip_of

from nas.data import archive, load
from nas.errors import NasError
from nas.settings import Data

SOUND = images()
MIB = 2**20


def header(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def tar_with(*extra: tarfile.TarInfo) -> Callable[[Path], Path]:
    return lambda top: tar_of(SOUND, top / "evil.tar", extra)


def tar_named(name: str) -> Callable[[Path], Path]:
    return lambda top: tar_of(SOUND | {name: noise(5)}, top / "evil.tar")


def zip_named(name: str) -> Callable[[Path], Path]:
    return lambda top: zip_of(SOUND | {name: noise(5)}, top / "evil.zip")


def zip_link(top: Path) -> Path:
    path = zip_of(SOUND, top / "evil.zip")
    info = zipfile.ZipInfo("cat/link.png")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(path, "a") as made:
        made.writestr(info, "/etc/passwd")
    return path


def zip_device(top: Path) -> Path:
    path = zip_of(SOUND, top / "evil.zip")
    info = zipfile.ZipInfo("cat/device.png")
    info.create_system, info.external_attr = 3, 0o020666 << 16
    with zipfile.ZipFile(path, "a") as made:
        made.writestr(info, "")
    return path


def zip_twice(top: Path) -> Path:
    path = zip_of(SOUND, top / "evil.zip")
    info = zipfile.ZipInfo("cat/./000.png")
    with zipfile.ZipFile(path, "a") as made:
        made.writestr(info, noise(3))
    return path


def zip_encrypted(top: Path) -> Path:
    path = zip_of(SOUND, top / "evil.zip")
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = data.find(signature)
        while start >= 0:
            data[start + offset] |= 1
            start = data.find(signature, start + 4)
    path.write_bytes(data)
    return path


def zip_broken_content(top: Path) -> Path:
    path = zip_of(SOUND, top / "evil.zip")
    data = bytearray(path.read_bytes())
    data[60:90] = bytes(30)
    path.write_bytes(data)
    return path


def zip_lying(top: Path) -> Path:
    """A bomb whose directory says that it is small."""
    path = zip_of(SOUND | {"cat/zeros.png": bytes(20 * MIB)}, top / "evil.zip")
    true, lie = struct.pack("<I", 20 * MIB), struct.pack("<I", 100)
    path.write_bytes(path.read_bytes().replace(true, lie))
    return path


def zip_bomb(top: Path) -> Path:
    return zip_of(SOUND | {f"cat/{i}.png": bytes(30 * MIB) for i in range(3)}, top / "evil.zip")


def tar_bomb(top: Path) -> Path:
    path = top / "evil.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for i in range(3):
            tar.addfile(header(f"cat/{i}.png", size=30 * MIB), io.BytesIO(bytes(30 * MIB)))
    return path


def xz_bomb_in_one_member(top: Path) -> Path:
    path = top / "evil.tar.xz"
    with lzma.open(path, "w", preset=0) as file:
        file.write(header("cat/0.png", size=2**33).tobuf())
        file.write(bytes(80 * MIB))
    return path


def header_bomb(top: Path) -> Path:
    """An extended header of 300 MiB, which tarfile would read whole."""
    path = top / "evil.tar.gz"
    with gzip.open(path, "w", 1) as file:
        file.write(header("x", tarfile.XHDTYPE, size=300 * MIB).tobuf())
        for _ in range(300):
            file.write(bytes(MIB))
    return path


def header_chain(top: Path) -> Path:
    """Long names of long names, which tarfile reads by recursion."""
    path = top / "evil.tar"
    one = header("././@LongLink", tarfile.GNUTYPE_LONGNAME, size=5).tobuf() + b"cat/x".ljust(512, b"\0")
    path.write_bytes(one * 5000 + bytes(1024))
    return path


def truncated(name: str, share: float) -> Callable[[Path], Path]:
    def make(top: Path) -> Path:
        path = zip_of(SOUND, top / name) if name.endswith("zip") else tar_of(SOUND, top / name)
        data = path.read_bytes()
        path.write_bytes(data[: int(share * len(data))])
        return path
    return make


def tar_cut_between_members(top: Path) -> Path:
    path = tar_of(SOUND, top / "evil.tar")
    path.write_bytes(path.read_bytes()[: 1024 * 13])
    return path


def tar_garbled(top: Path) -> Path:
    path = tar_of(SOUND, top / "evil.tar")
    data = bytearray(path.read_bytes())
    data[5120:5632] = b"garbage!" * 64
    path.write_bytes(data)
    return path


def raw(name: str, data: bytes) -> Callable[[Path], Path]:
    def make(top: Path) -> Path:
        (top / name).write_bytes(data)
        return top / name
    return make


def image_bomb(top: Path) -> Path:
    """A PNG of 30,000 x 30,000 pixels in some bytes."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)) + chunk(
        b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b"")
    return tar_of(SOUND | {"cat/bomb.png": png}, top / "evil.tar")


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "tar, climbing name": (tar_named("cat/../../../out.png"), "points outside"),
    "tar, absolute name": (tar_named("/out.png"), "points outside"),
    "tar, drive letter": (tar_named("C:/out.png"), "points outside"),
    "tar, backslashes": (tar_named("..\\..\\out.png"), "points outside"),
    "tar, symbolic link": (tar_with(header("cat/l.png", tarfile.SYMTYPE, "/etc/passwd")), "is a link"),
    "tar, hard link": (tar_with(header("cat/l.png", tarfile.LNKTYPE, "cat/000.png")), "is a link"),
    "tar, link to folder": (tar_with(header("dir", tarfile.SYMTYPE, "..")), "is a link"),
    "tar, character device": (tar_with(header("cat/d.png", tarfile.CHRTYPE)), "not a plain file"),
    "tar, block device": (tar_with(header("cat/d.png", tarfile.BLKTYPE)), "not a plain file"),
    "tar, pipe": (tar_with(header("cat/p.png", tarfile.FIFOTYPE)), "not a plain file"),
    "tar, name twice": (tar_with(header("./cat/000.png")), "stands in it twice"),
    "tar, bomb": (tar_bomb, "a bomb?"),
    "tar, endless member": (xz_bomb_in_one_member, "8,589,934,592 bytes; at most"),
    "tar, header bomb": (header_bomb, "header is too large"),
    "tar, chain of headers": (header_chain, "truncated or damaged"),
    "tar, cut": (truncated("evil.tar", 0.5), "truncated or damaged"),
    "tar, cut between members": (tar_cut_between_members, "truncated or damaged"),
    "tar, garbled": (tar_garbled, "truncated or damaged"),
    "gz, cut": (truncated("evil.tar.gz", 0.6), "truncated or damaged"),
    "xz, cut": (truncated("evil.tar.xz", 0.6), "truncated or damaged"),
    "gz, no tar in it": (raw("evil.tar.gz", gzip.compress(b"hello" * 1000)), "truncated or damaged"),
    "gz, nothing in it": (raw("evil.tar.gz", gzip.compress(b"")), "truncated or damaged"),
    "tar, empty": (lambda top: tar_of({}, top / "evil.tar"), "holds no images"),
    "tar, one class": (lambda top: tar_of(images(("cat",)), top / "evil.tar"), "only one class"),
    "tar, no images": (lambda top: tar_of({"a/b.txt": b"", "b/b.txt": b""}, top / "evil.tar"), "holds no images"),
    "tar, image bomb": (image_bomb, "decompression bomb"),
    "zip, climbing name": (zip_named("cat/../../out.png"), "points outside"),
    "zip, absolute name": (zip_named("/out.png"), "points outside"),
    "zip, drive letter": (zip_named("c:\\out.png"), "points outside"),
    "zip, link": (zip_link, "is a link"),
    "zip, device": (zip_device, "not a plain file"),
    "zip, name twice": (zip_twice, "stands in it twice"),
    "zip, encrypted": (zip_encrypted, "is encrypted"),
    "zip, bomb": (zip_bomb, "a bomb?"),
    "zip, lying bomb": (zip_lying, "truncated or damaged"),
    "zip, cut": (truncated("evil.zip", 0.5), "truncated or damaged"),
    "zip, broken content": (zip_broken_content, "truncated or damaged"),
    "zip, empty": (lambda top: zip_of({}, top / "evil.zip"), "holds no images"),
    "empty file": (raw("evil.zip", b""), "is an empty file"),
    "no archive": (raw("evil.tar", b"#!/bin/sh\nrm -rf /\n"), "not an archive of a kind"),
    "one image": (raw("evil.png", picture(1)), "not an archive of a kind"),
    "control characters": (tar_named("cat/a\x1b[31m\n/../b.png"), "points outside"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_it_is_refused_with_one_line_and_nothing_is_written(
        case: str, tmp_path: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, said = HOSTILE[case]
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    path = make(inside)
    monkeypatch.chdir(inside)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(NasError) as caught:
        load(Data(source=str(path)))
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
    assert sorted(tmp_path.rglob("*")) == before
    assert not [left for left in cache_folder.rglob("*") if left.is_file() and left.suffix != ".lock"]


def test_the_bounds_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tar_of(SOUND, tmp_path / "set.tar")
    with pytest.raises(NasError, match="more than 5 members"):
        list(archive.members(path, archive.Limits(members=5)))
    monkeypatch.setenv("NAS_ARCHIVE_BYTES", "9000")
    with pytest.raises(NasError, match="unpacks to more than 9,000 bytes"):
        load(Data(source=str(path)))
    monkeypatch.setenv("NAS_ARCHIVE_BYTES", "much")
    with pytest.raises(NasError, match="NAS_ARCHIVE_BYTES: much: not a positive whole number"):
        load(Data(source=str(path)))


def test_large_archives_are_known_by_their_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "WHOLE_HASH", 100)
    monkeypatch.setattr(archive, "EDGE", 10)
    path = tmp_path / "large"
    path.write_bytes(bytes(1000))
    one = archive.fingerprint(path)
    assert archive.fingerprint(path) == one
    path.write_bytes(bytes(999) + b"x")
    assert archive.fingerprint(path) != one
