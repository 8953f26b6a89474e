"""A search in a process of its own, so that tests can kill it: FOLDER EXECUTOR TRIALS SECONDS-AN-EPOCH [LEASE [URL]].

Ends with 3 where another one has taken the study over.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from search_cases import World, study

from nas.store import LeaseLost


def main(folder: str, executor: str, trials: str, sleep: str, lease: str = "60", url: str | None = None) -> None:
    if executor == "ray":
        from nas.search.ray_env import prepare_ray

        prepare_ray(None)
    world = World(Path(folder), executor, url, float(lease))
    try:
        world.search(study(trials=int(trials)), dataclasses.replace(world.fake, sleep=float(sleep)))
    except LeaseLost:
        sys.exit(3)


if __name__ == "__main__":
    main(*sys.argv[1:])
