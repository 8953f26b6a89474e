"""What passes between the driver of a search and its workers: a `Job` goes out, `Progress` comes back.

Plain values, no torch: the driver runs where torch is not wanted, and a worker never sees the database.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from nas.architecture import Architecture
from nas.network import Network, architecture_of
from nas.nodes import Shape
from nas.settings import Data, Recipe


@dataclass(frozen=True, slots=True)
class Job:
    """One training: which network, on which data, how, for how many epochs."""

    study: str
    number: int
    network: Network
    shape: Shape
    classes: int
    data: Data
    recipe: Recipe
    seed: int
    epochs: int
    latency: bool = False           # measure latency_ms at the end
    test: bool = False              # evaluate on the test part at the end: in a confirmation alone
    threads: int | None = None      # CPU threads of the worker; None: leave them
    rungs: tuple[int, ...] = ()     # epochs at which it may be stopped, and later be gone on with
    artifacts: str = ""             # where it is kept on the way; empty: in the machine's cache
    start: str = ""                 # exported folder that holds the weights of recipe.start

    @property
    def architecture(self) -> Architecture:
        """The network, to be built."""
        return architecture_of(self.network)

    def to_json(self) -> str:
        """The job as JSON text; `from_json` inverts it."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        values |= {"network": self.network.to_dict(), "data": self.data.model_dump(),
                   "recipe": self.recipe.model_dump()}
        return json.dumps(values)

    @staticmethod
    def from_json(text: str) -> Job:
        """The job that `to_json` wrote."""
        values: dict[str, Any] = json.loads(text)
        values |= {"network": Architecture.from_dict(values["network"]), "shape": tuple(values["shape"]),
                   "rungs": tuple(values["rungs"]), "data": Data(**values["data"]),
                   "recipe": Recipe(**values["recipe"])}
        return Job(**values)


@dataclass(frozen=True, slots=True)
class Progress:
    """One more epoch of a job, or its end.

    `accuracy` in [0, 1] and `loss` are of the averaged weights on the validation part; `seconds` of training and
    evaluation. With `failure` the job has ended without a result; where it is a `mistake` of the user's, such as a full
    disk, no other job would do better. On the last epoch `done` is set, and `weights` holds the state dict as
    safetensors bytes.
    """

    epoch: int
    train_loss: float = 0.0
    loss: float = 0.0
    accuracy: float = 0.0
    seconds: float = 0.0
    done: bool = False
    failure: str = ""
    out_of_memory: bool = False
    mistake: bool = False
    disk_full: bool = False
    latency_ms: float | None = None
    tested: tuple[float, float] | None = None       # accuracy and loss on the test part
    weights: bytes | None = None
    device: str = ""


Evaluator: TypeAlias = Callable[[Job], Iterator[Progress]]


LATE: Mapping[str, object] = {"mixup": 0.0, "cutmix": 0.0, "flip_test": False, "start": ""}
"""Fields of the recipe that came after results had been stored, and the value that does what was done before them."""


def recipe_key(recipe: Recipe) -> str:
    """What identifies a recipe, apart from its epochs, which an evaluation's key holds by themselves.

    A field of `LATE` counts only where it says something else than before: so stored results keep their keys.
    """
    values = recipe.model_dump(exclude={"epochs"} if recipe.levels else {"epochs", "levels"})
    values = {name: value for name, value in values.items() if name not in LATE or value != LATE[name]}
    if recipe.schedule == "one_cycle" or recipe.levels:
        values["epochs"] = recipe.epochs        # there the length shapes every epoch
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
