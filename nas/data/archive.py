"""Archives of strangers, read as a stream of members: .tar, .tar.gz, .tar.xz and .zip.

Nothing is ever extracted, so nothing can be written outside. Everything else that a hostile archive may try
(links, names that climb, members without end) is refused with one line before memory or time is spent on it.
What the members mean is decided elsewhere.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, cast

from nas.errors import NasError, one_line, shown

READABLE = ".tar, .tar.gz, .tgz, .tar.xz or .zip"
MIB = 2**20
BLOCK = 512
WHOLE_HASH = 256 * MIB
"""Bytes up to which an archive is known by the SHA-256 of its content; see `fingerprint`."""
EDGE = MIB
BROKEN = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError, ValueError,
          NotImplementedError, RuntimeError, OverflowError)


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may hold: members, bytes of one member, and bytes in all once unpacked.

    In all it may unpack to `ratio` times its own size, or `floor` bytes if that is more, but never beyond
    `total`.
    """

    members: int = 5_000_000
    member: int = 64 * MIB
    ratio: int = 200
    floor: int = 64 * MIB
    total: int = 2**40

    def unpacked(self, size: int) -> int:
        """Bytes that an archive of `size` bytes may unpack to."""
        return min(self.total, max(self.floor, self.ratio * size))


def limits() -> Limits:
    """The default limits; the environment's NAS_ARCHIVE_BYTES, a whole number, replaces `Limits.total`."""
    chosen = os.environ.get("NAS_ARCHIVE_BYTES")
    if chosen is None:
        return Limits()
    if not chosen.isascii() or not chosen.isdigit() or int(chosen) == 0:
        raise NasError(f"NAS_ARCHIVE_BYTES: {shown(chosen)}: not a positive whole number of bytes")
    return Limits(total=int(chosen))


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file of an archive: its cleaned name, its bytes unpacked, and a way to read it.

    It can be read only before the next member is asked for.
    """

    name: str
    size: int
    read: Callable[[], bytes]


class Refused(NasError):
    """An archive that is not read, and why."""

    def __init__(self, path: Path, why: str):
        super().__init__(one_line(f"{path}: {why}"))


class Metered(io.RawIOBase):
    """An unpacked tar as a forward-only file that counts: past a bound it refuses to go on.

    `allowance` is what may be read before the next member is reached, `last` what was read last. tarfile
    reads extended headers whole, so without an allowance a header could fill the memory.
    """

    def __init__(self, source: IO[bytes], path: Path, bounds: Limits):
        self.source = source
        self.path = path
        self.bounds = bounds
        self.most = bounds.unpacked(path.stat().st_size)
        self.position = 0
        self.last = b""
        self.renew()

    def renew(self) -> None:
        """A member was reached: one more member and its headers may be read."""
        self.allowance = self.position + 2 * self.bounds.member + MIB

    def read(self, size: int = -1) -> bytes:
        """`size` bytes, fewer only at the end. Raises `Refused` beyond a bound."""
        end = self.position + size
        if size < 0 or end > self.allowance:
            raise Refused(self.path, "a member's header is too large; the archive is hostile or damaged")
        if end > self.most:
            raise too_large(self.path, self.most)
        self.last = self.source.read(size)
        self.position += len(self.last)
        return self.last

    def tell(self) -> int:
        """Bytes read so far."""
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go forward to `offset` by reading."""
        if whence != io.SEEK_SET or offset < self.position:
            raise tarfile.ReadError("an offset goes backwards")
        while self.position < offset and self.read(min(offset - self.position, MIB)):
            pass
        return self.position


def too_large(path: Path, most: int) -> Refused:
    """The refusal of an archive that unpacks to more than `most` bytes."""
    return Refused(path, f"unpacks to more than {most:,} bytes (a bomb?); if it is sound, unpack it and give "
                         "the folder")


def members(path: Path, bounds: Limits | None = None) -> Iterator[Member]:
    """The regular files of the archive at `path`, in its order. Folders are passed over.

    Raises `NasError`, with one line, if it is no archive of a readable kind, is damaged, or is hostile: a
    name that is absolute or climbs, a link, a device, a name that stands twice, encryption, or more than
    `bounds` admits.
    """
    bounds = bounds or limits()
    seen: set[str] = set()
    reader = zip_members if kind(path) == "zip" else tar_members
    try:
        for count, member in enumerate(reader(path, bounds), 1):
            if count > bounds.members:
                raise Refused(path, f"more than {bounds.members:,} members")
            if member.name in seen:
                raise Refused(path, f"{shown(member.name)} stands in it twice")
            seen.add(member.name)
            yield Member(member.name, member.size, partial(guarded, member.read, path))
    except Refused:
        raise
    except BROKEN as error:
        raise damaged(path, error) from error


def guarded(read: Callable[[], bytes], path: Path) -> bytes:
    """What `read` reads; whatever a damaged archive makes it raise becomes a `Refused`."""
    try:
        return read()
    except Refused:
        raise
    except BROKEN as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: BaseException | str) -> Refused:
    """The refusal of an archive that cannot be read to its end."""
    return Refused(path, f"is truncated or damaged ({error or type(error).__name__}); fetch it again")


