"""Which file system a path lies on, from the text of /proc/mounts: SQLite's locks do not hold on a network one.

Only Linux says so in that form; elsewhere nothing is known and nothing is refused.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

NETWORK = frozenset({
    "nfs", "nfs3", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "9p", "afs", "ncpfs", "coda", "lustre",
    "beegfs", "ceph", "glusterfs", "gpfs", "gfs", "gfs2", "ocfs2", "orangefs", "pvfs2", "panfs", "wekafs",
    "davfs", "vboxsf", "prl_fs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.s3fs",
    "fuse.rclone", "fuse.gcsfuse", "fuse.goofys", "fuse.mount-s3", "fuse.juicefs", "fuse.seaweedfs",
    "fuse.davfs", "fuse.curlftpfs", "fuse.moosefs", "fuse.mfs", "fuse.lizardfs", "fuse.beegfs", "fuse.blobfuse",
    "fuse.blobfuse2", "fuse.smbnetfs", "fuse.nfs", "fuse.hdfs",
})


class Mount(NamedTuple):
    """A mounted file system."""

    point: str
    kind: str


def parse_mounts(text: str) -> list[Mount]:
    """The mounts that /proc/mounts lists, in its order; what cannot be read is left out."""
    rows = (line.split(" ") for line in text.splitlines())
    return [Mount(_plain(row[1]), row[2]) for row in rows if len(row) >= 3]


def mount_of(path: Path, mounts: list[Mount]) -> Mount | None:
    """The mount that `path` (absolute, without links) lies on: the deepest, and of equal ones the last."""
    above = {str(path), *(str(parent) for parent in path.parents)}
    found = [mount for mount in mounts if mount.point in above]
    return max(reversed(found), key=lambda mount: len(mount.point), default=None)


def network_mount(path: Path, listing: Path = Path("/proc/mounts")) -> Mount | None:
    """The network file system that `path` lies on, or None."""
    try:
        mounts = parse_mounts(listing.read_text(errors="surrogateescape"))
    except OSError:
        return None
    found = mount_of(path.resolve(), mounts)
    return found if found is not None and found.kind in NETWORK else None


def _plain(escaped: str) -> str:
    """Spaces and their kin stand as octal numbers in /proc/mounts."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), escaped)
