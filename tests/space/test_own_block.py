"""Blocks of a user: a function that returns plan nodes, and one that returns a torch module; and what goes wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from rich.console import Console

import nas
from nas import architecture as architecture_module
from nas import blocks as blocks_module
from nas import plan as plan_module
from nas.architecture import STAGED, Architecture
from nas.confirm.running import confirmation
from nas.cost import cost
from nas.diagram import text
from nas.errors import NasError
from nas.evaluation import Job, Progress
from nas.export import export, left_out
from nas.feasibility import survey
from nas.model import build, source
from nas.own_block import CODE, fingerprint
from nas.plan import plan
from nas.report import terminal_front
from nas.report.payload import payload
from nas.search.run import run
from nas.studies import open_study
from nas.study import load_study

BLOCKS = '''
from nas.nodes import Activation, Conv, Norm


def separable(shape, out, stride, values):
    """A depthwise convolution, then 1x1, `repeats` times."""
    layers = []
    for number in range(1, values["repeats"] + 1):
        channels, step = shape[0], stride if number == 1 else 1
        spatial = Conv(shape, (channels, *out[1:]), values["kernel"], step, groups=channels)
        layers += [(f"depthwise{number}", spatial), (f"norm{number}a", Norm(spatial.out)),
                   (f"conv{number}", Conv(spatial.out, out, 1)), (f"norm{number}b", Norm(out))]
        if number < values["repeats"]:
            layers.append((f"act{number}", Activation("relu", out)))
        shape = out
    return layers


def empty(shape, out, stride, values):
    return []


def number(shape, out, stride, values):
    return 5


def narrow(shape, out, stride, values):
    return [("conv", Conv(shape, (1, *out[1:]), 3, stride))]


def apart(shape, out, stride, values):
    return [("a", Conv(shape, out, 3, stride)), ("b", Conv(shape, out, 3, stride))]


def fails(shape, out, stride, values):
    raise ZeroDivisionError("by nothing\\nat all")


def asks(shape, out, stride, values):
    return [values["repeat"]]
'''
OPAQUE = '''
from torch import nn


def conv(shape, out, stride, values):
    """A convolution with a bias, and a norm."""
    return nn.Sequential(nn.Conv2d(shape[0], out[0], 3, stride, 1), nn.BatchNorm2d(out[0]))


def wrong(shape, out, stride, values):
    return nn.Conv2d(shape[0], out[0], 3, stride)


def other(shape, out, stride, values):
    return nn.Conv2d(7, out[0], 3, stride, 1)


class OfOne(nn.Conv2d):
    def forward(self, x):
        return super().forward(x) * [1.0, 1.0][int(len(x)) % 2]


def counts(shape, out, stride, values):
    return OfOne(shape[0], out[0], 3, stride, 1)
'''
SPACE = """
name: own
network:
  stem: {{kind: conv3x3, width: 8}}
  stages: 2
  block: {block}
  depth: [1, 2]
  width: {{first: 8, growth: 2}}
  {more}
data: {{source: digits, train: 200}}
recipe: {{epochs: 1, precision: float32}}
search: {{sampler: random, executor: local, early_stopping: none}}
budget: {{trials: 3}}
"""
SEPARABLE = "options: {repeats: [1, 2]}\n  kernel: [3, 5]"
_folders = iter(range(1000))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's folder, with modules of names that no other test has used; Python's state is put back."""
    known = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("NAS_BLOCKS", "")
    for name, code in (("my_blocks", BLOCKS), ("my_torch", OPAQUE)):
        (tmp_path / f"{name}.py").write_text(code)
    forget()
    yield tmp_path
    for name in set(sys.modules) - known:
        if name.startswith("my_"):
            del sys.modules[name]
    forget()


def forget() -> None:
    """What a process remembers of a block's file: files do not change while it lives."""
    for cache in (fingerprint, architecture_module._id, plan_module._parts, plan_module._branch):
        cache.cache_clear()


def written(folder: Path, block: str, more: str = "") -> Path:
    path = folder / "own.yaml"
    path.write_text(SPACE.format(block=block, more=more))
    return path


def network(folder: Path, block: str, more: str = "") -> Architecture:
    space = load_study(written(folder, block, more)).space
    return space.decode({"depth": 2, "options.repeats": 2, "kernel": 5})


