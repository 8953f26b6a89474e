"""`nas train --from FOLDER`: an exported network is the start, and is never taken for no start, nor the other way."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import pytest
import torch
from use_cases import STUDY, hues

from nas.__main__ import run as command
from nas.errors import InvalidInput, NasError
from nas.evaluation import Job, recipe_key
from nas.export import export, load
from nas.exported import read_manifest
from nas.exported.start import begin, tuned_study
from nas.model import build
from nas.plan import plan
from nas.search.run import run
from nas.settings import Recipe
from nas.studies import StoredStudy, open_study
from nas.study import study_from_spec, study_from_text

SHA256 = "0123456789abcdef" * 4
GIVEN = ("budget.trials=1", "search.executor=local", "search.sampler=random", "search.early_stopping=none",
         "recipe.epochs=2", "recipe.precision=float32", "recipe.batch_size=16")


def test_keys_of_before_are_what_they_were() -> None:
    """In databases everywhere: another digest, and everything would be trained again."""
    assert recipe_key(Recipe()) == "fc8a901efcd234a9"
    assert recipe_key(Recipe(schedule="one_cycle")) == "64b67a5515ee84f9"
    assert recipe_key(Recipe(levels=2)) == "a789a31701f498e3"


def test_every_start_has_a_key_of_its_own() -> None:
    starts = ["", SHA256, f"{SHA256}:head", SHA256[::-1]]
    assert len({recipe_key(Recipe(start=start)) for start in starts}) == 4
    assert len({recipe_key(Recipe(start=start, schedule="one_cycle")) for start in starts}) == 4


@pytest.mark.parametrize(("text", "said"), [
    ("network: {{depth: [1, 2]}}\nsearch: {{start: x}}\nrecipe: {{start: {0}}}", "recipe.start: begins one network"),
    ("network: {{depth: 1}}\nrecipe: {{start: {0}}}", "recipe.start: wants search.start"),
    ("network: {{depth: 2}}\nsearch: {{start: x}}\nrecipe: {{levels: 1, start: {0}}}", "begins the whole network"),
    ("network: {{depth: 2}}\nrecipe: {{start: net}}", "recipe.start"),
])
def test_what_cannot_begin_so_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        study_from_text(text.format(SHA256))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with an exported network `net` of three classes, and images of three sorts."""
    home = tmp_path_factory.mktemp("home")
    hues(home / "hues")
    hues(home / "same", seed=1)
    hues(home / "others", ("a", "b", "c", "ü"), seed=2)
    hues(home / "grey", ("a", "b"), mode="L")
    export(run(study_from_text(STUDY.format(source=home / "hues")), home=home / "first").stored, 0, home / "net")
    return home


def tuned(home: Path, data: str, folder: str = "net", *more: str) -> StoredStudy:
    study = tuned_study(home / folder, str(home / data), [*GIVEN, *more])
    return run(study, home=home / "studies").stored


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "start"), [(4, ""), (3, ""), (3, ":head")])
def test_all_but_a_new_classifier_is_the_start(home: Path, classes: int, start: str) -> None:
    study = tuned_study(home / "net", str(home / "others"), GIVEN)
    model = build(plan(study.space.decode({}), (3, 8, 8), classes), seed=7)
    new = {name: value.clone() for name, value in model.state_dict().items()}
    begin(model, str(home / "net"), study.recipe.start + start)
    old = load(home / "net").state_dict()
    for name, value in model.state_dict().items():
        fresh = name.startswith("head.") and not start
        assert torch.equal(value, (new if fresh else old)[name]), name
    assert not torch.equal(new["stem.conv.weight"], old["stem.conv.weight"])


