"""Results for people: a table for the terminal, a page with the plots."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nas.report.page import assembled, replace_file
from nas.report.style import as_data
from nas.units import human_seconds, many
from nas.verify.claims import Tier, shown
from nas.verify.running import Result
from nas.verify.systems import SYSTEMS

TIERS = {
    Tier.exact: "Closed forms, published counts and networks written once more from the papers, to the last digit or "
                "to rounding. Nothing is random but what is averaged over.",
    Tier.init: "What theory says of networks as they start, with random weights: within a tolerance.",
    Tier.trained: "What papers say of trained networks, in networks that were trained here. S, statistical claims: "
                  "published effects of 0.3 to 1.2 points are below the noise of short training, so they are reported "
                  "with 95 % intervals over seeds and without a verdict.",
}
_NAMED = 6          # systems in the name of a page
_STYLES = {"pass": "green", "FAIL": "bold red", "none": "dim"}


def print_result(result: Result, out: Console, headed: bool) -> None:
    """A row, as soon as it is known; the system's name above its first one."""
    if headed:
        out.print(Text(result.system, style="bold"))
    found = result.finding
    row = Table.grid(padding=(0, 1), expand=True)
    row.add_column(width=4)
    row.add_column(ratio=5, overflow="fold")
    row.add_column(ratio=3, overflow="fold")
    row.add_column(ratio=3, overflow="fold")
    row.add_column(ratio=2, overflow="fold")
    row.add_row(Text(result.verdict, style=_STYLES[result.verdict]), Text(result.check.claim),
                Text(shown(found.predicted)), Text(shown(found.measured)), Text(found.tolerance, style="dim"))
    out.print(row)


def summary(results: Sequence[Result]) -> str:
    """How many of them hold, in one line."""
    failed = [result for result in results if result.verdict == "FAIL"]
    open_ = sum(result.verdict == "none" for result in results)
    systems = len({result.system for result in results})
    words = [f"{many(len(results), 'check')} of {many(systems, 'system')}",
             f"{sum(r.verdict == 'pass' for r in results)} pass",
             f"{len(failed)} fail" + (f" ({', '.join(dict.fromkeys(r.system for r in failed))})" if failed else "")]
    if open_:
        words.append(f"{open_} without a verdict")
    return f"{', '.join(words)}; {human_seconds(sum(result.seconds for result in results))}"


def write_page(results: Sequence[Result], tier: Tier, facts: Sequence[str], folder: Path) -> Path:
    """Write `verify-TIER.html` into `folder`, or of some systems alone `verify-TIER-SYSTEM-SYSTEM.html`; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / f"verify-{'-'.join([str(tier), *_some(results, tier)])}.html"
    data = {"facts": [summary(results), *facts], "about": TIERS[tier], "tiles": _tiles(results),
            "systems": [_system(name, list(found)) for name, found in groupby(results, lambda result: result.system)]}
    replace_file(page, assembled("verify", ("plots.js", "verify.js"), f"The residual family: {tier}", data))
    return page


def _some(results: Sequence[Result], tier: Tier) -> list[str]:
    """The systems of the results where they are not all of the tier; of very many the first ones."""
    names = list(dict.fromkeys(result.system for result in results))
    if len(names) == sum(any(check.tier == tier for check in checks) for checks in SYSTEMS.values()):
        return []
    return names if len(names) <= _NAMED else [*names[:_NAMED], f"and-{len(names) - _NAMED}"]


def _tiles(results: Sequence[Result]) -> list[dict[str, str]]:
    verdicts = [result.verdict for result in results]
    return [
        {"label": "pass", "value": str(verdicts.count("pass")), "below": f"of {len(results)} checks"},
        {"label": "fail", "value": str(verdicts.count("FAIL")), "below": "verdicts"},
        {"label": "no verdict", "value": str(verdicts.count("none")), "below": "statistical claims"},
        {"label": "systems", "value": str(len({result.system for result in results})), "below": "of the family"},
        {"label": "time", "value": human_seconds(sum(result.seconds for result in results)), "below": "in all"},
    ]


def _system(name: str, results: Sequence[Result]) -> dict[str, Any]:
    return {
        "name": name,
        "failed": sum(result.verdict == "FAIL" for result in results),
        "rows": [[result.check.claim, result.check.source, shown(result.finding.predicted),
                  shown(result.finding.measured), result.finding.tolerance, result.verdict] for result in results],
        "figures": [{"title": result.check.claim, "figure": as_data(made)}
                    for result in results for made in result.finding.figures]}