@pytest.mark.parametrize(("block", "more"), [("my_blocks:separable", SEPARABLE), ("my_torch:conv", "")])
def test_costs_module_and_text_agree(folder: Path, block: str, more: str) -> None:
    architecture = network(folder, block, more)
    assert architecture.conflict() is None
    built = plan(architecture, (1, 8, 8), 10)
    model = build(built, 0)
    assert cost(built).params == sum(parameter.numel() for parameter in model.parameters())
    model(torch.randn(2, 1, 8, 8)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert text(built) == text(plan(architecture.canonical(), (1, 8, 8), 10))
    assert block in architecture.line()


def test_costs_of_either_kind_are_the_same_sums(folder: Path) -> None:
    """Stage 1, 8 channels at 8x8: one convolution of 8 x 8 x 9 weights and a bias, and a norm, twice; by hand."""
    found = [cost(plan(network(folder, "my_torch:conv"), (1, 8, 8), 10))]
    first, second = 2 * (8 * 8 * 9 + 8 + 16), (8 * 16 * 9 + 16 + 32) + (16 * 16 * 9 + 16 + 32)
    projection, stem, head = 8 * 16 + 32, 9 * 8 + 16, 16 * 10 + 10
    assert found[0].params == first + second + projection + stem + head
    assert found[0].macs == (2 * 8 * 8 * 9 + 9 * 8) * 64 + (8 * 16 * 9 + 16 * 16 * 9 + 8 * 16) * 16 + 160
    assert found[0].activations == 3 * 8 * 64 + 3 * 16 * 16 + 10


def test_options_are_axes_of_the_block(folder: Path) -> None:
    space = load_study(written(folder, "[basic, my_blocks:separable]", SEPARABLE)).space
    assert {axis.name for axis in space.axes} == {"block", "options.repeats", "kernel", "depth"}
    by_name = {axis.name: axis for axis in space.axes}
    assert not space.active(by_name["options.repeats"], {"block": "basic"})
    point = {"block": "my_blocks:separable", "kernel": 3, "depth": 1}
    assert space.active(by_name["options.repeats"], point)
    ids = {space.decode({**point, "options.repeats": repeats}).id for repeats in (1, 2)}
    assert len(ids) == 2


def test_what_the_function_never_reads_is_a_caution(folder: Path) -> None:
    more = "options: {repeats: [1, 2], colour: [red, blue]}\n  kernel: [3, 5]\n  dilation: [1, 2]\n  gate: [none, full]"
    space = load_study(written(folder, "[basic, my_blocks:separable]", more)).space
    said = survey(space, (1, 8, 8), 10, 100).cautions()
    assert set(said) == {f"my_blocks:separable never reads {name}, which is set" for name in ("dilation", "colour")}
    assert 0.1 < said["my_blocks:separable never reads dilation, which is set"] < 0.4


def test_readme_says_what_values_holds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    architecture = network(folder, "my_blocks:separable", SEPARABLE)
    held: set[str] = set()
    monkeypatch.setattr(blocks_module, "branch_of", lambda name, shape, out, stride, values: held.update(values))
    stage = architecture.stages[0]
    blocks_module.function(blocks_module.Inside(
        blocks_module.Style("post", "batch", "relu", "he"), stage, "conv3x3", (8, 8, 8), (8, 8, 8), 1, False, False))
    knobs = {knob.name for knob in STAGED}
    readme = (Path(nas.__file__).parents[1] / "README.md").read_text()
    text = readme.partition("`values` holds")[2].partition("taken")[0]
    assert knobs - held == {"depth", "residual_scaling"}
    assert all(f"`{name}`" in text for name in {*(held - knobs), *(knobs - held)} - {"repeats", CODE})


def test_source_of_nodes_needs_torch_alone(folder: Path) -> None:
    assert "my_blocks" not in source(plan(network(folder, "my_blocks:separable", SEPARABLE), (1, 8, 8), 10), "")
    assert "import my_torch\n" in source(plan(network(folder, "my_torch:conv"), (1, 8, 8), 10), "")


@pytest.mark.slow
@pytest.mark.parametrize(("block", "more", "files"), [
    ("my_blocks:separable", SEPARABLE, []), ("my_torch:conv", "", ["my_torch.py"])])
def test_search_and_export(folder: Path, block: str, more: str, files: list[str]) -> None:
    stored = run(load_study(written(folder, block, more)), home=folder / "studies").stored
    trials = stored.trials()
    assert set(trials["state"]) == {"COMPLETE"}
    exported = export(stored, int(trials["number"][0]))
    assert left_out(exported) == {}
    assert {"model.pt2", "model.onnx"} < {path.name for path in exported.iterdir()}
    assert sorted(path.name for path in exported.glob("*.py")) == sorted(["example.py", "model.py", *files])
    loaded = nas.load(exported)
    example = subprocess.run([sys.executable, "example.py"], cwd=exported, capture_output=True, text=True,
                             env={**os.environ, "PYTHONPATH": "", "NAS_BLOCKS": ""})
    assert example.returncode == 0, example.stderr
    assert len(loaded.classes) == 10
    export(stored, int(trials["number"][0]), formats=())        # replaces the one that is there


@pytest.mark.slow
def test_what_an_exporter_cannot_express_is_said_and_the_folder_comes(folder: Path) -> None:
    """The size of the batch decides what is computed: no one graph says that."""
    stored = run(load_study(written(folder, "my_torch:counts"), ["budget.trials=1"]), home=folder / "studies").stored
    exported = export(stored, 0)
    assert set(left_out(exported)) == {"pt2", "onnx"}
    assert all(why.startswith("torch.export: ") and "\n" not in why for why in left_out(exported).values())
    assert "model.pt2" not in (exported / "card.md").read_text()
    assert nas.load(exported) is not None


def test_load_executes_nothing_of_the_folder(folder: Path) -> None:
    stored = run(load_study(written(folder, "my_torch:conv"), ), home=folder / "studies").stored
    exported = export(stored, int(stored.trials()["number"][0]), formats=())
    (exported / "my_torch.py").write_text("raise SystemExit('executed')")
    assert nas.load(exported) is not None           # the user's own
    del sys.modules["my_torch"]
    sys.path.remove(str(folder))
    os.environ["NAS_BLOCKS"] = ""
    with pytest.raises(NasError, match=r"cannot import my_torch: ModuleNotFoundError.*NAS_BLOCKS"):
        nas.load(exported)
    for read in (lambda: nas.load(exported), lambda: load_study(exported / "architecture.yaml")):
        with pytest.raises(NasError, match=r"code in an exported folder is not run; put a copy that you trust in"):
            read()


@pytest.mark.slow
def test_rays_workers_find_the_block(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """From another working folder: it is the YAML's that counts."""
    space = written(folder, "[my_torch:conv, my_blocks:separable]", SEPARABLE)
    process = subprocess.run(
        [sys.executable, "-m", "nas", "run", str(space), "--workers", "2", "--executor", "ray", "--trials", "5"],
        cwd=tmp_path_factory.mktemp("elsewhere"), capture_output=True, text=True, timeout=240,
        env={**os.environ, "NAS_BLOCKS": "", "PYTHONPATH": str(Path(nas.__file__).parents[1])})
    assert process.returncode == 0, process.stdout + process.stderr
    ended = [line for line in process.stdout.splitlines() if "complete at epoch 1" in line]
    assert {name for name in ("my_torch:conv", "my_blocks:separable") if any(name in line for line in ended)} == {
        "my_torch:conv", "my_blocks:separable"}, process.stdout
    assert "failed" not in process.stdout


def test_edited_file_is_another_block(folder: Path) -> None:
    before = network(folder, "my_torch:conv").canonical()
    (folder / "my_torch.py").write_text(OPAQUE.replace("3, stride, 1)", "5, stride, 2)"))
    del sys.modules["my_torch"]
    forget()
    after = network(folder, "my_torch:conv")
    assert before.id != after.id
    with pytest.raises(NasError, match="block my_torch:conv: its file was changed since this network") as caught:
        plan(before, (1, 8, 8), 10)
    assert "\n" not in str(caught.value)
    plan(after.canonical(), (1, 8, 8), 10)


def at_once(job: Job) -> Iterator[Progress]:
    """In place of training."""
    yield Progress(1, 1.0, 1.0, 0.5, 0.01, done=True)


def edit(folder: Path) -> None:
    """Change my_blocks.py, as between two processes."""
    (folder / "my_blocks.py").write_text(BLOCKS.replace("groups=channels", "groups=1"))
    del sys.modules["my_blocks"]
    forget()


def test_edited_file_is_refused_within_a_study_and_forked(folder: Path) -> None:
    space, home = written(folder, "my_blocks:separable", SEPARABLE), folder / "studies"
    assert run(load_study(space), home=home, evaluate=at_once).new_trials == 3
    edit(folder)
    with pytest.raises(NasError) as caught:
        run(load_study(space, ["budget.trials=6"]), home=home, evaluate=at_once)
    _, line, last = str(caught.value).splitlines()
    assert line == "  network.block my_blocks:separable: its file was changed since"
    assert "--name own-2" in last
    assert "--fork" in last
    with pytest.raises(NasError) as without:
        run(load_study(space), home=home, evaluate=at_once, fork=None)
    assert "--fork" not in str(without.value), "of a command that has no such option"
    assert len(open_study("own", home=home).trials()) == 3
    forked = run(load_study(space), home=home, evaluate=at_once, fork=True).stored
    assert (forked.name, len(forked.trials()), forked.trials()["reused"].sum()) == ("own-2", 3, 0)
    again = load_study(home / "own-2" / "study.yaml")
    assert run(again, home=home, evaluate=at_once).new_trials == 0


def test_edited_file_is_not_confirmed_in_place_of_the_old_one(folder: Path) -> None:
    space, home = written(folder, "my_blocks:separable", SEPARABLE), folder / "studies"
    run(load_study(space), home=home, evaluate=at_once)
    assert confirmation("own", home=home).confirm is not None
    edit(folder)
    with pytest.raises(NasError, match="block my_blocks:separable: its file was changed since"):
        confirmation("own", home=home)


@pytest.mark.parametrize("lost", [False, True])
def test_study_is_shown_without_what_cannot_be_built(folder: Path, lost: bool) -> None:
    """An edited file, or none any more: everything but the drawings of its networks is there."""
    space, home = written(folder, "[basic, my_blocks:separable]", SEPARABLE), folder / "studies"
    run(load_study(space, ["budget.trials=8"]), home=home, evaluate=at_once)
    edit(folder)
    if lost:
        (folder / "my_blocks.py").unlink()
    stored = open_study("own", home=home)
    own = {n for n, line in zip(stored.trials()["number"], stored.trials()["architecture"], strict=True)
           if "separable" in line}
    assert 0 < len(own) < 8
    drawings = payload(stored.results)["diagrams"]
    assert set(drawings["lacking"]) == own
    assert set(drawings["trials"]) == set(range(8)) - own
    terminal_front(stored.results, Console(quiet=True))
    assert stored.study.spec()["blocks"] == stored.results.spec["blocks"] != {}


@pytest.mark.parametrize(("block", "words"), [
    ("my_blocks:empty", "returned an empty list; return a list of"),
    ("my_blocks:number", "returned int; return a list of"),
    ("my_blocks:narrow", "puts out (1, 8, 8), and (8, 8, 8) is wanted"),
    ("my_blocks:apart", "b takes (8, 8, 8), and gets (16, 4, 4)"),
    ("my_blocks:fails", "my_blocks.py:36: ZeroDivisionError: by nothing"),
    ("my_blocks:asks", "my_blocks.py:40: KeyError: 'repeat'; values holds activation, attention, base_width"),
    ("my_torch:wrong", "puts out (8, 6, 6), and (8, 8, 8) is wanted"),
    ("my_torch:other", "fails on images of shape (8, 8, 8): RuntimeError"),
])
def test_mistakes_of_a_block_are_one_line(folder: Path, block: str, words: str) -> None:
    with pytest.raises(NasError) as caught:
        plan(network(folder, block), (1, 8, 8), 10)
    assert str(caught.value).startswith(f"block {block}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("block", "words"), [
    ("my_missing:block", "cannot import my_missing: ModuleNotFoundError: No module named 'my_missing'; put it beside"),
    ("my_blocks:missing", "my_blocks has no function missing"),
    ("my_broken:block", "cannot import my_broken: SyntaxError"),
])
def test_blocks_that_cannot_be_found(folder: Path, block: str, words: str) -> None:
    (folder / "my_broken.py").write_text("def block(:\n")
    with pytest.raises(NasError) as caught:
        load_study(written(folder, block))
    lines = str(caught.value).splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"{folder}/own.yaml:6:3: network.block: {block}: {words[:6]}")
    assert words in lines[0]


def test_weights_of_a_torch_module_cannot_be_shared(folder: Path) -> None:
    architecture = network(folder, "my_torch:conv", "share: stage")
    with pytest.raises(NasError, match="share: stage: block my_torch:conv is a torch module"):
        plan(architecture, (1, 8, 8), 10)
    shared = plan(network(folder, "my_blocks:separable", f"{SEPARABLE}\n  share: stage"), (1, 8, 8), 10)
    apart = plan(network(folder, "my_blocks:separable", SEPARABLE), (1, 8, 8), 10)
    assert cost(shared).params < cost(apart).params
    assert cost(shared).macs == cost(apart).macs
