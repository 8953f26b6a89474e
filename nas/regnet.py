"""RegNet's rule for widths and depths: few numbers that tie all stages (Radosavovic et al. 2020, section 3.3).

u_j = w_0 + w_a j for block j; s_j = log(u_j / w_0) / log(w_m), rounded; w_j = w_0 w_m^s_j, as multiples of 8, then as
multiples of the group width. Blocks of one width are a stage. Equations 2 to 4, in the order of the authors' code.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby
from math import log

from nas.knobs import Knob

PREFIX = "regnet."
MOST_STAGES = 8
KNOBS = {knob.name: knob for knob in (
    Knob("regnet.depth", int, 13, "blocks in all", 1, 1000, staged=False),
    Knob("regnet.w_0", int, 24, "width of the first block", 8, 4096, staged=False),
    Knob("regnet.w_a", float, 36.0, "slope of the widths, in channels a block", 0, 1024, staged=False),
    Knob("regnet.w_m", float, 2.5, "factor between the widths of stages", 1.1, 8, staged=False),
    Knob("regnet.group_width", int, 8, "channels of a group of the inner convolution", 1, 1024, staged=False),
)}


@lru_cache(maxsize=16_384)
def stages(depth: int, w_0: int, w_a: float, w_m: float, group_width: int) -> tuple[tuple[int, int, int], ...]:
    """(depth, width, cardinality) of each stage. Stages beyond the eighth are part of it."""
    widths = []
    for block in range(depth):
        steps = round(log((w_0 + w_a * block) / w_0) / log(w_m))
        widths.append(max(8, round(w_0 * w_m**steps / 8) * 8))
    found = []
    for width, run in groupby(widths):
        group = min(group_width, width)
        fitted = max(group, round(width / group) * group)
        found.append((len(list(run)), fitted, fitted // group))
    last = found[MOST_STAGES - 1:]
    return (*found[:MOST_STAGES - 1], (sum(stage[0] for stage in last), *last[0][1:])) if last else tuple(found)
