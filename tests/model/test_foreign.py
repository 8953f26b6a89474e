"""Weights from elsewhere: networks written here with torchvision's names, and timm's own, compute what ours do."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

import nas
from nas.architecture import Architecture, Stage
from nas.errors import NasError
from nas.model import build
from nas.model.foreign import from_torchvision, load_weights
from nas.plan import plan
from nas.reference import reference

# --- a residual network as torchvision names it, written from the papers ----------------------------------------------


class SE(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // 16, 1)
        self.fc2 = nn.Conv2d(channels // 16, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc2(self.fc1(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


class Block(nn.Module):
    """`wide`: what convolutions put out and their sides; the first 3x3 strides."""

    def __init__(self, channels: int, wide: list[tuple[int, int]], stride: int, groups: int, se: bool):
        super().__init__()
        self.count, at, striding = len(wide), channels, [side for _, side in wide].index(3)
        for index, (out, side) in enumerate(wide):
            step, split = (stride, groups) if index == striding else (1, 1)
            self.add_module(f"conv{index + 1}", nn.Conv2d(at, out, side, step, side // 2, groups=split, bias=False))
            self.add_module(f"bn{index + 1}", nn.BatchNorm2d(out))
            at = out
        self.se = SE(at) if se else None
        self.downsample = None
        if stride > 1 or at != channels:
            self.downsample = nn.Sequential(nn.Conv2d(channels, at, 1, stride, bias=False), nn.BatchNorm2d(at))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for index in range(1, self.count + 1):
            y = self.get_submodule(f"bn{index}")(self.get_submodule(f"conv{index}")(y))
            y = y.relu() if index < self.count else y
        y = y if self.se is None else self.se(y)
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class Elsewhere(nn.Module):
    """inner: width inside the bottlenecks of the first stage; 0: basic blocks. cifar: 3x3 stem, three stages."""

    def __init__(self, depths: tuple[int, ...], inner: int = 0, groups: int = 1, se: bool = False, cifar: bool = False,
                 classes: int = 7):
        super().__init__()
        at, self.cifar = (16 if cifar else 64), cifar
        self.conv1 = nn.Conv2d(3, at, 3, 1, 1, bias=False) if cifar else nn.Conv2d(3, at, 7, 2, 3, bias=False)
        self.bn1, self.stages = nn.BatchNorm2d(at), len(depths)
        first = at * 4 if inner else at
        for stage, depth in enumerate(depths):
            out, wide = first * 2**stage, inner * 2**stage
            listed = [(wide, 1), (wide, 3), (out, 1)] if inner else [(out, 3), (out, 3)]
            blocks = []
            for block in range(depth):
                blocks.append(Block(at, listed, 2 if stage and not block else 1, groups, se))
                at = out
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(at, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        x = x if self.cifar else F.max_pool2d(x, 3, 2, 1)
        for stage in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{stage}")(x)
        return self.fc(x.mean((2, 3)))


NETWORKS: dict[str, dict[str, Any]] = {
    "resnet18": {"depths": (2, 2, 2, 2)},
    "resnet50": {"depths": (3, 4, 6, 3), "inner": 64},
    "resnext50_32x4d": {"depths": (3, 4, 6, 3), "inner": 128, "groups": 32},
    "wide_resnet50_2": {"depths": (3, 4, 6, 3), "inner": 128},
    "se_resnet18": {"depths": (2, 2, 2, 2), "se": True},
    "se_resnet50": {"depths": (3, 4, 6, 3), "inner": 64, "se": True},
    "resnet20": {"depths": (3, 3, 3), "cifar": True},
}


@torch.no_grad()
def shaken(network: nn.Module) -> nn.Module:
    """In eval mode, every norm and bias away from where it starts."""
    generator = torch.Generator().manual_seed(0)
    for name, value in network.state_dict().items():
        if value.is_floating_point() and value.ndim == 1:
            noise = torch.rand(value.shape, generator=generator)
            value.copy_(noise + 0.5 if name.endswith(("weight", "var")) else noise - 0.5)
    return network.eval()


def apart(ours: nn.Module, images: Tensor, logits: Tensor) -> float:
    """The largest difference of logits in float64, in units of their largest."""
    with torch.no_grad():
        return float((ours.double()(images) - logits).abs().max() / logits.abs().max())


@pytest.fixture(scope="module")
def resnet18() -> Elsewhere:
    torch.manual_seed(0)
    return Elsewhere(**NETWORKS["resnet18"]).eval()


@pytest.mark.parametrize("name", [
    "resnet18", *(pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS if name != "resnet18")])
def test_the_same_function(name: str) -> None:
    torch.manual_seed(1)
    theirs = shaken(Elsewhere(**NETWORKS[name]))
    ours = load_weights(name, theirs.state_dict())
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        logits = theirs.double()(images)
    assert not ours.training
    assert all(weight.dtype == torch.float32 and weight.requires_grad for weight in ours.parameters())
    assert apart(ours, images, logits) < 1e-10


def test_weights_are_copies(resnet18: Elsewhere) -> None:
    state = {name: value.clone() for name, value in resnet18.state_dict().items()}
    ours = load_weights("resnet18", state)
    with torch.no_grad():
        ours.get_parameter("stem.conv.weight").zero_()
    assert torch.equal(state["conv1.weight"], resnet18.conv1.weight)


def test_any_plan_of_that_form(resnet18: Elsewhere) -> None:
    """Not the named networks alone: three convolutions a block, one stage."""
    torch.manual_seed(2)
    theirs = Elsewhere((2,), cifar=True)
    theirs.layer1 = nn.Sequential(*(Block(16, [(16, 3)] * 3, 1, 1, False) for _ in range(2)))
    shaken(theirs)
    described = plan(Architecture((Stage(2, 16, shortcut_depth=3),)), (3, 16, 16), 7)
    ours = build(described).eval()
    ours.load_state_dict(from_torchvision(described, theirs.state_dict()))
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        assert apart(ours, images, theirs.double()(images)) < 1e-10


def test_there_are_as_many_classes_as_the_weights_have(resnet18: Elsewhere) -> None:
    assert load_weights("resnet18", resnet18.state_dict())(torch.zeros(1, 3, 64, 64)).shape == (1, 7)


def test_old_files_count_no_batches(resnet18: Elsewhere) -> None:
    state = {name: value for name, value in resnet18.state_dict().items() if "num_batches" not in name}
    assert int(load_weights("resnet18", state).get_buffer("stem.norm.num_batches_tracked")) == 0


def test_half_precision_is_widened(resnet18: Elsewhere) -> None:
    state = {name: value.half() if value.ndim else value for name, value in resnet18.state_dict().items()}
    ours = load_weights("resnet18", state)
    assert torch.equal(ours.get_parameter("stem.conv.weight"), resnet18.conv1.weight.half().float())


# --- what does not fit ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("name", "tensor", "said"), [
    ("layer2.0.conv1.weight", None, "layer2.0.conv1.weight: is missing"),
    ("bn1.running_var", None, "bn1.running_var: is missing"),
    ("fc.weight", None, "fc.weight: is missing"),
    ("last_linear.weight", torch.zeros(7, 512), "last_linear.weight: the network has no such tensor"),
    ("layer5.0.conv1.weight", torch.zeros(1), "layer5.0.conv1.weight: the network has no such tensor"),
    ("conv1.weight", torch.zeros(64, 3, 3, 3), "conv1.weight: is of shape (64, 3, 3, 3), and (64, 3, 7, 7) in the "
                                               "network"),
    ("bn1.weight", torch.zeros(64, 1, 1), "bn1.weight: is of shape (64, 1, 1), and (64,) in the network"),
    ("bn1.bias", torch.zeros(64, dtype=torch.int64), "bn1.bias: holds int64, and not numbers of its kind"),
    ("bn1.bias", [0.0] * 64, "bn1.bias: is no dense tensor"),
    ("bn1.bias", torch.zeros(64).to_sparse(), "bn1.bias: is no dense tensor"),
    ("a\nb" * 100, torch.zeros(1), None),
])
def test_tensors_that_do_not_fit(resnet18: Elsewhere, name: str, tensor: Any, said: str | None) -> None:
    state = dict(resnet18.state_dict())
    if tensor is None:
        del state[name]
    else:
        state[name] = tensor
    with pytest.raises(NasError) as caught:
        load_weights("resnet18", state)
    assert "\n" not in str(caught.value)
    assert said is None or str(caught.value) == f"the state dict: not weights of resnet18: {said}"


def test_another_networks_weights(resnet18: Elsewhere) -> None:
    with pytest.raises(NasError, match=r"not weights of resnet34: layer1\.2\.conv1\.weight: is missing$"):
        load_weights("resnet34", resnet18.state_dict())


@pytest.mark.parametrize("name", ["preact_resnet20", "wrn_16_4", "multi_resnet20_2"])
def test_networks_that_have_no_such_names(name: str) -> None:
    with pytest.raises(NasError, match="torchvision and timm have no such layer"):
        load_weights(name, {})


def test_timms_rounded_hidden_width() -> None:
    found = reference("se_resnet18")
    described = plan(found.architecture, found.shape, 7)
    state = Elsewhere(**NETWORKS["se_resnet18"]).state_dict()
    state["layer1.0.se.fc1.weight"] = torch.zeros(8, 64, 1, 1)
    with pytest.raises(NasError, match=r"layer1\.0\.se\.fc1\.weight: is of shape \(8, 64, 1, 1\), and \(4, 64\)"):
        from_torchvision(described, state)


# --- files ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("suffix", ["safetensors", "pth", "pt"])
def test_files(resnet18: Elsewhere, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights.{suffix}"
    if suffix == "safetensors":
        save_file(resnet18.state_dict(), path)
    else:
        torch.save(resnet18.state_dict(), path)
    ours = nas.load_weights("resnet18", path)
    assert torch.equal(ours.get_parameter("head.linear.weight"), resnet18.fc.weight)
    assert torch.equal(nas.load_weights("resnet18", str(path)).get_parameter("stem.conv.weight"), resnet18.conv1.weight)


class Hostile:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def bad_files(tmp_path: Path) -> Iterator[Path]:
    hostile = {"conv1.weight": Hostile(tmp_path / "unpickled")}
    torch.save(hostile, tmp_path / "hostile.pth")
    torch.save(nn.Linear(1, 1), tmp_path / "module.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    torch.save({1: torch.zeros(1)}, tmp_path / "numbers.pt")
    torch.save({"state_dict": {"conv1.weight": torch.zeros(1000)}}, tmp_path / "wrapped.pth")
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps(hostile))
    whole = (tmp_path / "wrapped.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[:len(whole) // 2])
    for name in ("garbage.pth", "garbage.safetensors"):
        (tmp_path / name).write_bytes(b"\x93garbage" * 50)
    for name in ("empty.pth", "empty.safetensors"):
        (tmp_path / name).touch()
    (tmp_path / "folder.pth").mkdir()
    (tmp_path / "other.bin").touch()
    yield tmp_path
    assert not (tmp_path / "unpickled").exists()


@pytest.mark.parametrize(("name", "said"), [
    ("hostile.pth", "does not hold tensors alone"), ("pickle.pth", "does not hold tensors alone"),
    ("module.pth", "does not hold tensors alone"), ("cut.pth", "does not hold tensors alone"),
    ("garbage.pth", "does not hold tensors alone"), ("garbage.safetensors", "does not hold tensors alone"),
    ("empty.pth", "does not hold tensors alone"), ("empty.safetensors", "does not hold tensors alone"),
    ("list.pt", "holds a list, not the state dict"), ("numbers.pt", "holds a dict, not the state dict"),
    ("wrapped.pth", "not weights of resnet18: state_dict: the network has no such tensor"),
    ("folder.pth", "cannot be read"), ("missing.safetensors", "cannot be read"), ("missing.pth", "cannot be read"),
    ("other.bin", "is not a .safetensors, .pth or .pt file")])
def test_files_that_will_not_do(bad_files: Path, name: str, said: str) -> None:
    path = bad_files / name
    with pytest.raises(NasError) as caught:
        load_weights("resnet18", path)
    assert str(caught.value).startswith(f"{path}: {said}")
    assert "\n" not in str(caught.value)


# --- timm itself ------------------------------------------------------------------------------------------------------

TIMM = "timm==1.0.31"
OURS = {    # by timm's name
    "resnet18": "resnet18", "resnet50": "resnet50", "resnext50_32x4d": "resnext50_32x4d",
    "wide_resnet50_2": "wide_resnet50_2", "seresnet50": "se_resnet50", "seresnext50_32x4d": "seresnext50_32x4d"}


@pytest.fixture(scope="module")
def timm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights and answers of timm's networks."""
    folder = tmp_path_factory.mktemp("timm")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-cache-dir", "--disable-pip-version-check",
           "--retries", "2", "--timeout", "20", "--target", "packages", TIMM]
    done = subprocess.run(pip, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{TIMM} cannot be had here: {(done.stderr.strip().splitlines() or ['pip failed'])[-1]}")
    main = Path(__file__).with_name("timm_main.py")
    made = subprocess.run([sys.executable, str(main), str(folder / "packages"), *OURS], cwd=folder,
                          capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", OURS)
def test_the_same_function_as_timms(timm: Path, name: str) -> None:
    answers = load_file(timm / f"{name}.answers.safetensors")
    ours = nas.load_weights(OURS[name], timm / f"{name}.safetensors")
    assert answers["logits"].shape == (2, 1000)
    assert apart(ours, answers["images"], answers["logits"]) < 1e-10
