"""The written files: escaping, the closed door to the network, the CSV, the terminal's table, the size."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from report_cases import AXES, made_up
from rich.console import Console

from nas.report import Results, front, front_csv, terminal_front, write_report
from nas.report.page import embedded, html
from nas.report.tables import cell
from nas.store import Refusals

ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(1)><!--"


def hostile() -> Results:
    results = made_up(20)
    trials = results.trials.assign(reason=ATTACK, architecture=ATTACK, device=ATTACK, checkpoint=ATTACK)
    trials["gate"] = ATTACK
    trials[ATTACK] = ATTACK
    return replace(results, study=ATTACK, yaml=ATTACK, data=ATTACK, machine=ATTACK,
                   infeasible={ATTACK: Refusals(3, 0.1, 0.2)}, trials=trials, axes=(*AXES, ATTACK))


class Tags(HTMLParser):
    """Start tags with their attributes, and the text of each script."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data


def parsed(results: Results) -> Tags:
    tags = Tags()
    tags.feed(html(results))
    return tags


def test_hostile_strings_stay_text() -> None:
    tags = parsed(hostile())
    assert [tag for tag, _ in tags.tags].count("script") == 3
    assert "img" not in {tag for tag, _ in tags.tags}
    data = json.loads(tags.scripts[0])
    assert data["study"] == data["yaml"] == ATTACK
    assert "<title>&lt;/script&gt;" in html(hostile())


def test_page_loads_nothing() -> None:
    tags = parsed(made_up(20))
    for tag, attributes in tags.tags:
        assert "src" not in attributes, tag
        assert not (attributes.get("href") or "#").startswith(("http", "//")), tag
        assert not any(name.startswith("on") for name in attributes), tag
    own = html(made_up(20)).replace(tags.scripts[1], "")
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", own)


def test_policy_forbids_the_network_and_other_scripts() -> None:
    metas = [attributes for tag, attributes in parsed(made_up(3)).tags if tag == "meta"]
    policy = next(meta["content"] for meta in metas if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy
    assert "default-src 'none'" in policy
    assert policy.count("'sha256-") == 2
    script = next(part for part in policy.split(";") if "script-src" in part)
    assert "unsafe" not in script
    assert "connect-src" not in policy


def test_embedded_json_cannot_end_its_element() -> None:
    text = embedded({"a": ATTACK, "b": "\u2028&amp;", "c": None})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": ATTACK, "b": "\u2028&amp;", "c": None}


def test_holes_in_values_are_not_filled(tmp_path: Path) -> None:
    page = write_report(made_up(2, study="{{plotly}}", yaml="{{data}} \ud800"), tmp_path)
    text = page.read_text()
    assert "<h1>{{plotly}}</h1>" in text
    assert text.count("{{data}} ?") == 1


@pytest.mark.parametrize(("value", "written"), [
    ("=1+1", "'=1+1"), ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"), ("-2+3", "'-2+3"), ("@SUM(A1)", "'@SUM(A1)"),
    ("\t=1", "'\t=1"), ("\r=1", "'\r=1"), (-2.5, "-2.5"), ("-2", "-2"), ("+1e-3", "+1e-3"), (None, ""),
    (float("nan"), ""), (True, "True"), (8.0, "8"), (0.123456789, "0.123456789"), ("plain", "plain"), ("-", "'-"),
])
def test_csv_cells(value: Any, written: str) -> None:
    assert cell(value) == written


def test_front_csv_is_the_front(tmp_path: Path) -> None:
    results = made_up(30)
    results = replace(results, trials=results.trials.assign(architecture="=HYPERLINK(1)"))
    write_report(results, tmp_path)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "front.csv").read_text())))
    chosen = front(results)
    assert [int(row["number"]) for row in rows] == chosen["number"].tolist()
    assert [float(row["accuracy"]) for row in rows] == chosen["accuracy"].tolist()
    assert {row["architecture"] for row in rows} == {"'=HYPERLINK(1)"}
    assert set(AXES) <= set(rows[0])
    assert front_csv(made_up(0)).count("\n") == 1, "the header alone"


def test_reports_are_replaced_and_leave_nothing_behind(tmp_path: Path) -> None:
    first = write_report(made_up(2), tmp_path / "new" / "folder").read_text()
    second = write_report(made_up(3), tmp_path / "new" / "folder").read_text()
    assert first != second
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == ["front.csv", "report.html"]


@pytest.mark.parametrize("width", [50, 80, 200])
def test_terminal_cuts_no_number(width: int) -> None:
    results = made_up(30)
    console = Console(width=width, record=True, file=io.StringIO())
    terminal_front(results, console)
    printed = console.export_text()
    for row in front(results).itertuples():
        assert re.search(rf"\b{row.number} +{row.accuracy:.4f}\b", printed)
        assert row.architecture.replace(" ", "")[-8:] in re.sub(r"\s", "", printed)
    assert "…" not in printed
    assert all(len(line) <= width for line in printed.splitlines())


def test_terminal_takes_no_markup_and_no_control_characters() -> None:
    results = made_up(30)
    results = replace(results, trials=results.trials.assign(architecture="[red]x[/red]\x1b[2J"))
    console = Console(width=120, record=True, file=io.StringIO())
    terminal_front(results, console)
    printed = console.export_text()
    assert "[red]x[/red]\\x1b[2J" in printed
    assert "\x1b" not in printed


def test_terminal_of_an_empty_study() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    terminal_front(made_up(0), console)
    assert "nas run" in console.export_text()


@pytest.mark.slow
def test_five_thousand_trials_stay_small(tmp_path: Path) -> None:
    assert write_report(made_up(5_000), tmp_path).stat().st_size < 12e6
