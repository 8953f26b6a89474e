"""Files of other runtimes and the card in an exported folder: what they give, what is checked, what is refused."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import pickle
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from nas.cli.look import _left_out_lines
from nas.errors import NasError
from nas.export import choose, export, formats, formats_of, left_out, load
from nas.export.apart import logits_apart
from nas.export.formats import contents_of, pickles
from nas.exported.manifest import CARD, CHECKS, FILES, ONNX, PT2, WEIGHTS
from nas.studies import StoredStudy

TINY = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3))
SHAPE = (1, 4, 4)


@pytest.fixture(scope="module")
def exported(trained: StoredStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(trained, choose(trained, "best")[0], tmp_path_factory.mktemp("exported") / "network")


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "copied"))


class Bomb:
    """A pickle of it makes a file when it is read."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
        return Path.touch, (self.path,)


def hostile_pt2(path: Path) -> bytes:
    """A .pt2 file whose sample inputs are such a pickle."""
    honest = contents_of(TINY, SHAPE, ["pt2"])["pt2"]
    assert isinstance(honest, bytes)
    made, inputs = io.BytesIO(), io.BytesIO()
    torch.save((Bomb(path),), inputs)
    with zipfile.ZipFile(io.BytesIO(honest)) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            new.writestr(name, inputs.getvalue() if name.endswith("sample_inputs/model.pt") else old.read(name))
    return made.getvalue()


# --- what is asked for


def test_the_list_of_formats() -> None:
    assert formats_of("none") == ()
    assert formats_of("onnx, pt2,onnx") == formats_of("all") == ("pt2", "onnx")
    for text, said in [("tflite", "format tflite: is none of pt2, onnx"), ("none,pt2", "none stands alone"),
                       ("", "is none of")]:
        with pytest.raises(NasError, match=said):
            formats_of(text)


@pytest.mark.slow
def test_onnx_without_its_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(formats, "_EXTRA", ("onnx", "no_such_package"))
    with pytest.raises(NasError, match=r"format onnx: needs no_such_package: pip install 'nas\[onnx\]'; or leave"):
        formats_of("all")
    without = formats.write_formats(tmp_path, TINY, SHAPE, None)
    assert without == {"onnx": "needs no_such_package: pip install 'nas[onnx]'"}
    assert [path.name for path in tmp_path.iterdir()] == [PT2]


def test_what_is_left_out_is_a_line_each() -> None:
    assert _left_out_lines({"a/1": {"onnx": "why"}, "a/2": {"onnx": "why"}}) == ["onnx left out: why"]
    assert _left_out_lines({"a/1": {"onnx": "why"}, "a/2": {}}) == ["onnx of 1 left out: why"]


@pytest.mark.slow
def test_an_exporter_that_cannot_is_one_line_and_the_other_still_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(_: object) -> bytes:
        raise RuntimeError("no such operator\nin many lines") from ValueError("\n\nno aten::odd\nmore")

    monkeypatch.setitem(formats._WRITERS, "onnx", cannot)
    found = contents_of(TINY, SHAPE, ("pt2", "onnx"))
    assert found["onnx"] == "ValueError: no aten::odd"
    assert isinstance(found["pt2"], bytes)


# --- what is in the folder


@pytest.mark.slow
def test_the_folder_holds_every_file_and_its_checksum(exported: Path) -> None:
    assert {path.name for path in exported.iterdir()} == set(FILES)
    said = json.loads((exported / CHECKS).read_text())
    assert said["sha256"] == {name: hashlib.sha256((exported / name).read_bytes()).hexdigest()
                              for name in sorted(FILES) if name != CHECKS}
    assert said["left_out"] == left_out(exported) == {}
    assert said["logits"]["model.py"] == {"apart": 0, "allowed": 0}
    assert all(said["logits"][name]["apart"] <= said["logits"][name]["allowed"] == 1e-4 for name in (PT2, ONNX))


@pytest.mark.slow
def test_twice_gives_the_same_files_without_a_path_of_this_machine(
    trained: StoredStudy, exported: Path, tmp_path: Path
) -> None:
    again = export(trained, choose(trained, "best")[0], tmp_path / "again")
    assert {path.name: path.read_bytes() for path in again.iterdir()} == {
        path.name: path.read_bytes() for path in exported.iterdir()}
    held = [zipfile.ZipFile(exported / PT2).read(name) for name in zipfile.ZipFile(exported / PT2).namelist()]
    own = str(Path(formats.__file__).parents[1]).encode()
    assert not any(own in content for content in [*held, (exported / ONNX).read_bytes()])


