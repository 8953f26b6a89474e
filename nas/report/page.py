"""One HTML file that opens from a disk without a network: template, style, scripts, Plotly and data in one.

The sources of the page lie in `dashboard/` (in an installed package: `nas/_dashboard`). Its content security policy
forbids every request and every script but the ones whose hashes it names. Data stand in a JSON block, which is not
run, and reach the page as text.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

from nas.report.payload import payload
from nas.report.results import Results
from nas.report.tables import front_csv

SCRIPTS = ("plots.js", "network.js", "tables.js", "report.js")      # run in this order
_HOLE = re.compile(r"\{\{(\w+)\}\}")


def write_report(results: Results, folder: Path) -> Path:
    """Write `report.html` and `front.csv` into `folder`; returns the page's path. Old files are replaced at once."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / "front.csv", front_csv(results))
    page = folder / "report.html"
    replace_file(page, html(results))
    return page


def html(results: Results) -> str:
    """The whole page."""
    return assembled("report", SCRIPTS, results.study, payload(results))


def assembled(kind: str, sources: Sequence[str], title: str, data: Any) -> str:
    """The page of a kind, "report" or "simulation": its body and its scripts, both among the sources, with its data."""
    from plotly.offline import get_plotlyjs

    scripts = [_closed(get_plotlyjs()), _closed("\n".join(source(name) for name in sources))]
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'; "
        f"script-src {' '.join(_hash(script) for script in scripts)}")
    template = source("head.html") + source(f"{kind}.html") + source("foot.html")
    return _filled(template, {
        "policy": policy,
        "kind": kind,
        "title": escape(title),
        "style": source("report.css"),
        "data": embedded(data),
        "plotly": scripts[0],
        "script": scripts[1],
    })


def embedded(data: Any) -> str:
    """JSON that can stand inside a script element: nothing in it can end the element or open a comment."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


@lru_cache(maxsize=16)
def source(name: str) -> str:
    """A file of the page's sources."""
    package = Path(__file__).resolve().parents[1]
    folders = (package / "_dashboard", package.parent / "dashboard")
    found = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if found is None:
        raise FileNotFoundError(f"{name} is in neither {folders[0]} nor {folders[1]}: install the package again")
    return found.read_text(encoding="utf-8")


def _filled(template: str, parts: dict[str, str]) -> str:
    """One pass, so that what stands in a part is never taken for a hole."""
    return _HOLE.sub(lambda match: parts[match[1]], template)


def _closed(script: str) -> str:
    """A script without the sequences that would end its element or open a comment in it."""
    script = script.replace("\r\n", "\n").replace("\r", "\n")      # as a browser reads it, for the hash
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def replace_file(path: Path, text: str) -> None:
    """Write beside `path`, then rename: a reader sees the old file or the new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(text)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
