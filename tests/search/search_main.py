"""A search in a process of its own, so that tests can kill it: FOLDER EXECUTOR TRIALS SECONDS-AN-EPOCH [LEASE [URL]].

EXECUTOR: local, ray, or the address of a Ray cluster. Ends with 3 where another one has taken the study over, with 4
where a disk is full. NAS_TEST_WEIGHTS: bytes of each network's weights. NAS_TEST_EPOCHS: of each training, none of
which is then stopped early. NAS_TEST_TRAINING: a file to note the epochs in that are trained, each network to the end.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

from search_cases import World, study
from search_training import Trained

from nas.errors import DiskFull
from nas.store import LeaseLost


def main(folder: str, executor: str, trials: str, sleep: str, lease: str = "60", url: str | None = None) -> None:
    if executor != "local":
        from nas.search.ray_env import prepare_ray

        prepare_ray(None if executor == "ray" else executor)
    try:
        world = World(Path(folder), executor, url, float(lease))
        if "NAS_TEST_TRAINING" in os.environ:
            trained = Trained(Path(os.environ["NAS_TEST_TRAINING"]), sleep=float(sleep))
            world.search(study(trials=int(trials), stopping="none"), trained)
            return
        weights = int(os.environ.get("NAS_TEST_WEIGHTS", "0"))
        epochs = os.environ.get("NAS_TEST_EPOCHS")
        wanted = study(trials=int(trials)) if epochs is None else \
            study(trials=int(trials), epochs=int(epochs), stopping="none")
        world.search(wanted, dataclasses.replace(world.fake, sleep=float(sleep), weights=weights))
    except LeaseLost:
        sys.exit(3)
    except DiskFull as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main(*sys.argv[1:])
