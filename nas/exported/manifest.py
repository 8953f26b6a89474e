"""`export.json`: the facts of an exported network as strict values, and how the file is read and written.

Fields that a later version adds are ignored; another `format` is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nas.errors import NasError, one_line
from nas.nodes import Shape

WEIGHTS, ARCHITECTURE, CODE, FACTS, EXAMPLE, CARD, CHECKS = (
    "model.safetensors", "architecture.yaml", "model.py", "export.json", "example.py", "card.md", "checks.json")
PT2, ONNX = "model.pt2", "model.onnx"       # where they were asked for and can be written
FILES = (WEIGHTS, ARCHITECTURE, CODE, FACTS, EXAMPLE, CARD, CHECKS, PT2, ONNX)
_LARGEST = 10_000_000       # bytes
AGAIN = "export it again with nas export"


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)


class Network(_Part):
    """Which network it is, by its id and in one line."""

    id: str
    line: str


class Input(_Part):
    """Images of shape (N, channels, resolution, resolution), uint8."""

    channels: Literal[1, 3]
    resolution: int = Field(ge=4, le=1024)


class Normalisation(_Part):
    """By channel, of pixels in [0, 1]: normalised = (pixel / 255 - mean) / std."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class Validation(_Part):
    """On the validation part, as the database has it: accuracy in [0, 1], mean cross-entropy in nats."""

    accuracy: float = Field(ge=0, le=1)
    loss: float | None
    images: int


class Test(_Part):
    """On the test part, read once, at the end of a training of a confirmation; `read` is when (ISO 8601, UTC)."""

    accuracy: float = Field(ge=0, le=1)
    loss: float | None
    images: int
    read: str


class Costs(_Part):
    """Of one image; exact."""

    params: int
    macs: int
    activations: int
    latency_ms: float | None


class Data(_Part):
    """What it was trained on. checksum: of the decoded images and their split."""

    name: str
    source: str
    checksum: str
    train_images: int


class Start(_Part):
    """The exported folder that a training began with, the SHA-256 of its weights, and whether its classifier was kept.
    """

    folder: str
    weights_sha256: str
    classifier_kept: bool


class Training(_Part):
    """How it was trained, by which trial of which study. start: None where its weights were new."""

    study: str
    trial: int
    trained_by: str
    recipe: dict[str, Any]
    seed: int
    epochs: int
    seconds: float
    device: str
    torch: str
    nas: str
    start: Start | None = None


class Manifest(_Part):
    """Everything that is known of an exported network."""

    format: Literal[1] = 1
    network: Network
    input: Input
    classes: tuple[str, ...] = Field(min_length=1)
    normalisation: Normalisation
    validation: Validation
    test: Test | None = None
    costs: Costs
    data: Data
    training: Training
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    @property
    def shape(self) -> Shape:
        """Of one image (C, H, W)."""
        return self.input.channels, self.input.resolution, self.input.resolution

    @property
    def flip_test(self) -> bool:
        """Whether its logits are the mean of those of an image and of its mirror image, as the recipe says."""
        return bool(self.training.recipe.get("flip_test", False))

    @model_validator(mode="after")
    def _channels_agree(self) -> Manifest:
        mean, std = self.normalisation.mean, self.normalisation.std
        if not len(mean) == len(std) == self.input.channels:
            raise ValueError(f"normalisation must have {self.input.channels} mean and std, one a channel")
        if min(std) <= 0:
            raise ValueError("normalisation.std must be above 0")
        return self

    def text(self) -> str:
        """As `export.json` holds it."""
        return self.model_dump_json(indent=2) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """The facts of an exported folder. Raises `NasError`."""
    path = folder / FACTS
    text = read(path, _LARGEST)
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        what = first["msg"].replace("Value error, ", "").replace("Input should", "must")
        raise NasError(one_line(f"{path}: {where + ': ' if where else ''}{what}; {AGAIN}")) from None


def read(path: Path, largest: int | None = None) -> bytes:
    """The bytes of a file of an exported folder. Raises `NasError` where it is missing, or above `largest` bytes."""
    if not path.parent.is_dir():
        raise NasError(f"{path.parent}: no such folder; give one that nas export wrote")
    try:
        if largest is not None and path.stat().st_size > largest:
            raise NasError(f"{path}: larger than {largest:,} bytes, so it is not of an export; {AGAIN}")
        return path.read_bytes()
    except OSError as error:
        raise NasError(f"{path}: cannot be read: {error.strerror}; {AGAIN}") from None
