"""One process in the lane of this machine: writes when it asked, when it was let in and when it left.

lane_main.py LOG training|measuring SECONDS TIMES
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from nas import lane


def main(log: Path, kind: str, seconds: float, times: int) -> None:
    for _ in range(times):
        asked = time.monotonic()
        with getattr(lane, kind)():
            began = time.monotonic()
            with log.open("a") as file:
                file.write(f"{kind} began\n")
            time.sleep(seconds)
            with log.open("a") as file:
                file.write(f"{kind} {asked} {began} {time.monotonic()}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
