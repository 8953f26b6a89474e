"""The YAML border: the core schema of YAML 1.2, the place of everything, and no more than plain data."""

from __future__ import annotations

import math
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import InvalidInput, NasError
from nas.yamlfile import Document, parse, read


def value(text: str) -> Any:
    """What a scalar reads as."""
    return parse(f"k: {text}", "f.yaml").values["k"]


def refused(text: str) -> str:
    """The one line with which `text` is refused."""
    with pytest.raises(InvalidInput) as caught:
        parse(text, "f.yaml")
    lines = str(caught.value).splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(("text", "expected"), [
    ("1e-3", 1e-3), ("1E3", 1000.0), ("1.5e+3", 1500.0), (".5", 0.5), ("5.", 5.0), ("-1.5", -1.5), ("+2.5", 2.5),
    ("on", "on"), ("off", "off"), ("yes", "yes"), ("no", "no"), ("y", "y"), ("none", "none"), ("No", "No"),
    ("true", True), ("True", True), ("FALSE", False), ("~", None), ("null", None), ("Null", None), ("", None),
    ("12", 12), ("-12", -12), ("+12", 12), ("0o17", 15), ("0x1F", 31), ("017", 17), ("12:30", "12:30"),
    ("2026-01-01", "2026-01-01"), ("1/16", "1/16"), ("60M", "60M"), ("'12'", "12"), ('"true"', "true"), ("''", ""),
    ("0b11", "0b11"), ("1e", "1e"), ("e1", "e1"), ("٣", "٣"), ("1_000", 1000), ("nan", "nan"),
    ("9" * 5000, "9" * 5000)])
def test_scalars_of_the_core_schema(text: str, expected: object) -> None:
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("text", [".inf", ".Inf", ".INF", "+.inf", "-.inf", "-.INF"])
def test_infinities(text: str) -> None:
    assert value(text) == (-math.inf if text[0] == "-" else math.inf)


@pytest.mark.parametrize("text", [".nan", ".NaN", ".NAN"])
def test_not_a_number(text: str) -> None:
    assert math.isnan(value(text))


def test_places_are_of_keys_and_of_items() -> None:
    document = parse("name: a\nnetwork:\n  depth: [1,\n    22]\n  width: {from: 8, to: 9}\n", "f.yaml")
    assert document.at(("name",)) == "f.yaml:1:1"
    assert document.at(("network", "depth")) == "f.yaml:3:3"
    assert document.at(("network", "depth", 1)) == "f.yaml:4:5"
    assert document.at(("network", "width", "to")) == "f.yaml:5:20"


def test_place_of_what_is_not_there_is_of_what_is_around_it() -> None:
    document = parse("network:\n  depth: 1\n", "f.yaml")
    assert document.at(("network", "width", "from")) == "f.yaml:1:1"
    assert document.at(("budget",)) == "f.yaml:1:1"
    assert Document("spec", {}).at(("network",)) == "spec"


