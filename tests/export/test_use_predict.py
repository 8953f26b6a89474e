"""`nas predict`: an image of the training data gives the tensor that was trained on, and what is broken costs nothing
else."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from use_cases import STUDY, hues

from nas.__main__ import run as command
from nas.data import load as load_data
from nas.data import picture
from nas.export import export
from nas.exported import Network, load, read_manifest
from nas.exported.manifest import Manifest
from nas.exported.predicting import Prediction, Unreadable, _decoded, files, predictions
from nas.search.run import run
from nas.study import load_study, study_from_text

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hues(tmp_path_factory.mktemp("data") / "hues")


@pytest.fixture(scope="module")
def folder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported network for colour images of 8 x 8."""
    home = tmp_path_factory.mktemp("home")
    return export(run(study_from_text(STUDY.format(source=data)), home=home).stored, 0, home / "net")


@pytest.fixture(scope="module")
def network(folder: Path) -> Network:
    return load(folder)


@pytest.fixture(scope="module")
def facts(folder: Path) -> Manifest:
    return read_manifest(folder)


def test_every_file_of_the_data_gives_the_tensor_that_the_data_set_holds(data: Path, folder: Path) -> None:
    dataset = load_data(load_study(folder / "architecture.yaml").data)
    held = [image.tobytes() for part in (dataset.train, dataset.validation, dataset.test) for image in part.images]
    found = [_decoded(path, 8, 3) for path in files([str(data)])]
    assert sorted(pixels.tobytes() for _, pixels in found) == sorted(held)


def test_what_is_said_is_what_the_network_says(data: Path, network: Network, facts: Manifest) -> None:
    paths = sorted(str(path) for path in data.rglob("*.png"))
    found = list(predictions(network, facts, [str(data)], top=2))
    assert [one.path for one in found] == paths
    pixels = np.stack([picture.decoded(Path(path).read_bytes(), "", 8, 3) for path in paths])
    with torch.inference_mode():
        shares = network(network.preprocess(pixels)).softmax(1)
    for row, one in zip(shares, found, strict=True):
        best = row.argsort(descending=True)[:2].tolist()
        assert [name for name, _ in one.classes] == [network.classes[place] for place in best]
        assert [share for _, share in one.classes] == pytest.approx(row[best].tolist(), abs=1e-5)


def test_grey_large_turned_and_transparent_images_are_fitted(network: Network, facts: Manifest, tmp_path: Path) -> None:
    for mode, size in (("L", (8, 8)), ("RGB", (301, 200)), ("RGBA", (8, 9)), ("1", (16, 16)), ("P", (4, 4)),
                       ("I;16", (30, 30)), ("CMYK", (5, 7))):
        name = tmp_path / f"{mode.replace(';', '')}.{'jpg' if mode == 'CMYK' else 'png'}"
        Image.new(mode, size, 1 if mode == "1" else None).save(name)
    found = list(predictions(network, facts, [str(tmp_path)]))
    assert len(found) == 7
    assert all(isinstance(one, Prediction) and len(one.classes) == 3 for one in found), found
    assert all(sum(share for _, share in one.classes) == pytest.approx(1) for one in found)


def test_what_cannot_be_read_is_named_and_the_others_still_come(
    data: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    good = sorted((data / "rot").iterdir())[0]
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    shutil.copy(good, mixed / "кот 猫.png")
    (mixed / "a\nb.png").write_bytes(b"junk")
    (mixed / "cut.png").write_bytes(good.read_bytes()[:-100])
    Image.new("1", (12_000, 12_000)).save(mixed / "bomb.png")
    (mixed / "no image.txt").write_text("passed over")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "empty").mkdir()
    code = command(["predict", str(folder), str(tmp_path / "gone.png"), str(mixed), str(tmp_path / "pipe.png"),
                    str(tmp_path / "empty"), str(tmp_path / "z*.png"), "", str(good), "--top", "1"])
    said = capsys.readouterr()
    assert code == 2
    assert [line.rpartition(": ")[0] for line in said.out.splitlines()] == [str(mixed / "кот 猫.png"), str(good)]
    assert said.out.splitlines()[0].rpartition(": ")[2] == said.out.splitlines()[1].rpartition(": ")[2]
    assert [line.removeprefix(f"nas: {tmp_path}/").partition(": ")[::2] for line in said.err.splitlines()] == [
        ("gone.png", "no such file"),
        ("mixed/a\\nb.png", "damaged, or not an image"),
        ("mixed/bomb.png", "unpacks to more than 89,478,485 pixels (a decompression bomb?); remove it"),
        ("mixed/cut.png", "damaged, or not an image"),
        ("pipe.png", "is no plain file"),
        ("empty", f"holds no images ({', '.join(sorted(picture.SUFFIXES))})"),
        ("z*.png", "no image matches it"),
        ("nas", ": no such file"),
    ]