@pytest.mark.slow
def test_the_card_and_its_snippets_as_written(trained: StoredStudy, exported: Path) -> None:
    card, record = (exported / CARD).read_text(), trained.records[choose(trained, "best")[0]]
    for said in [record.line, record.evaluation_key.data_key, f"{record.macs:,}", f"{record.params:,}",
                 f"{record.accuracy:.4f}", "recipe.learning_rate | 0.1", "Wilson, over 250", '"8", "9"',
                 "licence: (yours to say)"]:
        assert said in card
    snippets = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert [len(snippet.splitlines()) for snippet in snippets] == [4, 4, 4, 4]
    code = "\n".join(["import sys", "found = []", *(f"exec({snippet!r}, one := {{}}); found.append(one)"
                                                    for snippet in snippets),
                      "source, pt2, onnx, ours = found", "images = pt2['images']",
                      "own = source['network'](images)",
                      "assert (own - pt2['logits']).abs().max() < 1e-4",
                      "assert abs(own.detach().numpy() - onnx['logits']).max() < 1e-4",
                      "assert ours['logits'].shape == own.shape == (2, 10)"])
    done = subprocess.run([sys.executable, "-B", "-W", "error", "-c", code], cwd=exported, capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- what is checked


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pt2", "onnx"])
def test_a_file_that_computes_something_else(
    trained: StoredStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    right = formats.contents_of

    def wrong(network: nn.Module, *others: object) -> object:
        network.head.linear.bias.data += 2e-4       # type: ignore[union-attr, operator]
        return right(network, *others)              # type: ignore[arg-type]

    monkeypatch.setattr(formats, "contents_of", wrong)
    with pytest.raises(NasError, match=rf"model\.{kind}: its logits are up to 0.000[12]\d* from .*, 0.0001 allowed"):
        export(trained, choose(trained, "best")[0], tmp_path / "out", [kind])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_file_that_cannot_be_run(trained: StoredStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "contents_of", lambda *_: {"pt2": b"nothing"})
    with pytest.raises(NasError, match=r"model\.pt2: cannot be run in a process of its own: .*; nothing was") as error:
        export(trained, choose(trained, "best")[0], tmp_path / "out", ["pt2"])
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


# --- pickles


@pytest.mark.slow
def test_a_pt2_file_of_ours_holds_no_pickle_and_one_that_does_is_told(tmp_path: Path) -> None:
    honest = contents_of(TINY, SHAPE, ["pt2"])["pt2"]
    assert isinstance(honest, bytes)
    assert pickles(honest) == []
    assert pickles(hostile_pt2(tmp_path / "boom")) == ["data/sample_inputs/model.pt"]
    program = torch.export.export(TINY, (torch.zeros(2, *SHAPE),))
    file = io.BytesIO()
    torch.export.save(program, file)        # as torch does it by itself
    assert pickles(file.getvalue()) == ["data/sample_inputs/model.pt"]


@pytest.mark.slow
def test_a_pickle_is_not_run_even_where_files_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / PT2).write_bytes(hostile_pt2(tmp_path / "boom"))
    with pytest.raises(NasError, match=r"the file holds a pickle|cannot be run"):
        logits_apart([tmp_path / PT2], torch.zeros(2, *SHAPE))
    assert not (tmp_path / "boom").exists()
    monkeypatch.setattr(logging, "raiseExceptions", False)      # torch's own warning of it is malformed
    torch.export.load(tmp_path / PT2)                           # and this is why
    assert (tmp_path / "boom").exists()


@pytest.mark.slow
def test_load_ignores_planted_files(copied: Path, tmp_path: Path) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "boom"))
    for name, content in [(PT2, bomb), (ONNX, bomb), ("data.pkl", bomb), ("model.pth", bomb), (CARD, bomb)]:
        (copied / name).write_bytes(content)
    assert len(load(copied).classes) == 10
    (copied / PT2).write_bytes(hostile_pt2(tmp_path / "boom"))
    load(copied)
    (copied / PT2).unlink()
    (copied / PT2).mkdir()
    load(copied)
    (copied / WEIGHTS).write_bytes(bomb)
    with pytest.raises(NasError, match="damaged, its checksum"):
        load(copied)
    assert not (tmp_path / "boom").exists()


@pytest.mark.slow
def test_export_over_planted_files(trained: StoredStudy, copied: Path, tmp_path: Path) -> None:
    number, bomb = choose(trained, "best")[0], pickle.dumps(Bomb(tmp_path / "boom"))
    (copied / PT2).write_bytes(hostile_pt2(tmp_path / "boom"))
    (copied / WEIGHTS).write_bytes(bomb)
    assert export(trained, number, copied, ()) == copied
    assert not (copied / PT2).exists()
    assert load(copied)
    (copied / "data.pkl").write_bytes(bomb)
    with pytest.raises(NasError, match=r"holds 'data.pkl', which no export wrote"):
        export(trained, number, copied, ())
    assert not (tmp_path / "boom").exists()
