"""The page of a verification in a real Chromium, from disk: no request, no console error, every plot drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nas.verify.claims import Check, Finding, Tier
from nas.verify.running import Result, verify
from nas.verify.showing import write_page

pytestmark = pytest.mark.slow


def results() -> list[Result]:
    """Two systems as they are, and one that is hostile, fails and says nothing."""
    found = [Finding("<i>1", 2.0, "none", verdict) for verdict in (False, None)]
    check = Check(Tier.exact, "<b>bold</b> claim", "</script><script>alert(1)</script>", lambda: found[0])
    made = [Result("made_up", check, finding, 0.1) for finding in found]
    return [*verify(["lesion", "n_shortcut", "dilated_mixing"], Tier.exact), *made]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_opens_from_disk_without_a_word(chromium: Any, tmp_path: Path, width: int, scheme: str) -> None:
    found = results()
    path = write_page(found, Tier.exact, ["of a test"], tmp_path)
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
    assert page.locator("#systems tbody tr").count() == len(found)
    plots = page.locator(".plot").all()
    assert len(plots) == 3
    assert all(plot.locator(".main-svg").count() > 0 for plot in plots)
    assert page.locator("#nav a").all_inner_texts()[-1] == "made_up ✗"
    assert page.locator("#system-made_up tbody td").first.inner_text() == "<b>bold</b> claim"
    assert page.locator(".verdict.FAIL").count() == 1
    page.close()