@pytest.mark.slow
def test_the_study_is_at_the_folder_s_resolution_and_says_what_it_begins_with(home: Path) -> None:
    study, facts = tuned_study(home / "net", str(home / "others"), GIVEN), read_manifest(home / "net")
    assert (study.name, study.data.resolution, study.recipe.schedule) == ("tune-hues-0", 8, "one_cycle")
    assert study.recipe.start == facts.weights_sha256
    assert study.search.start == str(home / "net")
    assert study_from_spec(json.loads(json.dumps(study.spec()))).changes(study.spec()) == []
    assert tuned_study(home / "net", str(home / "same"), GIVEN).recipe.start == facts.weights_sha256 + ":head"
    assert tuned_study(home / "net", None, GIVEN).data.source == str(home / "hues")
    larger = tuned_study(home / "net", str(home / "same"), [*GIVEN, "data.resolution=12", "name=b"])
    assert (larger.name, larger.data.resolution) == ("b", 12)


@pytest.mark.slow
def test_the_command_trains_exports_and_says_what_it_started_from(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["train", "--from", str(home / "net"), "--data", str(home / "others"), "--epochs", "2", "--repeats", "2"]
    with chdir(tmp_path):
        assert command([*words, "--json"]) == 0
        said = capsys.readouterr()
        assert f"start     the weights of {home / 'net'}, with a new classifier" in said.err
        folder = Path(json.loads(said.out)["export"])
        facts, start = read_manifest(folder), read_manifest(home / "net")
        assert facts.training.start is not None
        assert facts.training.start.model_dump() == {
            "folder": str(home / "net"), "weights_sha256": start.weights_sha256, "classifier_kept": False}
        assert start.training.start is None
        begun = f"begun with the weights {start.weights_sha256[:12]} of {home / 'net'}"
        assert begun in (folder / "model.py").read_text()
        assert begun in " ".join((folder / "architecture.yaml").read_text().split())
        assert facts.classes == ("a", "b", "c", "ü")
        assert command(["evaluate", str(folder), "--part", "validation", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["accuracy"] == facts.validation.accuracy
        assert command(words) == 0
        assert "nothing new to train" in capsys.readouterr().out
        assert command(["train", "--from", str(folder), "--data", str(home / "others"), "--epochs", "1"]) == 0
        assert open_study("tune-tune-hues-0-0").study.recipe.start == facts.weights_sha256 + ":head"


@pytest.mark.slow
def test_it_is_never_taken_for_one_from_scratch_nor_the_other_way(home: Path) -> None:
    first = tuned(home, "same", "net", "name=one")
    spec = first.study.spec()
    scratch = run(study_from_spec({**spec, "name": "scratch", "recipe": {**spec["recipe"], "start": ""}}),
                  home=home / "studies").stored
    again, head = tuned(home, "same", "net", "name=two"), first.study.recipe.start
    new = run(study_from_spec({**spec, "name": "new", "recipe": {**spec["recipe"], "start": head[:64]}}),
              home=home / "studies").stored
    assert [stored.records[0].reused for stored in (first, scratch, again, new)] == [False, False, True, False]
    assert again.records[0].accuracy == first.records[0].accuracy
    losses = [stored.records[0].loss for stored in (first, scratch, new)]
    assert len(set(losses)) == 3


@pytest.mark.slow
def test_a_folder_that_has_gone_or_changed_is_one_line_and_back_again_it_goes_on(home: Path) -> None:
    shutil.copytree(home / "net", home / "moving")
    study = tuned_study(home / "moving", str(home / "same"), [*GIVEN, "name=gone", "seed=5"])
    (home / "moving").rename(home / "elsewhere")
    with pytest.raises(NasError, match=r"moving: no such folder; give one that nas export wrote$"):
        run(study, home=home / "studies")
    other = tuned(home, "same", "net", "name=other", "seed=6")
    export(other, 0, home / "moving")
    with pytest.raises(NasError, match=r"moving: holds other weights \(\w{12}\) than the training begins with"):
        run(study, home=home / "studies")
    shutil.rmtree(home / "moving")
    shutil.copytree(home / "net", home / "moving")
    (home / "moving" / "model.safetensors").write_bytes(b"")
    with pytest.raises(NasError, match=r"model.safetensors: damaged"):
        run(study, home=home / "studies")
    shutil.rmtree(home / "moving")
    moved = tuned_study(home / "elsewhere", str(home / "same"), [*GIVEN, "name=gone", "seed=5"])
    outcome = run(moved, home=home / "studies")
    assert outcome.stored.records[0].state == "COMPLETE", "the folder may be in another place"


@pytest.mark.slow
def test_weights_of_another_network_are_refused(home: Path) -> None:
    study = tuned_study(home / "net", str(home / "same"), GIVEN)
    spec = study.spec()
    other = study_from_spec({**spec, "name": "deeper", "network": {**spec["network"], "depth": 2}})
    with pytest.raises(NasError, match="holds the weights of another network"):
        run(other, home=home / "studies")


@pytest.mark.slow
@pytest.mark.parametrize(("words", "said"), [
    (("--from", "net", "--data", "grey"), "takes images of 3 channels, and those of grey have 1; have them converted"),
    (("--from", "net", "--data", "same", "--set", "network.depth=2"), "leave out what --set says of it"),
    (("--from", "net", "--data", "same", "--set", "recipe.levels=1"), "begins the whole network"),
    (("--from", "net", "--data", "nowhere"), "neither a data set"),
    (("--from", "nowhere", "--data", "same"), "no such folder; give one that nas export wrote"),
    (("--from", "net", "resnet20"), "give one network"),
    ((), "give one network"),
])
def test_a_mistake_is_one_line_and_leaves_nothing(
    home: Path, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str],
) -> None:
    with chdir(home):
        assert command(["train", *words, "--name", "mistake"]) == 2
        found = capsys.readouterr()
        assert (found.out, len(found.err.splitlines())) == ("", 1)
        assert said in found.err
        assert not Path("studies/mistake").exists()


@pytest.mark.slow
def test_grey_images_are_converted_where_that_is_asked_for(home: Path) -> None:
    with chdir(home):
        assert command(["train", "--from", "net", "--data", "grey", "--name", "converted", "--epochs", "1",
                        "--set", "data.channels=3"]) == 0


@pytest.mark.slow
def test_code_in_the_folder_is_not_run(home: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(home / "net", tmp_path / "net"))
    (copied / "boom.py").write_text(f"open({str(tmp_path / 'boom')!r}, 'w')")
    for name in ("model.py", "example.py"):
        shutil.copy(copied / "boom.py", copied / name)
    text = (copied / "architecture.yaml").read_text()
    tuned_study(copied, str(home / "same"), GIVEN)
    (copied / "architecture.yaml").write_text(text.replace("network:", "network:\n  block: boom:boom"))
    with pytest.raises(NasError):
        tuned_study(copied, str(home / "same"), GIVEN)
    assert not (tmp_path / "boom").exists()


@pytest.mark.slow
def test_killed_and_run_again_it_comes_to_the_same(home: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "nas", "train", "--from", str(home / "net"), "--data", str(home / "others"),
             "--epochs", "40"]
    results = []
    for name in ("killed", "left"):
        (tmp_path / name).mkdir()
        if name == "killed":
            with subprocess.Popen(words, cwd=tmp_path / name, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                assert any(line.startswith("epoch   3") for line in process.stdout)
                process.kill()
            assert process.wait() == -signal.SIGKILL, "it was to be killed on the way"
        done = subprocess.run([*words, "--json"], cwd=tmp_path / name, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        with chdir(tmp_path / name):
            (record,) = open_study().records.values()
            results.append((record.state, record.accuracy, record.loss, record.checkpoint_sha256))
    assert results[0] == results[1]


def test_a_job_carries_its_start() -> None:
    study = study_from_text(f"network: {{depth: 1}}\nsearch: {{start: net}}\nrecipe: {{start: {SHA256}}}")
    job = Job("s", 0, study.space.decode({}), (1, 8, 8), 3, study.data, study.recipe, 0, 2, start="net")
    assert Job.from_json(job.to_json()) == job
