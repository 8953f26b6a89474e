"""The environment that Ray reads while it is imported; to be set before that, and so apart from the executor."""

from __future__ import annotations

import os
import secrets
import sys

_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",          # a trial then costs 7 ms, not 90
    "TUNE_GLOBAL_CHECKPOINT_S": str(10**9),             # the database is the state
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",                 # Ctrl-C is the driver's
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_worker_niceness": "0",                         # training is what the machine is there for
    "TUNE_WARN_THRESHOLD_S": "60",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",                      # a relative path means the same in a worker
}


def prepare_ray(address: str | None) -> None:
    """Set what Ray and Tune are to do, and token authentication for a cluster that we start ourselves.

    A cluster at an `address` has a token of its own, in the environment or in Ray's token file.
    """
    os.environ |= {name: value for name, value in _SETTINGS.items() if name not in os.environ}
    if address is None and "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")     # no cluster: loopback only, on Linux too
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
