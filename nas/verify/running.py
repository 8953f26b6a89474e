"""Which checks are asked, and what came of them. Nothing is measured or shown here."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nas.errors import NasError, one_line, shown
from nas.verify.claims import Check, Finding, Tier, broken
from nas.verify.systems import SYSTEMS
from nas.verify.trained import Lab


@dataclass(frozen=True, slots=True)
class Result:
    """A check of a system and what was found, in so many seconds."""

    system: str
    check: Check
    finding: Finding
    seconds: float

    @property
    def verdict(self) -> str:
        """pass, FAIL, or none where nothing is asserted."""
        return {True: "pass", False: "FAIL", None: "none"}[self.finding.passed]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, without figures."""
        found = self.finding
        return {
            "system": self.system, "tier": str(self.check.tier), "claim": self.check.claim,
            "source": self.check.source, "prediction": found.predicted, "measurement": found.measured,
            "tolerance": found.tolerance, "verdict": self.verdict, "seconds": round(self.seconds, 3)}


def chosen_systems(names: Sequence[str]) -> tuple[str, ...]:
    """`names`, or all there are. Raises `NasError` for what is none, with the closest ones."""
    for name in names:
        if name not in SYSTEMS:
            near = difflib.get_close_matches(name.lower().replace("-", "_"), SYSTEMS, 3, 0.5)
            remedy = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(SYSTEMS)}"
            raise NasError(one_line(f"{shown(name)}: is no system of the family; {remedy}"))
    return tuple(dict.fromkeys(names)) or tuple(SYSTEMS)


def asked_of(systems: Sequence[str], tier: Tier) -> tuple[str, ...]:
    """Those of `systems` that have checks in `tier`. Raises `NasError` where none has, naming their tiers."""
    found = tuple(system for system in systems if any(check.tier == tier for check in SYSTEMS[system]))
    if not found:
        tiers = ", ".join(str(one) for one in Tier if any(c.tier == one for s in systems for c in SYSTEMS[s]))
        raise NasError(f"--tier {tier}: nothing is claimed there of {', '.join(systems)}; there is {tiers}")
    return found


def verify(
    systems: Sequence[str], tier: Tier, lab: Lab | None = None, on_result: Callable[[Result], None] | None = None,
) -> list[Result]:
    """The checks of `systems` in `tier`, in the table's order. lab: what the tier `trained` trains on.

    A check that cannot be made, whatever stops it, has failed.
    """
    results = []
    for system in systems:
        for check in SYSTEMS[system]:
            if check.tier == tier:
                results.append(_asked(system, check, lab))
                if on_result:
                    on_result(results[-1])
    return results


def _asked(system: str, check: Check, lab: Lab | None) -> Result:
    started = time.perf_counter()
    try:
        finding = check.measure(lab) if check.tier == Tier.trained else check.measure()
    except Exception as error:
        finding = broken(error)
    return Result(system, check, finding, time.perf_counter() - started)
