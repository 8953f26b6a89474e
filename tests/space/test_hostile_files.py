"""Hostile files through the real command line: a clear line for each mistake, exit 2, nothing written, no traceback."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from nas.__main__ import run

ALIASES = "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x]",
                     *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))])
OK = "network: {depth: [1, 2]}\n"

# What stands in the file; a word of what must be said; how many mistakes there are.
TEXTS: dict[str, tuple[str | bytes, str, int]] = {
    "empty": ("", "is empty", 1),
    "comment": ("# nothing\n", "is empty", 1),
    "list": ("- 1\n- 2\n", "must be a mapping", 1),
    "word": ("resnet", "must be a mapping", 1),
    "binary": (bytes(range(256)) * 20, "not UTF-8", 1),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(100), "not UTF-8", 1),
    "utf-16": (OK.encode("utf-16"), "not UTF-8", 1),
    "zeros": (bytes(1000), "U+0000", 1),
    "10 MB": (b"#" * 10_000_000, "larger than 200 kB", 1),
    "html": ("<!DOCTYPE html>\n<html><body>404</body></html>", "must be a mapping", 1),
    "json that ends early": ('{"network": {"depth": [1, 2]', "is not YAML", 1),
    "tabs": ("network:\n\tdepth: 1\n", "is not YAML", 1),
    "merge conflict": ("<<<<<<< HEAD\nnetwork: {depth: 1}\n=======\n", "is not YAML", 1),
    "two documents": (OK + "---\n" + OK, "another document", 1),
    "python tag": ("network: !!python/object/apply:os.system ['touch owned']\n", "tags are not allowed", 1),
    "int tag": ("network: {depth: !!int '3'}\n", "tags are not allowed", 1),
    "alias bomb": (ALIASES, "anchors and aliases", 1),
    "recursive alias": ("network: &n {depth: *n}\n", "anchors and aliases", 1),
    "deep lists": ("network: " + "[" * 50_000, "nested too deeply", 1),
    "deep mappings": ("network: " + "{a: " * 20_000, "nested too deeply", 1),
    "duplicate keys": ("network: {depth: 1, depth: 2}\n", "is given twice", 1),
    "escape codes": ('name: "\\e[2J\\e[31mhacked"\n' + OK, "U+001B", 1),
    "raw escape code": ("name: \x1b[2J\n" + OK, "U+001B", 1),
    "half a character": ('about: "\\uD800"\n' + OK, "U+D800", 1),
    "null character": ('data: {source: "digits\\0.yaml"}\n' + OK, "U+0000", 1),
    "newline in a word": ('network: {gate: "no\\nne"}\n', "must be one of", 1),
    "bidi override": ('network: {gate: "\u202ehighway"}\n', "must be one of", 1),
    "name climbs": ("name: ../../etc/cron.d/x\n" + OK, "must be letters", 1),
    "name is absolute": ("name: /tmp/x\n" + OK, "must be letters", 1),
    "name is a dot": ("name: ..\n" + OK, "must be letters", 1),
    "name is a mapping": ("name: {a: 1}\n" + OK, "must be letters", 1),
    "long name": (f"name: {'x' * 5000}\n" + OK, "must be letters", 1),
    "long key": (f"network: {{{'x' * 1000}: 1}}\n", "is not a knob", 1),
    "long value": (f"network: {{depth: {'9' * 5000}}}\n", "must be a whole number", 1),
    "no network": ("name: x\n", "network: is missing", 1),
    "network is null": ("network:\n", "network: is missing", 1),
    "network is a list": ("network: [depth]\n", "must be a mapping", 1),
    "network is empty": ("network: {}\n", "holds no knob", 1),
    "unknown knob": ("network: {cardinalty: 2}\n", "did you mean cardinality?", 1),
    "unknown section": ("netwrok: {depth: 1}\n" + OK, "did you mean network?", 1),
    "empty choices": ("network: {depth: []}\n", "is an empty list", 1),
    "empty range": ("network: {depth: {from: 4, to: 1}}\n", "is an empty range", 1),
    "negative depth": ("network: {depth: -1}\n", "must be from 1 to 1000", 1),
    "huge depth": ("network: {depth: 1000000000}\n", "must be from 1 to 1000", 1),
    "infinite width": ("network: {width: {from: 1, to: .inf}}\n", "must be a whole number", 1),
    "nan scaling": ("network: {residual_scaling: .NaN}\n", "must be a number", 1),
    "infinite scaling": ("network: {residual_scaling: -.INF}\n", "must be a number", 1),
    "1e400": ("network: {residual_scaling: 1e400}\n", "must be a number", 1),
    "division by zero": ("network: {se_ratio: 1/0}\n", "must be a number, or a fraction", 1),
    "tiny step": ("network: {residual_scaling: {from: 0.1, to: 1, step: 1e-300}}\n", "does not lead", 1),
    "nan step": ("network: {depth: {from: 1, to: 4, step: .nan}}\n", "must be a number", 1),
    "too many choices": (f"network: {{residual_scaling: [{', '.join(str(n / 1e5) for n in range(200, 9000))}]}}\n",
                         "more than 1000 choices", 1),
    "even kernel": ("network: {kernel: {from: 3, to: 6}}\n", "must be odd", 1),
    "cardinality that never divides": (
        "network: {block: bottleneck, width: 8, bottleneck_ratio: 0.5, cardinality: 3}\n", "does not divide", 1),
    "cardinality choice that never divides": (
        "network: {block: bottleneck, width: 8, bottleneck_ratio: 0.5, cardinality: [1, 3]}\n", "is never legal", 1),
    "limit is nan": ("limits: {macs: {to: .nan}}\n" + OK, "must be a count", 1),
    "limit is infinite": ("limits: {macs: {to: .inf}}\n" + OK, "must be a count", 1),
    "limit is negative": ("limits: {params: {from: -5}}\n" + OK, "must be a count", 1),
    "limit is zero": ("limits: {params: {to: 0}}\n" + OK, "leaves no network", 1),
    "limit is huge": (f"limits: {{macs: {{from: {'9' * 400}}}}}\n" + OK, "must be a count", 1),
    "limits cross": ("limits: {macs: {from: 2M, to: 1M}}\n" + OK, "from is above to", 1),
    "circular rules": ("rules: [{when: {depth: 1}, set: {width: 8}}, {when: {width: 8}, set: {depth: 2}}]\n" + OK,
                       "in a circle", 1),
    "rule of strange digits": ("rules: [{when: {stage².depth: 1}, set: {width: 8}}]\n" + OK, "is not a knob", 1),
    "no objective to train for": ("objectives: {macs: min}\n" + OK, "nothing that has to be trained", 1),
    "space is a number": ("space: 7\n", "must be the path of a space file", 2),
    "space names itself": ("space: hostile.yaml\n", "names no other", 2),
    "space is not there": ("space: ../../../nowhere.yaml\n", "no such file", 1),
    "space is a folder": ("space: /\n", "is a folder", 1),
    "space without end": ("space: /dev/zero\n", "larger than", 1),
    "wrong types everywhere": (
        "network: 1\nrules: 1\nlimits: 1\nobjectives: 1\ndata: 1\nrecipe: 1\nsearch: 1\nbudget: 1\nseed: x\nabout: 1\n",
        "network: 1", 10),
    "several mistakes": (
        "network: {dpeth: 1, width: 0, gate: [non]}\ndata: {resolution: 1e9}\nbudget: {time: soon}\nseed: -1\n",
        "did you mean depth?", 6),
    "thousands of mistakes": ("\n".join(f"k{n}: 1" for n in range(500)), "more mistakes", 50),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of the command; everything else it may write to is under it too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def listing(folder: Path) -> dict[str, int]:
    """Every path under `folder`, and when it was last written."""
    return {str(path.relative_to(folder)): os.lstat(path).st_mtime_ns for path in sorted(folder.rglob("*"))}


def complaint(arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines with which the command is refused; checks what must hold of every refusal."""
    before = listing(folder)
    assert run(arguments) == 2
    assert listing(folder) == before
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("\n")
    lines = err[:-1].split("\n")
    assert lines[0].startswith("nas: ")
    assert all(line.isprintable() for line in lines)
    assert all(len(line) < 1200 for line in lines)
    assert not any(word in err for word in ("Traceback", "unexpected", "nas-errors.log", 'File "'))
    return lines


