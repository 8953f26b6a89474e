"""A writer that is killed at random moments: KIND FOLDER KILLS. Prints, as JSON, what lay there after each kill.

KIND: weights, snapshot or folder. Every kill is of a process that writes version after version to the same place; the
next one goes on with the versions. A version of 0 is nothing, of -1 damaged.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

SIZE = 200_000      # numbers in a version

Write, Read = Callable[[int], object], Callable[[], int]


def weights(folder: Path) -> tuple[Write, Read]:
    """Of a trial, as the driver keeps them."""
    import hashlib

    from nas.checkpoint import sweep_checkpoints, write_checkpoint

    def write(version: int) -> None:
        body = version.to_bytes(4, "little") * SIZE
        write_checkpoint(folder / "7.safetensors", hashlib.sha256(body).digest() + body)

    def read() -> int:
        sweep_checkpoints(folder)
        if not (folder / "7.safetensors").exists():
            return 0
        found = (folder / "7.safetensors").read_bytes()
        return int.from_bytes(found[32:36], "little") if hashlib.sha256(found[32:]).digest() == found[:32] else -1

    return write, read


def snapshot(folder: Path) -> tuple[Write, Read]:
    """Of a training, as a worker keeps it."""
    import torch

    from nas import snapshots
    from nas.evaluation import Progress

    place = snapshots.Place(str(folder), "key.safetensors", ours=True)

    def write(version: int) -> None:
        state = {part: {"x": torch.full((SIZE // 4,), version)} for part in snapshots._PARTS}
        snapshots.keep(place, {**state, "epoch": version, "seed": 0}, [Progress(version)])

    def read() -> int:
        there = (folder / place.name).exists()
        found = snapshots.find(place)
        if found is None:
            return -1 if there else 0
        state, (progress,) = found
        same = all((state[part]["x"] == progress.epoch).all() for part in snapshots._PARTS)
        return progress.epoch if same and state["epoch"] == progress.epoch else -1

    return write, read


def exported(folder: Path) -> tuple[Write, Read]:
    """A network, as it is exported."""
    from nas.export.folder import whole
    from nas.export.folder import write as write_file
    from nas.exported.manifest import FILES

    def write(version: int) -> None:
        with whole(folder / "trial-7", FILES) as draft:
            for name in FILES:
                write_file(draft / name, version.to_bytes(4, "little") * (SIZE // len(FILES)))

    def read() -> int:
        """After the sweep that every export begins with."""
        try:
            with whole(folder / "trial-7", FILES):
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
        if not (folder / "trial-7").exists():
            return 0
        found = {(folder / "trial-7" / name).read_bytes() for name in FILES}
        body = found.pop()
        return -1 if found or body != body[:4] * (SIZE // len(FILES)) else int.from_bytes(body[:4], "little")

    return write, read


KINDS = {"weights": weights, "snapshot": snapshot, "folder": exported}


def killed(write: Write, first: int, seconds: float) -> int:
    """How many versions from `first` on a process wrote before it was killed; one more may lie there."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        for version in itertools.count(first):
            write(version)
            os.write(tell, b".")
    os.close(tell)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(told, "rb") as file:
        return len(file.read())


def main(kind: str, place: str, kills: str) -> None:
    folder, rng = Path(place), random.Random(int(kills))
    write, read = KINDS[kind](folder)
    write(1)
    version, found = 1, []
    for _ in range(int(kills)):
        written = killed(write, version + 1, rng.uniform(0.005, 0.1))
        least, version = version + written, read()
        halves = sum(path.name.startswith(".") for path in folder.iterdir())
        found.append({"least": least, "found": version, "written": written, "halves": halves})
        if version < 1:
            break
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
