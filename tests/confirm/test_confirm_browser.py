"""The page of a confirmation in a real Chromium, from disk: no request, no console error, every plot drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from confirm_cases import Formula, searched

from nas.confirm import confirm, confirmation, report_of
from nas.confirm.page import write_confirmation

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """The page, and how many networks it shows."""
    home = tmp_path_factory.mktemp("work")
    searched(home)
    study = confirmation("found", home=home, seeds=2, top=5, control=2)
    report = report_of(confirm(study, home=home, evaluate=Formula()).stored, 2)
    return write_confirmation(report, home), len(report.networks)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_opens_from_disk_without_a_word(chromium: Any, made: tuple[Path, int], width: int, scheme: str) -> None:
    path, networks = made
    said: list[str] = []
    asked: list[str] = []
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector(".plot .main-svg", timeout=60_000)
    for top in range(0, int(page.evaluate("document.documentElement.scrollHeight")), 400):
        page.evaluate(f"scrollTo({{top: {top}, behavior: 'instant'}})")
        page.wait_for_timeout(60)
    page.wait_for_timeout(300)
    assert said == []
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [path.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#networks tbody tr").count() == networks
    assert page.locator("#words li").count() == 5
    assert not page.locator("#unfinished").is_visible()
    plots = page.locator(".plot").all()
    assert len(plots) == 2
    assert all(plot.locator(".main-svg").count() > 0 for plot in plots)
    page.close()