def test_json_is_one_object_with_every_name_as_it_is(
    folder: Path, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str],
) -> None:
    odd = os.fsdecode(b"\xff\xfe.png")
    names = ["кот 猫.png", 'quote".png', odd]
    for name in names:
        shutil.copy(data / "grün" / "0.png", tmp_path / name)
    assert command(["predict", str(folder), str(tmp_path), str(tmp_path / "gone"), "--json"]) == 2
    found = json.loads(capfd.readouterr().out)
    assert {Path(one["image"]).name for one in found["images"]} == set(names)
    assert [len(one["classes"]) for one in found["images"]] == [3, 3, 3]
    assert found["unreadable"] == [{"image": str(tmp_path / "gone"), "reason": "no such file"}]
    assert command(["predict", str(folder), str(tmp_path)]) == 0
    assert "\\udcff\\udcfe.png: " in capfd.readouterr().out
    assert command(["predict", str(folder), str(tmp_path / "gone"), "--json"]) == 2
    assert json.loads(capfd.readouterr().out)["images"] == []


def test_globs_take_images_alone_and_a_name_with_a_star_is_a_name(
    data: Path, tmp_path: Path, network: Network, facts: Manifest,
) -> None:
    for name in ("a.png", "b.PNG", "[c]*.png", "notes.txt"):
        shutil.copy(data / "rot" / "0.png", tmp_path / name)
    (tmp_path / "d.png").mkdir()
    found = list(predictions(network, facts, [f"{tmp_path}/*", f"{tmp_path}/[c]*.png"]))
    assert [Path(one.path).name for one in found] == ["[c]*.png", "a.png", "b.PNG", "[c]*.png"]
    assert all(isinstance(one, Prediction) for one in found)


def test_thousands_of_images_are_not_held_at_once(
    data: Path, network: Network, facts: Manifest, monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoded, said, most = itertools.count(), 0, 0
    taken = [0]
    true = picture.decoded

    def counted(*words: object) -> object:
        taken[0] = next(decoded) + 1
        return true(*words)     # type: ignore[arg-type]

    monkeypatch.setattr(picture, "decoded", counted)
    monkeypatch.setattr(picture, "cores", lambda: 2)
    for _ in predictions(network, facts, [str(data / "rot" / "0.png")] * 3000):
        said += 1
        most = max(most, taken[0] - said)
    assert said == 3000
    assert most <= 64 * 6


@pytest.mark.parametrize("spoilt", ["export.json", "model.safetensors", "architecture.yaml"])
def test_a_damaged_folder_is_one_line(
    folder: Path, data: Path, tmp_path: Path, spoilt: str, capsys: pytest.CaptureFixture[str],
) -> None:
    copied = Path(shutil.copytree(folder, tmp_path / "copied"))
    (copied / spoilt).write_bytes(b"{")
    for words in (["predict", str(copied), str(data)], ["evaluate", str(copied)],
                  ["train", "--from", str(copied), "--data", str(data)]):
        assert command(words) == 2
        said = capsys.readouterr()
        assert (said.out, len(said.err.splitlines())) == ("", 1)
        assert spoilt in said.err


def test_a_folder_that_cannot_be_listed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refused(*_: object, **__: object) -> object:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr("nas.data.tree.os.walk", refused)
    assert list(files([str(tmp_path)])) == [Unreadable(str(tmp_path), "cannot be listed: Permission denied")]
