"""A search in a process of its own, so that tests can kill it: FOLDER EXECUTOR TRIALS SECONDS-AN-EPOCH."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from search_cases import World, study


def main(folder: str, executor: str, trials: str, sleep: str) -> None:
    if executor == "ray":
        from nas.search.ray_env import prepare_ray

        prepare_ray(None)
    world = World(Path(folder), executor)
    world.search(study(trials=int(trials)), dataclasses.replace(world.fake, sleep=float(sleep)))


if __name__ == "__main__":
    main(*sys.argv[1:])
