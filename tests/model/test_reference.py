"""Networks of the literature by name: their published counts, the numbers that they cannot have, the commands."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from model_cases import CIFAR, IMAGENET, PUBLISHED

from nas.cost import cost
from nas.errors import NasError
from nas.plan import plan
from nas.reference import EXAMPLES, Reference, is_reference, reference
from nas.study import document_of, is_named, load_study

# By name, the row of the published table.
NAMES = {
    **{name: name for name in (
        "resnet18", "resnet34", "resnet50", "resnet101", "resnext50_32x4d", "resnext101_32x8d", "wide_resnet50_2",
        "se_resnet50", "seresnext50_32x4d")},
    "resnet20_a": "ResNet-20 A", "resnet20": "ResNet-20 B", "resnet56_a": "ResNet-56 A", "resnet56": "ResNet-56 B",
    "resnet110_a": "ResNet-110 A", "resnet110": "ResNet-110 B",
    "preact_resnet110_a": "pre-activation ResNet-110 A", "preact_resnet110": "pre-activation ResNet-110 B",
    "preact_bottleneck_resnet164": "pre-activation ResNet-164",
    "wrn_16_4": "WRN-16-4", "wrn_28_10": "WRN-28-10", "resnext29_8x64d": "ResNeXt-29 8x64d",
    **{f"resnext29_{c}x{d}d": f"ResNeXt-29 ({d}, {c})" for d, c in ((64, 1), (40, 2), (24, 4), (14, 8), (4, 32))},
    "se_resnet110": "SE-ResNet-110 B",
}
MULTI = {   # Abdi and Nahavandi 2016, table 2; the 154 M that it has for K = 4 are a slip
    "multi_resnet200_5": 10_187_354, "multi_resnet398_5": 20_388_314, "multi_resnet26_2_10": 72_690_714,
    "multi_resnet26_4_10": 145_113_754}


def counts(network: Reference, more: int = 0) -> tuple[int, int]:
    found = cost(plan(network.architecture, network.shape, network.classes + more))
    return found.params, found.macs


def test_every_published_network_has_a_name() -> None:
    without = {"resnet50 of 2015"}      # strides on the first 1x1: no network that people know by this name
    assert set(NAMES.values()) | without == set(PUBLISHED)


@pytest.mark.parametrize("name", NAMES)
def test_published_counts_by_name(name: str) -> None:
    found, published = reference(name), PUBLISHED[NAMES[name]]
    assert counts(found) == (published.params, published.macs)
    assert found.architecture.id == published.architecture.id
    assert (found.shape, found.classes) == (published.shape, published.classes)


@pytest.mark.parametrize("name", MULTI)
def test_multi_residual_counts_by_name(name: str) -> None:
    assert counts(reference(name))[0] == MULTI[name]


@pytest.mark.parametrize("name", [name for name in (*NAMES, *MULTI) if reference(name).data == "cifar10"])
def test_100_classes_change_the_head_alone(name: str) -> None:
    network = reference(name)
    width, (params, macs) = network.architecture.stages[-1].width, counts(network)
    assert counts(network, 90) == (params + 90 * (width + 1), macs + 90 * width)


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_legal_and_survive_their_file(name: str) -> None:
    """What `nas train NAME` reads is what a file would hold: the network of that name."""
    network = reference(name)
    assert network.architecture.conflict() is None
    study = load_study(name)
    assert study.space.axes == ()
    assert study.space.decode({}).id == network.architecture.id
    assert (study.name, study.data.source) == (name, network.data)


# --- which one a name means -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("depth", [50, 152])        # of the form 6n + 2; 18, 34 and 101 are not
def test_a_depth_of_both_is_imagenets(depth: int) -> None:
    assert reference(f"resnet{depth}").shape == IMAGENET
    assert reference(f"se_resnet{depth}").shape == IMAGENET
    assert reference(f"cifar_resnet{depth}").shape == CIFAR
    assert reference(f"cifar_se_resnet{depth}").shape == CIFAR
    assert reference(f"resnet{depth}_a").shape == CIFAR
    assert reference(f"preact_resnet{depth}").shape == CIFAR
    assert len(reference(f"cifar_resnet{depth}").architecture.stages) == 3


def test_101_is_imagenets_or_a_resnext_for_cifar() -> None:
    assert reference("resnet101").shape == reference("resnext101_32x4d").shape == IMAGENET
    assert reference("cifar_resnext101_32x4d").shape == CIFAR       # 101 = 9n + 2
    with pytest.raises(NasError, match=r"^cifar_resnet101: depth must be 6n\+2: 98 or 104$"):
        reference("cifar_resnet101")


@pytest.mark.parametrize("name", ["resnet20", "resnet56", "resnet110", "resnet44", "cifar_resnet50"])
def test_other_depths_are_cifars(name: str) -> None:
    assert reference(name).shape == CIFAR


def test_spellings_of_one_network() -> None:
    same = (("ResNet50", "resnet50"), ("seresnet50", "se_resnet50"), ("se_resnext50_32x4d", "seresnext50_32x4d"),
            ("cifar_wrn_28_10", "wrn_28_10"), ("multi_resnet26_2_1", "multi_resnet26_2"))
    for one, other in same:
        assert reference(one).architecture.id == reference(other).architecture.id


# --- what no network can have -----------------------------------------------------------------------------------------

@pytest.mark.parametrize(("name", "said"), [
    ("resnet21", "resnet21: depth must be 6n+2: 20 or 26 (ImageNet's: 18, 34, 50, 101, 152)"),
    ("resnet2", "resnet2: depth must be 6n+2: 8 (ImageNet's: 18, 34, 50, 101, 152)"),
    ("resnet18_a", "resnet18_a: depth must be 6n+2: 14 or 20"),
    ("preact_bottleneck_resnet100", "preact_bottleneck_resnet100: depth must be 9n+2: 92 or 101"),
    ("wrn_26_10", "wrn_26_10: depth must be 6n+4: 22 or 28"),
    ("resnext30_8x64d", "resnext30_8x64d: depth must be 9n+2: 29 or 38 (ImageNet's: 50, 101, 152)"),
    ("preact_resnet1001", "preact_resnet1001: depth must be 6n+2: 998 or 1004; of basic blocks; the paper's 1001 "
     "layers are preact_bottleneck_resnet1001"),
    ("multi_resnet25_2", "multi_resnet25_2: depth must be 6n+2: 20 or 26"),
    ("resnext50_5000x4d", "resnext50_5000x4d: bottleneck_ratio of a stage: 78.125: must be from 0.015625 to 8"),
    ("wrn_28_2000", "wrn_28_2000: width of a stage: 32000: must be from 1 to 16384"),
    ("multi_resnet26_65", "multi_resnet26_65: branches of a stage: 65: must be from 1 to 64"),
])
def test_numbers_that_it_cannot_have(name: str, said: str) -> None:
    assert is_reference(name)
    with pytest.raises(NasError) as caught:
        reference(name)
    assert str(caught.value) == said
    with pytest.raises(NasError) as again:
        load_study(name)
    assert str(again.value) == str(caught.value)


def test_the_papers_network_of_a_depth_is_named() -> None:
    """He et al. 2016: 164 and 1001 layers are bottlenecks, 110 are basic blocks."""
    assert load_study("preact_resnet164").about == "of basic blocks; the paper's 164 layers are " \
        "preact_bottleneck_resnet164"
    for name in ("preact_resnet110", "preact_bottleneck_resnet164", "resnet110", "wrn_28_10", "resnet50"):
        assert load_study(name).about == ""


@pytest.mark.parametrize(("name", "near"), [
    ("resnt50", "resnet50"), ("resnext29", "resnext29_8x64d"), ("wrn-28-10", "wrn_28_10"), ("wide_resnet50", None),
    ("se_resnet", "se_resnet50")])
def test_unknown_names_have_a_closest(name: str, near: str | None) -> None:
    assert not is_reference(name)
    with pytest.raises(NasError, match=f"is not the name of a reference network; did you mean {near or name}"):
        reference(name)


def test_the_name_of_a_shipped_space_is_told_its_file() -> None:
    for name in ("resnext", "residual_family"):
        with pytest.raises(NasError, match=f"^{name}: no such file .*; did you mean search_spaces/{name}.yaml\\?$"):
            load_study(name)


@pytest.mark.parametrize("name", ["vgg", "resnet0", "resnet050", "resnet-50", "resnet50 ", "resnet٥٠", "resnet5000000",
                                  "resnet50\n", "wrn_28_0", "resnext29_0x4d"])
def test_what_is_no_name(name: str) -> None:
    assert not is_reference(name)
    with pytest.raises(NasError) as caught:
        reference(name)
    assert "\n" not in str(caught.value)


# --- in place of a file -----------------------------------------------------------------------------------------------

def test_a_file_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_named("resnet20")
    (tmp_path / "resnet20").write_text("name: mine\nnetwork: {depth: 1}\n")
    assert not is_named("resnet20")
    assert document_of("resnet20").values["name"] == "mine"


def test_a_folder_of_that_name_is_not_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "resnet20").mkdir()     # where data, or a study's results, may lie
    assert is_named("resnet20")


def test_what_is_neither_file_nor_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NasError, match=r"^resnt50: .*did you mean resnet50\?; there is no such file either$"):
        load_study("resnt50")
    assert not is_named("resnt50.yaml")


OFFLINE = """
import socket, sys
def refuse(*words): raise AssertionError("a connection")
socket.socket.connect = socket.getaddrinfo = refuse
from nas.__main__ import run
code = run(sys.argv[1:])
assert "torch" not in sys.modules or sys.argv[1] != "inspect"
sys.exit(code)
"""


def nas(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", OFFLINE, *words], cwd=folder, capture_output=True, text=True,
                          check=False)


@pytest.mark.parametrize("name", ["resnet50", "se_resnet110"])
def test_inspect_by_name_is_quick_and_offline(name: str, tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = nas(tmp_path, "inspect", name, "--json")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    found, published = json.loads(done.stdout), PUBLISHED[NAMES[name]]
    assert (found["params"], found["macs"]) == (published.params, published.macs)
    # the processor's seconds: a clock on the wall would time the machine's other work
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 3


def test_inspect_by_name_for_people(tmp_path: Path) -> None:
    done = nas(tmp_path, "inspect", "resnet20")
    assert done.returncode == 0, done.stderr
    title, data, _, line, *_ = done.stdout.splitlines()
    assert title.startswith("resnet20: 272,474 params, 40,813,184 macs, ")
    assert data.startswith("data: cifar10, 3x32x32, 10 classes")
    assert line == "conv3x3-16 basic 3×16 3×32 3×64"
    assert "trials take" not in done.stdout


def test_run_by_name_is_refused(tmp_path: Path) -> None:
    done = nas(tmp_path, "run", "resnet20")
    assert done.returncode == 2
    assert done.stderr == "nas: resnet20: is one network, nothing to search; train it: nas train resnet20\n"
    assert list(tmp_path.iterdir()) == []


def test_train_for_imagenet_asks_for_its_images(tmp_path: Path) -> None:
    done = nas(tmp_path, "train", "resnet50")
    assert done.returncode == 2
    assert "imagenet" in done.stderr
    assert "--data PATH" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_train_by_name_trains_and_exports(tmp_path: Path) -> None:
    done = nas(tmp_path, "train", "resnet20", "--data", "digits", "--epochs", "1", "--json")
    assert done.returncode == 0, done.stderr
    (weights,) = tmp_path.rglob("model.safetensors")
    facts = json.loads((weights.parent / "export.json").read_text())
    assert facts["network"]["id"] == reference("resnet20").architecture.id
    assert facts["costs"]["params"] == PUBLISHED["ResNet-20 B"].params - 2 * 9 * 16     # images of one channel
