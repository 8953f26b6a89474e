"""model.py of random points of every shipped space, on disk, in a process that has torch, safetensors and no nas."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from shipped import SPACE_NAMES, legal_points

from nas.model import build, source
from nas.nodes import Sequence
from nas.plan import plan
from nas.verify.networks import shaken

POINTS = 50
_RUN = "import runpy, sys; sys.path.append(sys.argv.pop(1)); runpy.run_path(sys.argv.pop(1), run_name='__main__')"


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that is installed, but nas."""
    folder = tmp_path_factory.mktemp("packages")
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith(("nas", "__editable__")):
            (folder / path.name).symlink_to(path)
    return folder


def put(folder: Path, built: Sequence, seed: int) -> None:
    """A network and what it makes of two images."""
    network = shaken(build(built, seed), seed).float().eval()
    images = torch.randn(2, *built.shape, generator=torch.Generator().manual_seed(seed))
    folder.mkdir()
    (folder / "model.py").write_text(source(built, "a network"))
    save_file(network.state_dict(), folder / "model.safetensors")
    with torch.no_grad():
        save_file({"images": images, "logits": network(images)}, folder / "given.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("name", SPACE_NAMES)
def test_alone_it_gives_the_same_bits(name: str, packages: Path, tmp_path: Path) -> None:
    for seed, (_, architecture) in enumerate(legal_points(name, POINTS, seed=10)):
        put(tmp_path / f"{seed}", plan(architecture, (3, 8, 8), 10), seed)
    main = Path(__file__).with_name("source_main.py")
    done = subprocess.run([sys.executable, "-I", "-S", "-B", "-c", _RUN, packages, main, tmp_path],
                          capture_output=True, text=True, cwd="/")
    shutil.rmtree(tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"networks": POINTS, "wrong": {}}
