"""The page of a diagnosis in a real Chromium, from disk: no request, no console error, every plot drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_diagnosis_command import subject

from nas.diagnosis.page import write_diagnosis
from nas.diagnosis.running import MEASURES, diagnose

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of a network that has everything, and of a plain one."""
    gated = {"stage": {"gate": "highway", "se_ratio": 0.5}}
    return {name: write_diagnosis(diagnose(subject(**knobs)), tmp_path_factory.mktemp(name))
            for name, knobs in {"gated": gated, "plain": {"shortcut": "none"}}.items()}


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
@pytest.mark.parametrize("kind", ["gated", "plain"])
def test_opens_from_disk_without_a_word(chromium: Any, pages: dict[str, Path], kind: str, width: int,
                                        scheme: str) -> None:
    said: list[str] = []
    asked: list[str] = []
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(pages[kind].as_uri())
    page.wait_for_selector(".plot .main-svg", timeout=60_000)
    for top in range(0, int(page.evaluate("document.documentElement.scrollHeight")), 500):
        page.evaluate(f"scrollTo({{top: {top}, behavior: 'instant'}})")
        page.wait_for_timeout(50)
    page.wait_for_timeout(300)
    assert said == []
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [pages[kind].as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.inner_text("h1") == "<b>made up"
    assert page.title() == "<b>made up · nas diagnosis"
    plots = page.locator(".plot").all()
    assert all(plot.locator(".main-svg").count() > 0 for plot in plots)
    shown = page.locator("#sections section.card").evaluate_all("all => all.map(one => one.id)")
    if kind == "gated":
        assert shown == list(MEASURES)
        assert len(plots) == len(MEASURES) + 3      # lesion, paths and excitation have two
    else:
        assert shown == ["lesion", "reordering", "correlation", "estimation", "curvature", "undefined"]
        assert page.locator("#undefined li").count() == 5
    assert page.locator("#nav a").count() == len(shown)
    context.close()
