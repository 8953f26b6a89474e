"""Small real images, folders and archives for the tests of the data room."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

REAL = Path(__file__).parents[3] / "shared" / "data" / "cifar10-jpeg.tar.xz"
"""The real CIFAR-10 as JPEGs, where the checkout has it beside it."""


def picture(colour: int | tuple[int, int, int], size: tuple[int, int] = (8, 8), form: str = "PNG") -> bytes:
    """An encoded image of one colour; grey for a number."""
    buffer = io.BytesIO()
    Image.new("L" if isinstance(colour, int) else "RGB", size, colour).save(buffer, form)
    return buffer.getvalue()


def noise(seed: int, size: tuple[int, int] = (8, 8), form: str = "PNG") -> bytes:
    """An encoded colour image of noise."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def images(classes: Iterable[str] = ("cat", "dog"), each: int = 10, prefix: str = "") -> dict[str, bytes]:
    """`each` noise images of every class, by name."""
    return {f"{prefix}{label}/{i:03}.png": noise(1000 * c + i)
            for c, label in enumerate(classes) for i in range(each)}


def folder_of(files: dict[str, bytes], top: Path) -> Path:
    """A folder with these files."""
    for name, data in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(data)
    return top


def tar_of(files: dict[str, bytes], path: Path, extra: Iterable[tarfile.TarInfo] = ()) -> Path:
    """A tar, compressed as the suffix says, with these files and then the headers `extra`."""
    mode = {".gz": "w:gz", ".tgz": "w:gz", ".xz": "w:xz"}.get(path.suffix, "w")
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info in extra:
            tar.addfile(info)
    return path


def zip_of(files: dict[str, bytes], path: Path) -> Path:
    """A zip with these files."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path
