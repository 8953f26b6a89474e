"""`nas evaluate`: the database's figures to the last bit, other images of the same classes, intervals, confusions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from use_cases import STUDY, hues

from nas.__main__ import run as command
from nas.errors import NasError
from nas.export import choose, export, load
from nas.exported import read_manifest
from nas.exported.images import images_of
from nas.exported.scoring import score
from nas.search.run import run
from nas.studies import StoredStudy
from nas.study import study_from_text


@pytest.fixture(scope="module")
def digits(trained: StoredStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(trained, choose(trained, "best")[0], tmp_path_factory.mktemp("exported") / "net")


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export beside the images that it was trained on."""
    home = tmp_path_factory.mktemp("home")
    hues(home / "hues")
    return export(run(study_from_text(STUDY.format(source=home / "hues")), home=home).stored, 0, home / "net")


@pytest.mark.slow
def test_validation_is_what_the_database_says_to_the_last_bit(
    digits: Path, trained: StoredStudy, capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(["evaluate", str(digits), "--part", "validation", "--json"]) == 0
    found, facts = json.loads(capsys.readouterr().out), read_manifest(digits)
    training = trained.records[facts.training.trial].trainings[0]
    assert found["accuracy"] == facts.validation.accuracy == training.accuracy
    assert found["loss"] == facts.validation.loss == training.loss
    assert found["images"] == facts.validation.images
    assert found["trained_on_this_data"]
    assert found["images_per_second"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("part", ["test", "train"])
def test_figures_agree_with_each_other_and_with_the_network(digits: Path, part: str) -> None:
    found, network = score(digits, part=part), load(digits)      # type: ignore[arg-type]
    dataset, _ = images_of(digits, read_manifest(digits))
    images = getattr(dataset, part)
    said = network(network.preprocess(images.images)).argmax(1).numpy()
    assert found.images == len(images) == sum(one.images for one in found.by_class)
    assert found.accuracy == np.mean(said == images.labels) == sum(one.right for one in found.by_class) / len(images)
    pairs = {(true, taken): count for true, taken, count in found.confusions}
    assert sum(pairs.values()) == sum(said != images.labels)
    assert list(pairs.values()) == sorted(pairs.values(), reverse=True)
    for true, taken in pairs:
        assert pairs[true, taken] == sum((images.labels == int(true)) & (said == int(taken)))
    assert found.interval[0] < found.accuracy < found.interval[1]


@pytest.mark.slow
def test_the_default_is_the_test_part(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["evaluate", str(digits)]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()[:5]] == ["network", "data", "accuracy", "loss", "speed"]
    assert "digits, test part: 359 images\n" in out
    assert f"accuracy  {score(digits).accuracy:.4f} (" in out


@pytest.mark.slow
def test_images_that_moved_are_asked_for_and_taken(colours: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(colours, tmp_path / "net"))
    text = (copied / "architecture.yaml").read_text()
    where = str(colours.parent / "hues")
    (copied / "architecture.yaml").write_text(text.replace(where, str(tmp_path / "gone")))
    with pytest.raises(NasError, match=r"neither a data set .* say with --data where they are"):
        score(copied)
    there = score(copied, where, "validation")
    assert there.same
    assert there.accuracy == read_manifest(colours).validation.accuracy
    hues(tmp_path / "gone", seed=5)
    with pytest.raises(NasError, match=r"gone are not those that .* was trained on; put them back, or say with --data"):
        score(copied)


@pytest.mark.slow
def test_other_images_are_normalised_and_labelled_as_the_network_was(colours: Path, tmp_path: Path) -> None:
    others = hues(tmp_path / "others", each=12, seed=1, mode="L")       # grey, and fewer
    found, network, facts = score(colours, str(others), "train"), load(colours), read_manifest(colours)
    assert not found.same
    dataset, _ = images_of(colours, facts, str(others))
    assert dataset.info.channels == 3
    assert dataset.mean != facts.normalisation.mean
    said = network(network.preprocess(dataset.train.images)).argmax(1).numpy()
    assert found.accuracy == np.mean(said == dataset.train.labels)
    turned = facts.model_copy(update={"classes": facts.classes[::-1]})
    again, _ = images_of(colours, turned, str(others))
    for part in ("train", "validation", "test"):
        assert (getattr(again, part).labels == 2 - getattr(dataset, part).labels).all()
    assert again.info.classes == turned.classes


@pytest.mark.slow
def test_fewer_images_than_it_was_trained_on_are_all_taken(digits: Path, tmp_path: Path) -> None:
    """Its data.train is 500."""
    few = hues(tmp_path / "few", tuple("0123456789"), each=6, mode="L")
    found = score(digits, str(few), "train")
    assert (found.same, found.images) == (False, 38)


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "said"), [
    (("grün", "rot"), "have no class синий, one of the 3 that"),
    (("grün", "rot", "blau"), "have no class синий, one of the 3 that"),
    (("grün", "rot", "синий", "x\u202e"), r"have a class x\\u202e, which"),
])
def test_other_classes_are_refused_and_the_first_that_differs_is_named(
    colours: Path, tmp_path: Path, classes: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str],
) -> None:
    others = hues(tmp_path / "others", classes)
    with pytest.raises(NasError, match=said):
        score(colours, str(others))
    assert command(["evaluate", str(colours), "--data", str(others)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.slow
def test_a_gpu_that_is_not_there_is_one_line(colours: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    for words in (["evaluate", str(colours)], ["predict", str(colours), "x.png"]):
        assert command([*words, "--device", "cuda"]) == 2
        assert capsys.readouterr().err == "nas: device: cuda: torch sees no usable GPU; use cpu or auto\n"