SHORT = [(name, "run") for name, (text, _, _) in TEXTS.items() if len(text) < 15_000][::4]    # the reader is the same


@pytest.mark.parametrize(("name", "command"), [*((name, "inspect") for name in TEXTS), *SHORT])
def test_hostile_file(name: str, command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, words, count = TEXTS[name]
    (folder / "hostile.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    lines = complaint([command, "hostile.yaml"], folder, capsys)
    assert any(words in line for line in lines), lines
    assert len(lines) == count, lines
    whole_file = words in {"not UTF-8", "larger than 200 kB"}
    place = r"(nas: )?(hostile\.yaml)" + (": " if whole_file else r":\d+:\d+: ")
    assert all(re.match(place, line) for line in lines), lines


def test_there_are_enough_of_them() -> None:
    assert len(TEXTS) >= 60


@pytest.mark.parametrize("command", ["inspect", "run", "train"])
@pytest.mark.parametrize(("path", "words"), [
    ("nowhere.yaml", "no such file"), (".", "is a folder"), ("/dev/zero", "larger than 200 kB"), ("", "is a folder"),
    ("x" * 300, "cannot be read"), ("hostile.yaml/x", "cannot be read"), ("/proc/self/mem", "cannot be read"),
    ("two\nlines", "no such file"), ("\x1b[31mred.yaml", "no such file"), ("loop", "cannot be read")])
def test_hostile_path(path: str, words: str, command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "hostile.yaml").write_text(OK)
    (folder / "loop").symlink_to("loop")
    lines = complaint([command, path], folder, capsys)
    assert len(lines) == 1
    assert words in lines[0]


@pytest.mark.parametrize(("limit", "column", "words"), [
    ("macs: {to: 10}", 17, "limits.macs.to: 10: is below the smallest network of the space"),
    ("params: {from: 900G}", 19, "limits.params.from: 900G: is above the largest network of the space")])
def test_limits_that_nothing_can_meet(limit: str, column: int, words: str, folder: Path,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "hostile.yaml").write_text(OK + f"limits: {{{limit}}}\n")
    (line,) = complaint(["inspect", "hostile.yaml"], folder, capsys)
    assert line.startswith(f"nas: hostile.yaml:2:{column}: {words}")


@pytest.mark.parametrize("command", ["inspect", "run"])
@pytest.mark.parametrize(("section", "column", "words"), [
    ("data: {train: 9999}", 8, "data.train: 9999: more than there is"),
    ("data: {validation: 0.999}", 8, "data.validation: 0.999: leaves fewer than one training image"),
    ("data: {seed: 1, source: nowhere.tar}", 17, "data.source: nowhere.tar: neither a data set"),
    ("search: {sampler: cmaes}", 10, "search.sampler: cmaes: serves one objective alone"),
    ("recipe: {epochs: many}", 10, "recipe.epochs: many: must be a whole number; write e.g. epochs: 20 ")])
def test_what_only_the_data_shows_has_its_place_too(
    section: str, column: int, words: str, command: str, folder: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    (folder / "hostile.yaml").write_text(OK + section + "\n")
    (line,) = complaint([command, "hostile.yaml"], folder, capsys)
    assert line.startswith(f"nas: hostile.yaml:2:{column}: {words}")


@pytest.mark.parametrize(("options", "words"), [
    (["--set", "depth"], "must be KEY=VALUE"),
    (["--set", "network.dpeth=1"], "did you mean depth?"),
    (["--set", "network.depth=*x"], "anchors and aliases"),
    (["--set", "name=../up"], "must be letters"),
    (["--set", "space=/etc/passwd"], "must be the path of a space file"),
    (["--set", "²=1"], "is not known"),
    (["--set", "network.depth={per_stage: {1: 1}}"], "must give stages 1 to 3"),
    (["--data", "nowhere"], "nas: --data nowhere: data.source: nowhere: neither a data set"),
    (["--data", ""], "data.source"),
    (["--data", "cifra10"], "did you mean cifar10?"),
    (["--budget", "soon"], "nas: --budget soon: budget.time: soon: must be a duration"),
    (["--budget", "-5m"], "must be a duration"),
    (["--budegt", "5m"], "--budget"),
    (["--set"], "requires an argument"),
    (["again.yaml"], "unexpected extra argument"),
])
def test_hostile_options(options: list[str], words: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "good.yaml").write_text(OK)
    before = listing(folder)
    assert run(["inspect", "good.yaml", *options]) == 2
    assert listing(folder) == before
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("nas: ")
    assert words in err
    assert "Traceback" not in err


@pytest.mark.parametrize("options", [["--trials", "0"], ["--trials", "many"], ["--workers", "-1"], ["--executor", "x"],
                                     ["--seed", "-1"], ["--gpus-per-trial", "-1"], ["--name", "../up"],
                                     ["--sampler", "5"], ["--sampler", "{a: 1}"], ["--seed", "9" * 30]])
def test_hostile_options_of_run(options: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "good.yaml").write_text(OK)
    before = listing(folder)
    assert run(["run", "good.yaml", *options]) == 2
    assert {path for path in listing(folder) if path not in before} <= {"studies", "studies/s", "studies/good"}
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("nas: ")
    assert len(err.splitlines()) == 1


def test_train_wants_one_network(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "good.yaml").write_text(OK)
    (line,) = complaint(["train", "good.yaml"], folder, capsys)
    assert line.startswith("nas: good.yaml: is a space of several networks (depth)")


def test_good_file_is_inspected_and_nothing_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "good.yaml").write_text(OK)
    before = listing(folder)
    assert run(["inspect", "good.yaml", "--data", "digits"]) == 0
    assert listing(folder) == before
    out, err = capsys.readouterr()
    assert out.startswith("good: 1 axis, 2 points, 100.0% feasible")
    assert err == ""


def test_emoji_in_an_option_is_itself(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "good.yaml").write_text(OK)
    assert run(["inspect", "good.yaml", "--data", "🐈/α"]) == 2
    assert "🐈/α" in capsys.readouterr().err