def kind(path: Path) -> str:
    """`zip`, `gz`, `xz` or `tar`, by content, not by name. Raises `NasError`."""
    try:
        with path.open("rb") as file:
            head = file.read(BLOCK)
    except OSError as error:
        raise Refused(path, f"cannot be read ({error.strerror})") from error
    if not head:
        raise Refused(path, "is an empty file")
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if head.startswith(b"\x1f\x8b"):
        return "gz"
    if head.startswith(b"\xfd7zXZ\x00"):
        return "xz"
    if head[257:262] == b"ustar" or (len(head) == BLOCK and not any(head)):
        return "tar"
    raise Refused(path, f"is not an archive of a kind that is read here: {READABLE}")


OPENERS: dict[str, Callable[[Path], IO[bytes]]] = {
    "tar": lambda path: path.open("rb"),
    "gz": lambda path: cast(IO[bytes], gzip.GzipFile(path)),
    "xz": lambda path: cast(IO[bytes], lzma.LZMAFile(path)),  # noqa: SIM115 (opened by a with)
}


def tar_members(path: Path, bounds: Limits) -> Iterator[Member]:
    """The regular files of a tar, read once from front to back."""
    with OPENERS[kind(path)](path) as source:
        metered = Metered(cast(IO[bytes], io.BufferedReader(cast(io.RawIOBase, source), MIB)), path, bounds)
        tar = tarfile.TarFile(fileobj=cast(IO[bytes], metered))
        while (info := tar.next()) is not None:
            vars(tar)["members"].clear()  # tarfile would keep every header
            metered.renew()
            name = clean(info.name, path)
            if not info.isdir():
                refuse_special(info, name, path)
                refuse_large(info.size, name, path, bounds)
                yield Member(name, info.size, partial(tar_read, metered, info, path))
        if len(metered.last) != BLOCK or any(metered.last):  # tarfile takes any odd block for the end
            raise damaged(path, "its end is missing")


def tar_read(metered: Metered, info: tarfile.TarInfo, path: Path) -> bytes:
    """The content of the member that was reached last."""
    metered.seek(info.offset_data)
    data = metered.read(info.size)
    if len(data) != info.size:
        raise damaged(path, "unexpected end")
    return data


def refuse_special(info: tarfile.TarInfo, name: str, path: Path) -> None:
    """Raises `Refused` unless the member is a plain file."""
    if info.issym() or info.islnk():
        raise Refused(path, f"{shown(name)} is a link, which may point outside; pack the files themselves")
    if not info.isreg() or info.issparse():
        raise Refused(path, f"{shown(name)} is not a plain file")


def refuse_large(size: int, name: str, path: Path, bounds: Limits) -> None:
    """Raises `Refused` if a member is larger than is read."""
    if not 0 <= size <= bounds.member:
        raise Refused(path, f"{shown(name)} has {size:,} bytes; at most {bounds.member:,} a member are read")


def zip_members(path: Path, bounds: Limits) -> Iterator[Member]:
    """The regular files of a zip, in the order of its directory."""
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        most = bounds.unpacked(path.stat().st_size)
        if len(infos) > bounds.members:
            raise Refused(path, f"more than {bounds.members:,} members")
        if sum(info.file_size for info in infos) > most:
            raise too_large(path, most)
        for info in infos:
            name = clean(info.orig_filename, path)
            if not info.is_dir():
                refuse_special_zip(info, name, path)
                refuse_large(info.file_size, name, path, bounds)
                yield Member(name, info.file_size, partial(archive.read, info))


def refuse_special_zip(info: zipfile.ZipInfo, name: str, path: Path) -> None:
    """Raises `Refused` if the member is encrypted, or its Unix mode says that it is a link or a device."""
    if info.flag_bits & 0x1:
        raise Refused(path, f"{shown(name)} is encrypted; pack it without a password")
    file_type = stat.S_IFMT(info.external_attr >> 16)
    if file_type == stat.S_IFLNK:
        raise Refused(path, f"{shown(name)} is a link, which may point outside; pack the files themselves")
    if file_type not in (0, stat.S_IFREG):
        raise Refused(path, f"{shown(name)} is not a plain file")


def clean(name: str, path: Path) -> str:
    """A member's name with `/` between its parts and without `.`. Raises `Refused` if it points outside."""
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or re.match(r"[A-Za-z]:", name) or ".." in parts or "\0" in name:
        raise Refused(path, f"{shown(name)} points outside of the archive")
    return "/".join(part for part in parts if part not in ("", "."))


def fingerprint(path: Path) -> str:
    """Hexadecimal SHA-256 that stands for the content of a file.

    Of the whole content up to `WHOLE_HASH` bytes, so that a copied or touched archive is known again; of a
    larger one of its size, its time of change and its first and last MiB, which costs the same for 300 MiB
    and for 300 GiB.
    """
    try:
        facts = path.stat()
        with path.open("rb") as file:
            if facts.st_size <= WHOLE_HASH:
                return hashlib.file_digest(file, "sha256").hexdigest()
            digest = hashlib.sha256(f"{facts.st_size} {facts.st_mtime_ns}".encode())
            digest.update(file.read(EDGE))
            file.seek(facts.st_size - EDGE)
            digest.update(file.read(EDGE))
            return digest.hexdigest()
    except OSError as error:
        raise Refused(path, f"cannot be read ({error.strerror})") from error
