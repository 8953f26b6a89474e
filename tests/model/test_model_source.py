"""The written source and the built module are one network: same keys, same bits."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from model_cases import drawn
from shipped import SPACE_NAMES, legal_points
from torch import nn

from nas.architecture import Architecture, Stage
from nas.model import build, source
from nas.nodes import Sequence
from nas.plan import plan

TINY = plan(Architecture((Stage(1, 4),), stem_width=4), (1, 8, 8), 2)


def executed(text: str) -> dict[str, Any]:
    """The names that the source defines, run with nothing of ours in sight."""
    names: dict[str, Any] = {"__name__": "exported"}
    exec(compile(text, "network.py", "exec"), names)
    return names


def agree(built_plan: Sequence, seed: int) -> None:
    ours = build(built_plan, seed).eval()
    theirs: nn.Module = executed(source(built_plan, "a network"))["build"]().eval()
    assert list(theirs.state_dict()) == list(ours.state_dict())
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, *built_plan.shape, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        assert torch.equal(theirs(x), ours(x))


@pytest.mark.parametrize("name", SPACE_NAMES)
def test_source_of_random_points(name: str) -> None:
    for seed, (_, architecture) in enumerate(legal_points(name, 2, seed=9)):
        agree(plan(architecture, (3, 8, 8), 10), seed)


def test_source_of_networks_of_every_knob() -> None:
    rng = random.Random(8)
    for seed in range(15):
        agree(plan(drawn(rng), (3, 8, 9), 5), seed)


def test_source_starts_with_the_same_weights() -> None:
    """Built under the same seed, the exported code even draws the same weights."""
    torch.manual_seed(3)
    theirs = executed(source(TINY, ""))["build"]().state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in build(TINY, 3).state_dict().items())


def test_source_needs_torch_alone() -> None:
    text = source(TINY, "tiny")
    imports = {line.split()[1] for line in text.splitlines() if line.startswith(("import ", "from "))}
    assert imports == {"torch", "torch.nn"} or imports == {"torch"}
    assert "nas" not in {word.split(".")[0] for word in imports}


@pytest.mark.parametrize("about", [
    "", 'ends in a quote"', '"', '"""', '\\', 'a \\" b', '""""""\nimport os', "two\nlines", "ends in a backslash\\",
    "\\N{BULLET} \\x41", "α × β"])
def test_any_words_are_a_docstring(about: str) -> None:
    """What a study says of itself cannot become code, and is kept as it was."""
    names = executed(source(TINY, about))
    assert names["__doc__"] == about
    assert "os" not in names
