"""Whether the blocks of a stage refine one estimate (Greff et al. 2017).

If they do, every block's output is, up to noise that shrinks from block to block, what the stage puts out in the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from nas.diagnosis.blocks import Undefined, blocks_of, by_stage
from nas.diagnosis.patches import hooked, run_through


@dataclass(frozen=True, slots=True)
class Estimation:
    """The outputs a_1 to a_n of the blocks of one stage against the last: the estimation error a_i - a_n.

    at: the blocks but the last one. mean, std: of the error over images and units, both divided by the standard
    deviation of a_n: two unrelated activations of one size have std 1.41.
    """

    stage: str
    at: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def falls(self) -> bool:
        """Whether the std falls from each block to the next: the mark of iterative estimation."""
        return all(b < a for a, b in pairwise(self.std))


def iterative_estimation(model: nn.Module, images: Tensor) -> list[Estimation]:
    """Of each stage of two blocks or more, in running order. images: (N, C, H, W).

    Raises `Undefined` where every stage has one block.
    """
    stages = {name: blocks for name, blocks in by_stage(blocks_of(model, images)).items() if len(blocks) > 1}
    if not stages:
        raise Undefined("every stage has one block: there is nothing to refine within a stage")
    outputs: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        outputs[module] = output

    sums = {block.name: torch.zeros(3, dtype=torch.float64) for blocks in stages.values() for block in blocks}
    with hooked((block.module, keep) for blocks in stages.values() for block in blocks):
        for _ in run_through(model, images):
            for *before, end in stages.values():
                last = outputs[end.module]
                sums[end.name] += _moments(last)
                for block in before:
                    sums[block.name] += _moments(outputs[block.module] - last)
    return [_estimation(stage, [block.name for block in blocks], sums) for stage, blocks in stages.items()]


def _moments(values: Tensor) -> Tensor:
    """Count, sum and sum of squares."""
    values = values.double()
    return torch.stack([values.new_tensor(values.numel()), values.sum(), values.square().sum()]).cpu()


def _estimation(stage: str, names: Sequence[str], sums: dict[str, Tensor]) -> Estimation:
    scale = _std(sums[names[-1]]) or 1.0
    errors = [sums[name] for name in names[:-1]]
    return Estimation(stage, tuple(names[:-1]), tuple(float(e[1] / e[0]) / scale for e in errors),
                      tuple(_std(e) / scale for e in errors))


def _std(moments: Tensor) -> float:
    count, total, squares = moments.tolist()
    return math.sqrt(max(0.0, squares / count - (total / count) ** 2))
