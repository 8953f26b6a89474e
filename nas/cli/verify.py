"""`nas verify`: whether each system of the residual family is what its paper says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.cli.options import Json, console, print_json, writable
from nas.verify.claims import Tier

if TYPE_CHECKING:
    from nas.verify.running import Result


def verify(
    systems: Annotated[list[str] | None, typer.Argument(
        metavar="[SYSTEM]...", help="Such as resnet, highway, lesion; default: all.")] = None,
    tier: Annotated[Tier, typer.Option(help=(
        "exact: closed forms and counts, seconds; init: networks as they start; trained: 40 minutes."))] = Tier.exact,
    data: Annotated[str, typer.Option("--data", metavar="NAME|PATH", help="For the tier trained.")] = "cifar10",
    output: Annotated[Path, typer.Option(help=(
        "Folder of the page, verify-TIER.html, or verify-TIER-SYSTEM.html of some systems."))] = Path("studies/verify"),
    json: Json = False,
) -> None:
    """Show that each system of the residual family works: claim, prediction, measurement, verdict; and a page.

    Exit code 1 where a verdict fails. Statistical claims have none.

    Example: nas verify highway looks_linear --tier init
    """
    from nas.search.workers import usable_cores
    from nas.verify.running import asked_of, chosen_systems, verify
    from nas.verify.showing import print_result, summary, write_page
    from nas.verify.trained import Lab

    out, named = console(json), chosen_systems(systems or ())
    chosen = asked_of(named, tier)
    without = [system for system in named if system not in chosen] if systems else []
    writable(output)
    if without:
        out.print(f"nothing is claimed in the tier {tier} of {', '.join(without)}\n", markup=False)
    seen: list[Result] = []

    def show(result: Result) -> None:
        print_result(result, out, not seen or seen[-1].system != result.system)
        seen.append(result)

    with out.status("") as live:
        results = verify(chosen, tier, Lab(data, min(2, usable_cores()), live.update), show)
    page = write_page(results, tier, [f"data {data}"] if tier == Tier.trained else [], output)
    if json:
        print_json({"tier": str(tier), "checks": [result.to_dict() for result in results], "summary": summary(results),
                    "without_checks": without, "page": str(page)})
    else:
        out.print(f"\n{summary(results)}\npage      {page}", markup=False)
    if any(result.verdict == "FAIL" for result in results):
        raise typer.Exit(1)
