"""A folder that appears whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nas.errors import NasError
from nas.export.folder import whole, write

FILES = ("a.txt", "b.txt")


def fill(target: Path, text: str) -> None:
    with whole(target, FILES) as draft:
        write(draft / "a.txt", text)


def stopped(target: Path, error: type[BaseException]) -> None:
    with whole(target, FILES) as draft:
        write(draft / "b.txt", "half")
        raise error


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_appears_with_its_parents_and_leaves_nothing_beside(tmp_path: Path):
    fill(tmp_path / "deep" / "out", "1")
    assert names(tmp_path / "deep") == ["out"]
    assert (tmp_path / "deep" / "out" / "a.txt").read_text() == "1"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_leaves_nothing_after_an_exception(tmp_path: Path, error: type[BaseException]):
    with pytest.raises(error):
        stopped(tmp_path / "out", error)
    assert names(tmp_path) == []


def test_the_earlier_one_stays_until_the_new_one_is_whole(tmp_path: Path):
    fill(tmp_path / "out", "1")
    with pytest.raises(RuntimeError):
        stopped(tmp_path / "out", RuntimeError)
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["a.txt"]
    fill(tmp_path / "out", "2")
    assert (tmp_path / "out" / "a.txt").read_text() == "2"


def test_never_replaces_what_it_did_not_write(tmp_path: Path):
    fill(tmp_path / "out", "1")
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(NasError, match=r"holds 'thesis.tex', which no export wrote"):
        fill(tmp_path / "out", "2")
    (tmp_path / "file").write_text("")
    with pytest.raises(NasError, match="which no export wrote"):
        fill(tmp_path / "file", "2")


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path):
    gone = _pid_of_nobody()
    draft = tmp_path / f".out.{gone}"
    draft.mkdir()
    (draft / "a.txt").write_text("half")
    before = tmp_path / f".out.{gone}.before"
    before.mkdir()
    (before / "a.txt").write_text("earlier")
    with pytest.raises(RuntimeError):
        stopped(tmp_path / "out", RuntimeError)
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out" / "a.txt").read_text() == "earlier"


def test_the_draft_of_a_process_that_runs_is_left_alone(tmp_path: Path):
    other = tmp_path / f".out.{os.getppid()}"
    other.mkdir()
    fill(tmp_path / "out", "1")
    assert names(tmp_path) == [other.name, "out"]


def test_a_link_to_a_folder_is_followed(tmp_path: Path):
    fill(tmp_path / "real", "1")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    fill(tmp_path / "link", "2")
    assert (tmp_path / "real" / "a.txt").read_text() == "2"
    assert (tmp_path / "link").is_symlink()


def test_a_place_that_cannot_be_made_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NasError, match="cannot be written"):
        fill(tmp_path / "file" / "out", "1")


def _pid_of_nobody() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid
