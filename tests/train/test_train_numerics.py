"""Measured numerics: measured once, kept, read without torch, wrong files survived."""

import json
import subprocess
import sys

import pytest
import torch

from nas import measure
from nas.data import cache
from nas.errors import NasError
from nas.train import numerics
from nas.train.numerics import Numerics, Reference


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(numerics, "SECONDS", 0.1)


def kept(**changes):
    values = {"device": "cpu", "name": measure.processor(), "host": measure.processor(),
              "torch": measure.torch_version(), "threads": 1, "macs": 1000, "measured": 1.0,
              "images_per_second": {"float32 NCHW": 10.0, "float32 channels_last": 20.0, "bfloat16 NCHW": 30.0}}
    return measure.Speed(**{**values, **changes})


def test_it_is_measured_once_and_then_read(monkeypatch):
    chosen = numerics.choose(device="cpu")
    assert measure.recorded_speed().best == str(chosen)
    assert len(measure.recorded_speed().images_per_second) == 4
    monkeypatch.setattr(numerics, "_measure", lambda wanted: pytest.fail("measured again"))
    assert numerics.choose(device="cpu") == chosen
    assert numerics.summary(chosen).startswith(f"{chosen} ")


def test_measuring_leaves_threads_and_random_state_alone():
    before = torch.get_num_threads()
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    numerics.speed("cpu", threads=1)
    assert torch.equal(torch.rand(2), expected)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("precision", "chosen"), [
    ("auto", Numerics("cpu", "bfloat16", False)), ("float32", Numerics("cpu", "float32", True)),
    ("bfloat16", Numerics("cpu", "bfloat16", False))])
def test_the_fastest_that_the_recipe_allows(precision, chosen):
    measure.record(kept())
    assert numerics.choose(precision, "cpu", threads=1) == chosen


def test_the_summary_compares_with_the_choice():
    assert kept().summary("float32 channels_last") == (
        "float32 channels_last 20 images/s (bfloat16 NCHW 1.5x, float32 NCHW 0.5x)")


def test_newest_of_this_machine_alone():
    measure.record(kept(threads=2, measured=5.0))
    measure.record(kept(measured=2.0))
    measure.record(kept(host="another", name="another", measured=9.0))
    measure.record(kept(torch="1.0", measured=9.0))
    assert measure.recorded_speed().threads == 2
    assert measure.recorded_speed(threads=1).measured == 2.0
    assert measure.recorded_speed("cuda") is None
    assert measure.recorded_speed().macs_per_second == 30_000


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 1}', '[{"device": "cpu"}]', "null"])
def test_a_spoilt_file_counts_as_empty(text):
    folder = cache.root()
    folder.mkdir()
    (folder / "speed.json").write_text(text)
    assert measure.recorded_speed() is None
    measure.record(kept())
    assert measure.recorded_speed() == kept()
    assert [file.name for file in folder.iterdir()] == ["speed.json"]
    assert json.loads((folder / "speed.json").read_text())


def test_a_folder_that_cannot_be_made_is_survived(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "file" / "cache"))
    measure.record(kept())
    assert measure.recorded_speed() is None


def test_speeds_are_read_without_torch():
    measure.record(kept())
    code = "import sys, nas.measure as m; print(m.recorded_speed().macs_per_second, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["30000.0", "False"]


def test_the_macs_of_the_reference_are_what_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        Reference()(torch.zeros(1, 3, 16, 16))
    assert counter.get_total_flops() == 2 * numerics.MACS


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_said_in_one_line():
    with pytest.raises(NasError, match="no usable GPU"):
        numerics.choose(device="cuda")


def test_threads_are_never_more_than_the_cores():
    before = torch.get_num_threads()
    assert numerics.set_threads(100_000) <= 100_000
    assert numerics.set_threads(0) == torch.get_num_threads() == 1
    numerics.set_threads(before)


def test_keeping_memory_is_harmless_wherever_it_is_asked():
    assert numerics.keep_memory() in (True, False)
    assert torch.ones(1 << 20).sum() == 1 << 20