@pytest.mark.parametrize(("text", "where", "words"), [
    ("a: 1\na: 2", "2:1", "a: is given twice"),
    ("a: {b: 1, b: 2}", "1:11", "a.b: is given twice"),
    ("a: !!int 3", "1:4", "YAML tags are not allowed"),
    ("a: !!python/object/apply:os.system [ls]", "1:4", "YAML tags are not allowed"),
    ("a: !x 3", "1:4", "!x: YAML tags are not allowed"),
    ("! a: 3", "1:1", "YAML tags are not allowed"),
    ("a: !!set {1, 2}", "1:4", "YAML tags are not allowed"),
    ("a: !!binary aGk=", "1:4", "YAML tags are not allowed"),
    ("a: &x 1", "1:4", "anchors and aliases"),
    ("a: &x [1]\nb: *x", "1:4", "anchors and aliases"),
    ("b: *x", "1:4", "anchors and aliases"),
    ("- 1\n- 2", "1:1", "must be a mapping"),
    ("just words", "1:1", "must be a mapping"),
    ("", "1:1", "is empty"),
    ("# a comment\n", "1:1", "is empty"),
    ("---\n...\n", "1:1", "is empty"),
    ("a: 1\n---\nb: 2", "2:1", "is not YAML"),
    ("a: [1, 2", "1:9", "is not YAML"),
    ("a: 'x", "1:6", "is not YAML"),
    ("a:\n\tb: 1", "2:1", "is not YAML"),
    ("a: b: c", "1:5", "is not YAML"),
    ("a: 1\n b: 2", "2:3", "is not YAML"),
    ("a: @x", "1:4", "is not YAML"),
    ("a: %x", "1:4", "is not YAML"),
    ("? [1, 2]\n: 3", "1:3", "a key must be a word or a whole number"),
    ("1.5: 3", "1:1", "a key must be a word or a whole number"),
    ("true: 3", "1:1", "a key must be a word or a whole number"),
    ("~: 3", "1:1", "a key must be a word or a whole number"),
    ("a: \x00", "1:4", "character U+0000 is not allowed"),
    ("a: 1\nbb: \x1b[31m", "2:5", "character U+001B is not allowed"),
    ('a: "\\0"', "1:1", "holds the character U+0000"),
    ('a: ["\\e[2J"]', "1:5", "holds the character U+001B"),
    ('a: "\\uD800"', "1:1", "holds the character U+D800"),
    ('"a\\x07": 1', "1:1", "holds the character U+0007"),
    ("a: " + "[" * 40 + "]" * 40, "1:23", "nested too deeply"),
    ("a: " + "{b: " * 40 + "}" * 40, "1:80", "nested too deeply"),
    ("%YAML 3.0\n---\na: 1", "1:1", "is not YAML"),
    ("%TAG ! tag:x,2000:\n---\na: !y 1", "3:4", "YAML tags are not allowed"),
])
def test_refused_at_its_place(text: str, where: str, words: str) -> None:
    line = refused(text)
    assert line.startswith(f"f.yaml:{where}: "), line
    assert words in line


def test_several_mistakes_are_said_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse("a: 1\na: 2\n1.5: 0\nb: {c: 1, c: 2}", "f.yaml")
    assert [line.split(": ")[0] for line in str(caught.value).splitlines()] == [
        "f.yaml:2:1", "f.yaml:3:1", "f.yaml:4:11"]


def test_first_of_equal_keys_is_not_silently_the_last() -> None:
    assert "depth" in refused("network:\n  depth: 1\n  width: 2\n  depth: 3\n")


def test_merge_keys_are_words() -> None:
    assert parse("a: {<<: {b: 1}}", "f").values == {"a": {"<<": {"b": 1}}}


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize("text", [bomb(12), "a: &a [*a]", "a: " + "[" * 60_000, "{" * 60_000, "a: " + "- " * 60_000,
                                  "? " * 60_000, "\n".join(" " * n + "k:" for n in range(500))],
                         ids=["aliases", "itself", "lists", "mappings", "dashes", "keys", "indents"])
