"""Whoever writes weights, a snapshot or an exported network is killed: what lies there then is whole, old or new."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KINDS = ["weights", "snapshot", "folder"]


def killed(kind: str, folder: Path, kills: int) -> str:
    """Each version that was written to its end is there, or the one that was being written; the figures in words."""
    main = Path(__file__).parent / "killed_main.py"
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    done = subprocess.run([sys.executable, main, kind, folder, str(kills)], env={**os.environ, "PYTHONPATH": path},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert all(one["least"] <= one["found"] <= one["least"] + 1 for one in found)
    assert len(found) == kills
    if kind != "snapshot":
        assert not any(one["halves"] for one in found), "they are swept by the next one"
    newer = sum(one["found"] > one["least"] for one in found)
    halves = max(one["halves"] for one in found)
    return f"{kind}: {kills} kills, {sum(one['written'] for one in found)} written, {newer} just in time, {halves} left"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_writer_that_is_killed(kind: str, tmp_path: Path) -> None:
    killed(kind, tmp_path, 10)


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
def test_a_writer_that_is_killed_for_long(kind: str, tmp_path: Path) -> None:
    print(killed(kind, tmp_path, 200))
