"""A training that begins with an exported network: fine-tuning. How its study is made, and how its weights get there.

Everything keeps its weights but the classifier, which is a new one where the classes differ. `recipe.start` says which
weights those are, so that a network that was trained from scratch is never taken for one that was not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from nas.data import describe
from nas.errors import NasError, one_line
from nas.exported.loading import load
from nas.exported.manifest import ARCHITECTURE, Manifest, Start, read_manifest
from nas.settings import KEPT
from nas.study import Study, study_of
from nas.yamlfile import Document, Given, read

LEARNING_RATE = 0.05
"""Half that of a training from scratch. Measured on CIFAR-10 at 16 x 16 with a network of three basic blocks that knows
six classes; means of the accuracy at rates 0.02, 0.05 and 0.1, and from scratch at 0.1. On 400 images of the other
four, 10 epochs: 0.655, 0.667, 0.670 and 0.611 (five seeds, standard deviation 0.015); on 1,680 of them, 20 epochs:
0.771, 0.795, 0.811 and 0.767 (three, 0.010). On 192 new images of the six, 20 epochs, all lose: 0.582, 0.585 and
0.582, with 0.626 at 0.005, and 0.656 as it was."""
_CLASSIFIER = "head.linear."


def begin(model: nn.Module, folder: str, start: str) -> None:
    """Give `model`, as it was built, the weights that `start`, of a recipe, means.

    Raises `NasError` where they are not in `folder`, or are those of another network.
    """
    wanted, found = start.removesuffix(KEPT), read_manifest(Path(folder)).weights_sha256
    if found != wanted:
        raise NasError(one_line(f"{folder}: holds other weights ({found[:12]}) than the training begins with "
                                f"({wanted[:12]}); put them back, or begin with these under another --name"))
    weights, own = (_taken(of, start) for of in (load(folder), model))
    if {name: value.shape for name, value in weights.items()} != {name: value.shape for name, value in own.items()}:
        raise NasError(one_line(f"{folder}: holds the weights of another network; use nas train --from {folder}"))
    model.load_state_dict(weights, strict=False)


def start_facts(start: str, folder: str | None) -> Start | None:
    """What an export says of `recipe.start` and `search.start`."""
    if not start:
        return None
    return Start(folder=folder or "", weights_sha256=start.removesuffix(KEPT), classifier_kept=start.endswith(KEPT))


def tuned_study(folder: Path, source: str | None, given: Iterable[str]) -> Study:
    """The study that trains the network of `folder` on, on the images of `source`; by default on those that it knows.

    given: `KEY=VALUE`, over the defaults. The images get the network's resolution where `given` has none. Raises
    `NasError`, also where they have another number of channels.
    """
    facts = read_manifest(folder)
    load(folder)        # or it says what is wrong with it
    document = _document(folder, facts, source)
    for assignment in given:
        document.set(assignment)
    study = study_of(document, "tuned")
    if study.space.axes or study.space.decode({}).id != facts.network.id:
        raise NasError(one_line(f"--from {folder}: its network is what it is; leave out what --set says of it"))
    with study.blamed():
        info = describe(study.data)
    if info.channels != facts.input.channels:
        raise NasError(one_line(f"--from {folder}: takes images of {facts.input.channels} channels, and those of "
                                f"{study.data.source} have {info.channels}; have them converted: --set "
                                f"data.channels={facts.input.channels}"))
    start = facts.weights_sha256 + KEPT * (info.classes == facts.classes)
    for key, value in (("recipe.start", start), ("search.start", str(folder.absolute()))):
        document.set(Given(f"{key}={json.dumps(value, ensure_ascii=False)}", f"--from {folder}"))
    return study_of(document, "tuned")


def _document(folder: Path, facts: Manifest, source: str | None) -> Document:
    """What a study file would hold."""
    path, training = folder / ARCHITECTURE, facts.training
    written = read(path).values
    data = {"source": source, "resolution": facts.input.resolution} if source else written.get("data", {})
    values: dict[str, Any] = {
        "name": f"tune-{written.get('name', 'network')}",
        "about": f"{facts.network.line}; begun with trial {training.trial} of study {training.study}",
        "network": written["network"], "data": data,
        "recipe": {"schedule": "one_cycle", "learning_rate": LEARNING_RATE},
    }
    return Document(one_line(str(path)), values)


def _taken(model: nn.Module, start: str) -> dict[str, Tensor]:
    """The weights that a training takes over; of a classifier none, unless it is kept."""
    return {name: value for name, value in model.state_dict().items()
            if start.endswith(KEPT) or not name.startswith(_CLASSIFIER)}
