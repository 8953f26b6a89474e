"""The report in a real Chromium, from disk: no request, no console error, mouse and keyboard, wide and narrow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_cases import made_up
from test_report_page import hostile

from nas.report import front, write_report
from nas.report.results import knee_number

pytestmark = pytest.mark.slow


class Visit:
    """A page with all that it said, asked for and ran into."""

    def __init__(self, browser: Any, page: Path, width: int = 1280, scheme: str = "light"):
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append(f"dialog {dialog.message}"), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(page.as_uri())
        self.page.wait_for_selector("#front-plot .main-svg, #front-table .empty, #time-plot .main-svg", timeout=60_000)

    def scroll_through(self) -> None:
        for top in range(0, int(self.page.evaluate("document.documentElement.scrollHeight")), 600):
            self.page.evaluate(f"scrollTo({{top: {top}, behavior: 'instant'}})")
            self.page.wait_for_timeout(40)
        self.page.wait_for_timeout(300)

    def clean(self, page: Path) -> None:
        assert self.said == []
        assert [url for url in self.asked if not url.startswith(("data:", "blob:"))] == [page.as_uri()]


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(made_up(40), tmp_path_factory.mktemp("usual"))


@pytest.fixture
def visit(chromium: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    made: list[Visit] = []

    def go(page: Path, width: int = 1280, scheme: str = "light") -> Visit:
        made.append(Visit(chromium, page, width, scheme))
        return made[-1]

    yield go
    for each in made:
        each.context.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_opens_from_disk_without_a_word(visit: Any, usual: Path, tmp_path: Path, width: int, scheme: str) -> None:
    seen = visit(usual, width, scheme)
    seen.page.wait_for_selector("#network svg.nas-diagram")
    seen.scroll_through()
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    assert seen.page.locator("#effects .main-svg").count() > 0
    seen.page.screenshot(path=tmp_path / f"report-{width}.png", full_page=True)
    seen.clean(usual)


def test_clicking_a_front_row_opens_its_network(visit: Any, usual: Path) -> None:
    seen, results = visit(usual), made_up(40)
    for trial in front(results).head(2).itertuples():
        seen.page.click(f"#front-table tr[data-number='{trial.number}'] td.line")
        seen.page.wait_for_function(
            "line => document.querySelector('#network svg.nas-diagram title')?.textContent === line",
            arg=results.architectures[trial.number].line())
        assert f"Trial {trial.number}" in seen.page.inner_text("#network h2")
        assert "se_ratio" in seen.page.inner_text("#network .knobs")
        assert seen.page.locator("#network .main-svg").count() > 0
    seen.clean(usual)


def test_clicking_a_point_opens_its_network(visit: Any, usual: Path) -> None:
    seen, results = visit(usual), made_up(40)
    dearest = int(front(results)["number"].iloc[-1])
    point = seen.page.locator("#front-plot .scatterlayer .trace .points path").all()
    box = max((p.bounding_box() for p in point), key=lambda b: -b["y"])
    seen.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    seen.page.wait_for_function("n => document.querySelector('#network h2').textContent.startsWith('Trial ' + n)",
                                arg=dearest)


def test_the_keyboard_is_enough(visit: Any, usual: Path) -> None:
    seen, results = visit(usual), made_up(40)
    numbers = front(results)["number"].tolist()
    assert f"Trial {knee_number(results)}" in seen.page.inner_text("#network h2")
    seen.page.focus(f"#front-table tr[data-number='{numbers[0]}'] button")
    seen.page.keyboard.press("Enter")
    assert seen.page.evaluate("document.activeElement.id") == "network-title"
    assert f"Trial {numbers[0]}" in seen.page.inner_text("#network h2")
    seen.page.keyboard.press("Tab")
    seen.page.keyboard.press("Enter")
    assert f"Trial {numbers[1]}" in seen.page.inner_text("#network h2")


def test_trials_sort_and_filter(visit: Any, usual: Path) -> None:
    seen, results = visit(usual), made_up(40)
    seen.page.click("#trial-table th >> text=accuracy")
    best = results.trials.loc[results.trials["accuracy"].idxmax(), "number"]
    assert seen.page.get_attribute("#trial-table tbody tr", "data-number") == str(best)
    assert seen.page.get_attribute("#trial-table th[aria-sort='descending']", "scope") == "col"
    seen.page.uncheck("#filters label:has-text('complete') input")
    seen.page.uncheck("#filters label:has-text('pruned') input")
    failed = len(results.in_state("FAILED", "OUT_OF_MEMORY"))
    assert seen.page.locator("#trial-table tbody tr").count() == failed
    seen.page.fill("#filters input[type=search]", "became NaN")
    assert seen.page.locator("#trial-table tbody tr").count() == len(results.in_state("FAILED"))


def test_hostile_study_runs_nothing(visit: Any, tmp_path: Path) -> None:
    page = write_report(hostile(), tmp_path)
    seen = visit(page)
    seen.scroll_through()
    for row in seen.page.locator("#front-table tr.pick").all()[:3]:
        row.click()
    seen.page.hover("#front-plot .scatterlayer .points path >> nth=0", force=True)
    assert "</script>" in seen.page.inner_text("h1")
    assert seen.page.locator("img").count() == 0
    seen.clean(page)


def test_empty_study_says_what_to_do(visit: Any, tmp_path: Path) -> None:
    page = write_report(made_up(0), tmp_path)
    seen = visit(page, 390)
    seen.scroll_through()
    assert "nas run" in seen.page.inner_text("#front-table")
    assert "nas run" in seen.page.inner_text("#network")
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390
    seen.clean(page)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_page_of_a_simulation(visit: Any, width: int, scheme: str, tmp_path: Path) -> None:
    from nas.simulation import read_table, simulate
    from nas.simulation.setup import setup_of
    from nas.simulation.showing import write_simulation

    table = tmp_path / "<b>made up.csv"
    table.write_text("depth,width,macs,accuracy\n" + "\n".join(
        f"{depth},{wide},{depth * wide},{0.5 + 0.01 * depth + 0.001 * wide}"
        for depth in (1, 2, 3) for wide in (8, 16, 32)))
    made = setup_of(read_table(table), ["random", "qmc"], ["none"], seeds=3, trials=9, workers=2)
    page = write_simulation(simulate(made, 1), tmp_path / "out")
    seen = visit(page, width, scheme)
    seen.scroll_through()
    seen.clean(page)
    assert seen.page.inner_text("h1") == "<b>made up"
    assert seen.page.title() == "<b>made up · nas simulation"
    assert seen.page.locator("#trials-plot .main-svg").count() >= 1
    rows = seen.page.locator("#reached-table tbody tr").all_inner_texts()
    assert [row.split("\t")[0] for row in rows] == ["random", "qmc"]
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
