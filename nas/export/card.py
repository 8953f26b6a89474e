"""`card.md` of every exported folder: what the network is, how good, of what cost, and how to load it, to be read.

Everything in it stands in `export.json` and in the database; what only its owner can say is left to be filled in.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any

from nas.errors import one_line
from nas.exported.manifest import Manifest
from nas.intervals import mean_interval, wilson
from nas.store import State, TrialRecord

_MODEL_PY = '''\
from model import build
from safetensors.torch import load_file
network = build().eval()
network.load_state_dict(load_file("model.safetensors"))
'''
_NAS = '''\
import nas
from torch import uint8, zeros
network = nas.load(".")
logits = network(network.preprocess(zeros({pixels}, dtype=uint8)))
'''
_PT2 = '''\
import torch
network = torch.export.load("model.pt2").module()
images = torch.zeros({pixels})
logits = network(images)
'''
_ONNX = '''\
import numpy, onnxruntime
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
images = numpy.zeros(({pixels}), "float32")
(logits,) = session.run(None, {{"images": images}})
'''
_FORMATS = {
    "pt2": ("model.pt2: needs torch alone. It held no pickle when it was written; torch.export.load would run one, so "
            "load only files that you trust.", _PT2),
    "onnx": ("model.onnx: needs onnxruntime.", _ONNX),
}


def card(facts: Manifest, record: TrialRecord, formats: Collection[str], modules: Collection[str]) -> str:
    """The text. formats: those that were written. modules: of users' blocks, whose files lie in the folder."""
    about = (f"A residual network that classifies images: trial {facts.training.trial} of the study "
             f"{facts.training.study}, found by an architecture search (nas {facts.training.nas}).")
    parts = [
        f"# {facts.training.study}, trial {facts.training.trial}", one_line(facts.network.line), about,
        "## Load it", *_loading(facts, formats, modules),
        "## Input and output", *_input(facts),
        "## Accuracy", *_accuracy(facts, record),
        "## Cost of one image", _table(_costs(facts)),
        "## Data", _table(_data(facts)),
        "## Training", _table(_training(facts)),
        "## Licence", "- of the weights: licence: (yours to say)\n- of the data: licence: (yours to say)\n"
                      "- author and contact: (yours to say)\n- intended use and limits: (yours to say)",
    ]
    return "\n\n".join(parts) + "\n"


def _loading(facts: Manifest, formats: Collection[str], modules: Collection[str]) -> list[str]:
    files = ", ".join(f"{module}.py" for module in modules)
    pixels = ", ".join(map(str, (2, *facts.shape)))
    ways = [
        ("model.safetensors and model.py: need torch and safetensors"
         + (f", and {files} beside them." if files else "."), _MODEL_PY),
        *(_FORMATS[name] for name in formats),
        ("With nas installed: nothing of the folder is run"
         + (f", and {files} is looked for where your blocks are (NAS_BLOCKS)." if files else "."), _NAS),
    ]
    return ["Each as it stands, in this folder. `example.py` normalises and names the classes, too.",
            *(f"{words}\n\n```python\n{code.format(pixels=pixels)}```" for words, code in ways)]


def _input(facts: Manifest) -> list[str]:
    mean, std = list(facts.normalisation.mean), list(facts.normalisation.std)
    channels, height, width = facts.shape
    return [
        f"In: images of shape (N, {channels}, {height}, {width}), float32, normalised by channel: "
        "(pixel / 255 - mean) / std, of pixels 0 to 255.",
        _table([("mean", mean), ("std", std)]),
        f"Out: logits of shape (N, {len(facts.classes)}), in the order of the classes:",
        "    " + one_line(json.dumps(list(facts.classes), ensure_ascii=False)),
    ]


def _accuracy(facts: Manifest, record: TrialRecord) -> list[str]:
    whole = {one.seed: one.accuracy for one in record.trainings
             if one.state is State.COMPLETE and one.accuracy is not None}
    values, images = list(whole.values()), facts.validation.images
    if len(values) > 1:
        rows = [("mean", f"{sum(values) / len(values):.4f}"),
                ("spread (standard deviation)", f"{record.spread:.4f}"),
                ("95 % interval of the mean", f"{_student(values)}, over {len(values)} seeds")]
    else:
        low, high = wilson(round(facts.validation.accuracy * images), images)
        rows = [("spread", "not known: one seed"),
                ("95 % interval", f"{low:.4f} to {high:.4f} (Wilson, over {images:,} images)")]
    seeds = [(f"seed {seed}" + " (these weights)" * (seed == facts.training.seed), f"{accuracy:.4f}")
             for seed, accuracy in whole.items()]
    return [f"On the {images:,} validation images, by which the search chose: expect less on new ones.",
            _table([*seeds, *rows]), *_test(facts, record)]


def _test(facts: Manifest, record: TrialRecord) -> list[str]:
    """What a confirmation read on the test part; nothing of a search's network."""
    test, whole = facts.test, [one for one in record.trainings if one.test_accuracy is not None]
    if test is None:
        return ["The test part was not read: nas confirm trains the front in full and reads it."]
    values = [float(one.test_accuracy or 0) for one in whole]
    low, high = wilson(round(test.accuracy * test.images), test.images)
    rows = [(f"these weights, read on {test.read[:10]}", f"{test.accuracy:.4f}, {low:.4f} to {high:.4f} (Wilson)")]
    if len(values) > 1:
        rows.append((f"mean of {len(values)} seeds", f"{sum(values) / len(values):.4f}, {_student(values)}"))
    return [f"On the {test.images:,} test images, by which nothing was chosen:", _table(rows)]


def _student(values: list[float]) -> str:
    found = mean_interval(values)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    return f"{max(0.0, found.low):.4f} to {min(1.0, found.high):.4f} (Student)"


def _costs(facts: Manifest) -> list[tuple[str, Any]]:
    costs, latency = facts.costs, facts.costs.latency_ms
    return [("MACs", f"{costs.macs:,}"), ("params", f"{costs.params:,}"), ("activations", f"{costs.activations:,}"),
            ("latency", "not measured" if latency is None else
             f"{latency:.3g} ms, forward, float32, in torch, on the machine it was trained on: "
             f"{facts.training.device or 'not known'}")]


def _data(facts: Manifest) -> list[tuple[str, Any]]:
    data = facts.data
    return [("name", data.name), ("source", data.source), ("checksum (of the decoded images and their split)",
            data.checksum), ("images", f"{data.train_images:,} to train, {facts.validation.images:,} to validate")]


def _training(facts: Manifest) -> list[tuple[str, Any]]:
    training = facts.training
    recipe = [(f"recipe.{name}", value) for name, value in training.recipe.items()]
    return [("epochs", training.epochs), ("seed", training.seed), ("seconds", f"{training.seconds:.1f}"),
            ("device", training.device), ("torch", training.torch), ("nas", training.nas), *recipe]


def _table(rows: Iterable[tuple[str, Any]]) -> str:
    cells = [f"| {name} | {_cell(value)} |" for name, value in rows]
    return "\n".join(["| | |", "|---|---|", *cells])


def _cell(value: Any) -> str:
    """On one line, and without the signs that would end it."""
    return one_line(str(value)).replace("|", "\\|").replace("`", "'")
