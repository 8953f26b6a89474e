"""Random points of shipped spaces as model.pt2 and model.onnx: loaded and run without nas, they agree with ours."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest
import torch
from shipped import legal_points
from torch import Tensor

from nas.architecture import Architecture
from nas.export.apart import logits_apart
from nas.export.checks import ALLOWED
from nas.export.formats import FILE_OF, contents_of
from nas.model import build
from nas.plan import plan
from nas.verify.networks import shaken

SHAPE, CLASSES = (3, 8, 8), 10
IMAGES = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(0))


def points_of(name: str, count: int, blocks: int) -> list[Architecture]:
    """Random points of at most so many blocks: exporters need a second or two for each."""
    drawn = (architecture for _, architecture in legal_points(name, 10_000, seed=11))
    return list(itertools.islice((one for one in drawn if sum(s.depth for s in one.stages) <= blocks), count))


def agree(name: str, points: int, blocks: int, folder: Path) -> str:
    """Every point is written in every format, and all files agree, run in one process; the figures in words."""
    own: dict[Path, Tensor] = {}
    for seed, architecture in enumerate(points_of(name, points, blocks)):
        network = shaken(build(plan(architecture, SHAPE, CLASSES), seed), seed).float().eval()
        with torch.no_grad():
            logits = network(IMAGES)
        contents = contents_of(network, SHAPE, tuple(FILE_OF))
        for kind, content in contents.items():
            assert isinstance(content, bytes), f"point {seed} of {name} cannot be written as {kind}: {content}"
            path = folder / f"{seed}-{FILE_OF[kind]}"
            path.write_bytes(content)
            own[path] = logits
    started = time.perf_counter()
    apart = {path.name: float((logits - own[path]).abs().max())
             for path, logits in logits_apart(list(own), IMAGES).items()}
    seconds = time.perf_counter() - started
    assert len(apart) == points * len(FILE_OF)
    assert {name: distance for name, distance in apart.items() if not distance <= ALLOWED} == {}
    most = {file: max(distance for name, distance in apart.items() if name.endswith(file)) for file in FILE_OF.values()}
    size = max(float(logits.abs().max()) for logits in own.values())
    return f"{name}: {points} points, at most {most} apart, logits up to {size:.3g}, run in {seconds:.1f} s"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "points"), [("residual_family", 4), ("convnext", 1)])
def test_other_runtimes_agree(name: str, points: int, tmp_path: Path) -> None:
    agree(name, points, 4, tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("name", "points"), [("residual_family", 50), ("convnext", 8)])
def test_other_runtimes_agree_at_many_points(name: str, points: int, tmp_path: Path) -> None:
    print(agree(name, points, 100, tmp_path))
