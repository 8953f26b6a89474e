"""`nas diagnose` from end to end: a study's trial, an exported folder, what it prints, what it refuses."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diagnosis_cases import images, network

from nas.__main__ import run
from nas.cost import cost
from nas.diagnosis import Undefined
from nas.diagnosis.figures import FIGURES, short
from nas.diagnosis.page import ABOUT, write_diagnosis
from nas.diagnosis.running import MEASURES, Diagnosis, diagnose
from nas.diagnosis.subject import Subject, subject_of
from nas.diagnosis.words import verdict
from nas.diagnosis.words import words as in_words
from nas.errors import NasError
from nas.export import load
from nas.plan import plan
from nas.studies import open_study

pytestmark = pytest.mark.slow


def said_by(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = run(["diagnose", *words])
    found = capsys.readouterr()
    return code, found.out, found.err


def test_a_trial_is_diagnosed_and_shown(in_work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said_by(capsys, "tiny", "--trial", "1", "--images", "80")
    assert (code, err) == (0, "")
    assert out.startswith("tiny-trial-1: ")
    assert [line.split()[0] for line in out.splitlines() if re.match(r"[a-z]+ +\d+\.\d+s ", line)] == list(MEASURES)
    folder = in_work / "studies" / "tiny" / "diagnosis" / "trial-1"
    assert {path.name for path in folder.iterdir()} == {"diagnosis.html", "diagnosis.json"}
    assert f"page      {folder.relative_to(in_work) / 'diagnosis.html'}" in out


def test_a_folder_is_the_network_that_it_holds(in_work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = open_study("tiny")
    best = max(stored.records.values(), key=lambda record: record.accuracy or 0)
    code, out, _ = said_by(capsys, "out/net", "--images", "100000", "--only", "gates,residual", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["network"] == f"tiny-trial-{best.number}"
    assert found["error"] == pytest.approx(1 - best.trainings[0].accuracy, abs=1e-9), "on all validation images"
    assert list(found["measures"]) == ["residual", "gates"]
    assert len(found["measures"]["residual"]["figures"]) == 6
    assert Path(found["page"]).is_relative_to("studies/diagnoses")
    page = json.loads(Path(found["page"]).with_name("diagnosis.json").read_text())
    assert page["measures"] == found["measures"]


def test_a_trial_and_its_export_are_one_subject(in_work: Path) -> None:
    stored = open_study("tiny")
    best = max(stored.records, key=lambda number: stored.records[number].accuracy or 0)
    one, other = subject_of("tiny", best, images=60), subject_of("out/net", images=60)
    assert subject_of("tiny", images=60).name == one.name == other.name
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.labels, other.labels)
    assert torch.equal(one.calibration, other.calibration)
    assert torch.equal(one.model(one.images), other.model(other.images))
    assert torch.equal(load("out/net")(one.images), one.model(one.images))
    assert (one.cost, one.line, one.classes) == (other.cost, other.line, other.classes)


def test_images_are_of_the_validation_part_drawn_by_seed(in_work: Path) -> None:
    from nas.data import load as load_data

    dataset = load_data(open_study("tiny").study.data)
    found = subject_of("out/net", images=60, seed=1)
    pixels = load("out/net").preprocess(dataset.validation.images)
    labels = {tuple(image.flatten().tolist()): int(label)
              for image, label in zip(pixels, dataset.validation.labels, strict=True)}
    assert [labels[tuple(image.flatten().tolist())] for image in found.images] == found.labels.tolist()
    assert not torch.equal(found.images, subject_of("out/net", images=60, seed=2).images)
    assert len(set(found.labels[:20].tolist())) > 3, "not by class"
    training = {tuple(image.flatten().tolist()) for image in load("out/net").preprocess(dataset.train.images)}
    assert all(tuple(image.flatten().tolist()) in training for image in found.calibration)


@pytest.mark.parametrize(("words", "said"), [
    (("nobody",), "no study nobody"),
    (("tiny", "--trial", "7"), "tiny has no trial 7"),
    (("out/net", "--trial", "1"), "a folder of one network"),
    (("out/nothing",), "no such folder"),
    (("tiny", "--only", "lesion,wish"), "wish is no measure; there are lesion, reordering"),
    (("tiny", "--only", ""), "nothing is no measure"),
    (("out/net", "--data", "nowhere"), "neither a data set"),
    (("tiny", "--images", "3"), "--images"),
])
def test_a_mistake_is_one_line(in_work: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...],
                               said: str) -> None:
    code, out, err = said_by(capsys, *words)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1


def test_other_images_are_said_to_be_others(in_work: Path, tmp_path: Path) -> None:
    from PIL import Image

    from nas.data import load as load_data

    dataset = load_data(open_study("tiny").study.data)
    for index, (image, label) in enumerate(zip(dataset.train.images, dataset.train.labels, strict=True)):
        place = tmp_path / "others" / str(label)
        place.mkdir(parents=True, exist_ok=True)
        for turned in (0, 1):       # 1,000 images
            Image.fromarray(image[0].T if turned else image[0]).save(place / f"{index}-{turned}.png")
    others = str(tmp_path / "others")
    assert subject_of("out/net", data=others).about.endswith("of others; not the images that it was trained on")
    assert "not the images" not in subject_of("out/net", data="digits").about
    with pytest.raises(NasError, match="not those that trial"):
        subject_of("tiny", data=others)
    (tmp_path / "others" / "9").rename(tmp_path / "others" / "8" / "9")
    with pytest.raises(NasError, match="have no class 9, one of the 10 that out/net tells apart"):
        subject_of("out/net", data=others)


def subject(depth: int = 2, **knobs: Any) -> Subject:
    from nas.architecture import Architecture, Stage

    x, y = images(60)
    model = network(depth=depth, **knobs)
    described = plan(Architecture((Stage(depth=2, width=8),)), (3, 8, 8), 4)
    return Subject("<b>made up", "a line", model, cost(described), x, y, x[:30], tuple("abcd"), "images", Path("none"))


@pytest.fixture(scope="module")
def everything() -> Diagnosis:
    return diagnose(subject(stage={"gate": "highway", "se_ratio": 0.5}))


def test_every_measure_has_words_figures_and_an_explanation(everything: Diagnosis) -> None:
    assert list(ABOUT) == list(FIGURES) == list(MEASURES) == [found.measure for found in everything.findings]
    order = [block.name for block in everything.blocks]
    for found in everything.findings:
        assert not found.undefined, found.words
        assert found.words == in_words(found.result)
        assert found.words[0].isupper()
        assert found.words[-1] == "."
        assert re.search(r"\d", found.words)
        for made in FIGURES[found.measure](found.result, order):
            assert len(made.data) > 0
            assert all(len(trace.x) == len(trace.y) > 0 for trace in made.data)


def test_what_is_undefined_is_said_and_not_drawn(tmp_path: Path) -> None:
    found = diagnose(subject(shortcut="none"))
    undefined = {one.measure: one.words for one in found.findings if one.undefined}
    assert set(undefined) == {"paths", "depth", "residual", "gates", "excitation"}
    assert all(words.startswith("Undefined: ") and "\n" not in words for words in undefined.values())
    page = write_diagnosis(found, tmp_path).read_text()
    written = json.loads((tmp_path / "diagnosis.json").read_text())
    assert {name for name, one in written["measures"].items() if one["undefined"]} == set(undefined)
    assert "a plain network has one path" in page


def test_the_same_seed_gives_the_same_figures(everything: Diagnosis) -> None:
    again = diagnose(subject(stage={"gate": "highway", "se_ratio": 0.5}))
    assert [one.result for one in again.findings] == [one.result for one in everything.findings]
    sets = [[one.deleted for one in diagnose(subject(depth=4), ["lesion"], seed).result("lesion").sets]
            for seed in (0, 0, 1)]
    assert sets[0] == sets[1] != sets[2]


def test_a_verdict_is_of_the_median_increase(everything: Diagnosis) -> None:
    found = everything.result("lesion")
    block = replace(found.single[0], estimated=0.3)
    whole = replace(found.whole, estimated=0.29)
    one = replace(found, whole=whole, single=(block,))
    assert "ensemble of paths" in verdict(one)
    assert "plain network" in verdict(replace(one, single=(replace(block, estimated=0.9),)))
    assert "between" in verdict(replace(one, single=(replace(block, estimated=0.5),)))
    assert "too little trained" in verdict(replace(one, whole=replace(whole, estimated=0.7)))


def test_little_is_less_than_a_quarter_of_the_error_and_one_block_is_no_verdict(everything: Diagnosis) -> None:
    found = everything.result("lesion")
    whole, block = replace(found.whole, estimated=0.2), replace(found.single[0], estimated=0.266)
    two = replace(found, whole=whole, single=(block, block), downsampling=())
    assert "between" in in_words(two), "a third more is not little"
    assert "little" in in_words(replace(two, single=(replace(block, estimated=0.24),) * 2))
    one = in_words(replace(two, single=(block,)))
    assert "its one same-shape block, the error goes from 20.0 % to 26.6 %." in one
    assert "ensemble" not in one


def test_words_agree_with_the_numbers_as_they_are_written(everything: Diagnosis) -> None:
    stage = replace(everything.result("estimation")[0], stage="stage3", std=(1.5203, 1.5198), at=("a", "b"))
    assert in_words([stage]).endswith(": stage3 1.52.")
    assert in_words([replace(stage, std=(1.4, 1.2))]).endswith("stage3 1.40 to 1.20; it falls all the way in stage3.")
    assert in_words([stage, replace(stage, std=(1.4, 1.2))]).endswith("it falls all the way in 1 of 2 stages.")
    norm = replace(everything.result("residual")[0], block="stage1.block1", ratio=0.5, same_shape=True)
    assert in_words([norm]) == "Stage1.block1, its one block, adds 0.5 of the norm of what it is given."
    gate = everything.result("gates")[0]
    assert " to " not in in_words([gate])
    assert " to " not in in_words(everything.result("excitation")[:1])


@pytest.mark.parametrize(("norms", "tick"), [((1.0, 0.3, 0.1), "D2"), ((1.0, 1e-3, 1e-6), 1), ((1.0, 1e-30), 4)])
def test_decades_of_a_path_gradient_are_apart(everything: Diagnosis, norms: tuple[float, ...], tick: object) -> None:
    found = replace(everything.result("paths"), norm=norms)
    assert FIGURES["paths"](found, [])[1].layout.yaxis.dtick == tick


def test_a_network_without_blocks_is_a_mistake() -> None:
    made = subject()
    with pytest.raises(NasError, match="nothing to diagnose"):
        diagnose(replace(made, model=torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4))))


def test_short_names_of_blocks() -> None:
    assert [short(name) for name in ("stage2.block3", "memory.stage1.block10", "head<", "a.b")] == [
        "2.3", "1.10", "head&lt;", "a.b"]


def test_undefined_is_no_mistake_of_the_user() -> None:
    assert not issubclass(Undefined, NasError)