def test_bombs_are_refused_at_once(text: str) -> None:
    started = time.process_time()
    with pytest.raises(InvalidInput) as caught:
        parse(text, "f.yaml")
    assert len(str(caught.value).splitlines()) == 1
    assert time.process_time() - started < 3


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60) | st.text(alphabet="ab:-[]{}&*!|>'\"%@`#,? \n\t0.~<=", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse(text, "f.yaml")
    except InvalidInput as error:
        lines = str(error).split("\n")
    else:
        assert isinstance(found.values, dict)
        lines = []
    assert all(line.startswith("f.yaml:") and line.isprintable() for line in lines)


# --- files ----------------------------------------------------------------------------------------------------------

def unread(path: Path | str) -> str:
    """The one line with which the file is refused."""
    with pytest.raises(NasError) as caught:
        read(path)
    line = str(caught.value)
    assert line.isprintable()
    return line


def test_file_with_a_byte_order_mark_and_windows_lines(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes("\ufeffa: 1\r\nb: α\r\n".encode())
    assert read(path).values == {"a": 1, "b": "α"}
    assert read(path).at(("b",)) == f"{path}:2:1"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_other_encodings_are_refused(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes("a: ü\n".encode(encoding))
    assert "not UTF-8" in unread(path) or "not allowed" in unread(path)


def test_largest_file(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("a: 1\n" + "#" * 199_994 + "\n")
    assert read(path).values == {"a": 1}
    path.write_text("a: 1\n" + "#" * 199_995 + "\n")
    assert "larger than 200 kB" in unread(path)


def test_large_files_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    with path.open("wb") as file:
        file.truncate(10 * 2**30)
    assert "larger than 200 kB" in unread(path)


def test_no_file_no_folder_no_end(tmp_path: Path) -> None:
    assert "no such file" in unread(tmp_path / "s.yaml")
    assert "is a folder" in unread(tmp_path)
    assert "larger than 200 kB" in unread("/dev/zero")
    assert "cannot be read" in unread(tmp_path / ("x" * 5000))
    assert "cannot be read" in unread("a\0b")
    (tmp_path / "resnext.yaml").touch()
    assert unread(tmp_path / "resnxt.yml").endswith(f"no such file; did you mean {tmp_path}/resnext.yaml?")
    assert "no such file" in unread(tmp_path / "two\nlines\x1b[31m.yaml")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert "cannot be read" in unread(loop)


def test_pipes_can_be_read(tmp_path: Path) -> None:
    """As in nas inspect <(generate)."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text("a: 1\n"))
    writer.start()
    assert read(pipe).values == {"a": 1}
    writer.join()


# --- --set ----------------------------------------------------------------------------------------------------------

def test_set_reaches_any_depth() -> None:
    document = parse("data: {resolution: 8}\n", "f.yaml")
    for assignment in ("data.resolution=16", "search.early_stopping.kind=none", "name=x", "network.depth=[1, 2]",
                       "network.width.per_stage.1={from: 1, to: 2}"):
        document.set(assignment)
    assert document.values == {
        "data": {"resolution": 16}, "search": {"early_stopping": {"kind": "none"}}, "name": "x",
        "network": {"depth": [1, 2], "width": {"per_stage": {1: {"from": 1, "to": 2}}}}}


def test_set_is_the_place_of_what_it_set() -> None:
    document = parse("data: {resolution: 8}\n", "f.yaml")
    document.set("data.resolution=16")
    assert document.at(("data", "resolution")) == "--set data.resolution=16"
    assert document.at(("data",)) == "f.yaml:1:1"


def test_set_takes_an_equals_sign_and_nothing() -> None:
    document = parse("a: 1\n", "f.yaml")
    document.set("b=x=y")
    document.set("c=")
    assert document.values == {"a": 1, "b": "x=y", "c": None}


@pytest.mark.parametrize("assignment", [
    "depth", "=5", "a..b=1", ".=1", "", "a=[1", "a=*x", "a=!!int 1", "a=\x00", 'a="\\0"', "a={b: 1, b: 2}"])
def test_what_cannot_be_set(assignment: str) -> None:
    document = parse("a: 1\n", "f.yaml")
    with pytest.raises(InvalidInput) as caught:
        document.set(assignment)
    assert str(caught.value).startswith("--set ")
    assert str(caught.value).isprintable()
    assert document.values == {"a": 1}


@pytest.mark.parametrize("key", ["²", "9" * 5000, "a.²"])
def test_set_of_strange_digits(key: str) -> None:
    document = parse("a: 1\n", "f.yaml")
    document.set(f"{key}=1")
    assert set(document.values) >= {"a"}
