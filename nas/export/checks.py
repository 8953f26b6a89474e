"""What an export must pass before it appears: the folder, read back from the disk, is the network in the database.

Its accuracy and loss on the validation part are computed again, its costs too. `model.py` has to give the same logits
to the last bit, and the files of other runtimes nearly the same, in a process of their own. On the machine that trained
it the accuracy comes out equal. Another device, or another number of threads, adds in another order, which can only
turn an image whose two best logits are all but equal: one image in `NEAR_IMAGES` (at least one) may differ, and the
loss by a share of `NEAR_LOSS`; `checks.json` says whether any did, and holds the checksum of every other file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas.cost import cost
from nas.errors import NasError
from nas.export.apart import logits_apart
from nas.export.formats import FILE_OF
from nas.exported.loading import load, read_plan
from nas.exported.manifest import CHECKS, CODE, Manifest, read_manifest
from nas.store import TrialRecord
from nas.train import Split, accuracy_and_loss

NEAR_IMAGES = 1000
NEAR_LOSS = 1e-3
ALLOWED = 1e-4      # that logits of another runtime may differ; those of model.py must not
_COMPARED = 64      # images whose logits are compared


def check(folder: Path, record: TrialRecord, validation: Split, flip_test: bool,
          left_out: Mapping[str, str]) -> dict[str, Any]:
    """The checks of an exported folder and their figures, for `checks.json`. Raises `NasError` where one fails.

    flip_test: as the recipe says that the accuracy in the database was taken. left_out: the formats that were not
    written, and why; only told.
    """
    facts = read_manifest(folder)
    network = load(folder)
    _finite(record.number, network.state_dict())
    costs = _costs(folder, facts, record, network)
    logits = _logits(folder, network, network.preprocess(torch.tensor(validation.images[:_COMPARED])))
    device = "cuda" if not record.device.startswith("cpu") and torch.cuda.is_available() else "cpu"
    mean, std = network.preprocess.mean, network.preprocess.std
    accuracy, loss = accuracy_and_loss(network, validation, mean, std, device, flip=flip_test)
    same = _agreement(record, accuracy, loss, len(validation.labels))
    return {
        "accuracy": {"database": record.trainings[0].accuracy, "exported": accuracy, "exact": same},
        "loss": {"database": record.trainings[0].loss, "exported": loss},
        "costs": {**costs, "exact": True},
        "logits": logits,
        "left_out": dict(left_out),
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())},
        "flip_test": flip_test, "device": device, "threads": torch.get_num_threads(), "torch": torch.__version__,
    }


def text(checks: Mapping[str, Any]) -> str:
    """As `checks.json` holds them."""
    return json.dumps(checks, indent=2) + "\n"


def left_out(folder: Path) -> dict[str, str]:
    """The formats that an export of ours did without, and why."""
    found: dict[str, str] = json.loads((folder / CHECKS).read_text(encoding="utf-8"))["left_out"]
    return found


def _finite(number: int, weights: Mapping[str, Tensor]) -> None:
    bad = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise NasError(f"trial {number}: its weights are not finite numbers ({bad[0]}, {len(bad)} tensors in all); "
                       "train it again with nas train, at a lower recipe.learning_rate")


def _costs(folder: Path, facts: Manifest, record: TrialRecord, network: nn.Module) -> dict[str, int]:
    found = cost(read_plan(folder, facts))._asdict()
    said = {name: getattr(record, name) for name in found}
    counted = sum(parameter.numel() for parameter in network.parameters())
    if found != said or counted != found["params"]:
        raise NasError(f"trial {record.number}: its costs come out as {found} with {counted:,} parameters counted, and "
                       f"the database says {said}; it was stored by another version: train it again with nas train")
    return found


def _logits(folder: Path, network: nn.Module, images: Tensor) -> dict[str, Any]:
    """By file, how far its logits are from the network's own, and how far they may be."""
    with torch.inference_mode():
        own = network(images.contiguous(memory_format=torch.channels_last))
    others = [path for path in map(folder.joinpath, FILE_OF.values()) if path.exists()]
    found = {CODE: (_of_code(folder, network, images), 0.0)}
    found |= {path.name: (logits, ALLOWED) for path, logits in logits_apart(others, images).items()}
    return {"images": len(images), **{name: _near(name, own, *one) for name, one in found.items()}}


def _near(name: str, own: Tensor, logits: Tensor, allowed: float) -> dict[str, float]:
    apart = float((logits - own).abs().max()) if logits.shape == own.shape else float("inf")
    if not apart <= allowed:
        raise NasError(f"{name}: its logits are up to {apart:g} from the network's own, {allowed:g} allowed: a defect "
                       f"of {'nas' if allowed == 0 else 'nas or of the exporter (leave it out with --format)'}; "
                       "report it; nothing was exported")
    return {"apart": apart, "allowed": allowed}


def _of_code(folder: Path, network: nn.Module, images: Tensor) -> Tensor:
    """Run the model.py that was just written here, as its user will."""
    written: dict[str, Any] = {"__name__": "model"}
    exec(compile((folder / CODE).read_text(encoding="utf-8"), str(folder / CODE), "exec"), written)
    alone: nn.Module = written["build"]()
    alone.load_state_dict(network.state_dict())
    alone.to(memory_format=torch.channels_last).eval()      # type: ignore[call-overload]
    with torch.inference_mode():
        logits: Tensor = alone(images.contiguous(memory_format=torch.channels_last))
    return logits


def _agreement(record: TrialRecord, accuracy: float, loss: float, images: int) -> bool:
    """Whether the accuracy is equal to the last bit. Raises `NasError` where it is not even near."""
    said, said_loss = record.trainings[0].accuracy, record.trainings[0].loss
    assert said is not None, "a COMPLETE trial has an accuracy"
    allowed = max(1, images // NEAR_IMAGES)
    apart = round(abs(accuracy - said) * images)
    near_loss = said_loss is None or abs(loss - said_loss) <= NEAR_LOSS * max(abs(said_loss), 1e-3)
    if apart > allowed or not near_loss:
        shown = "" if said_loss is None else f" (loss {said_loss:.6f})"
        raise NasError(
            f"trial {record.number}: the exported network has validation accuracy {accuracy:.6f} (loss {loss:.6f}) and "
            f"the database says {said:.6f}{shown}: {apart} of {images:,} images apart, {allowed} allowed; nothing was "
            "exported: train it again with nas train")
    return accuracy == said
