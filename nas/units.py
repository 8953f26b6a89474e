"""Human quantities as people write them in YAML and on the command line: `60M`, `1/16`, `30m`. Nothing else."""

from __future__ import annotations

import math
import re
from fractions import Fraction

_COUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kKMGT]?)")
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?\s*[smhd]\s*)+")
_FACTOR = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_LARGEST = 10**18       # of a count; beyond any network
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def parse_count(value: object) -> int:
    """An exact count from 60M, 1.5G, 20k or a plain number. Raises ValueError with the rule."""
    match = _COUNT.fullmatch(value.strip()) if isinstance(value, str) and len(value) < 40 else None
    if match is not None:
        count = Fraction(match[1]) * _FACTOR[match[2]]
    elif isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        count = Fraction(value)
    else:
        raise ValueError("must be a count such as 60M, 1.5G, 20k or 250000")
    if count.denominator != 1 or count > _LARGEST:
        raise ValueError(f"must be a whole count of at most {_LARGEST:.0e}")
    return int(count)


def parse_duration(value: object) -> float:
    """Seconds from 90s, 30m, 12h, 2d, 1h30m or a plain number of seconds. Raises ValueError with the rule."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds: float = value
    elif isinstance(value, str) and _DURATION.fullmatch(value.strip()):
        pairs = re.findall(r"([0-9]+(?:\.[0-9]+)?)\s*([smhd])", value)
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in pairs)
    else:
        raise ValueError("must be a duration such as 90s, 30m, 12h or 1h30m")
    if not 0 < seconds < 10**9:
        raise ValueError("must be longer than nothing and shorter than 10000d")
    return float(seconds)


def parse_size(value: object) -> int:
    """Bytes from 20GB, 500MB, 1.5T or a plain number of bytes. Raises ValueError with the rule."""
    try:
        return parse_count(re.sub(r"(?<=[kKMGT])B$", "", value.strip()) if isinstance(value, str) else value)
    except ValueError:
        raise ValueError("must be a size such as 500MB or 20GB") from None


def parse_number(value: object) -> float | int:
    """A number, or a fraction such as 1/16. Raises ValueError with the rule."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}\s*/\s*[1-9][0-9]{0,17}", value.strip()):
        return float(Fraction(value.replace(" ", "")))
    raise ValueError("must be a number, or a fraction such as 1/16")


def many(count: int, noun: str) -> str:
    """1 axis, 2 axes, 1,000 points."""
    plural = noun[:-2] + "es" if noun.endswith("xis") else noun + "s"
    return f"{count:,} {noun if count == 1 else plural}"


def human_count(count: float) -> str:
    """`count` with three significant digits: 812, 40.6M, 1.73M."""
    for factor, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= factor * 0.9995:
            return f"{count / factor:.3g}{letter}" if count < factor * 999.5 else f"{count / factor:.0f}{letter}"
    return f"{count:.0f}"


def human_seconds(seconds: float) -> str:
    """`seconds` as a person would say it: 0.4s, 52s, 3m 20s, 2h 05m."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    if seconds < 60:
        return f"{seconds:.0f}s"
    if seconds < 3600:
        return f"{int(seconds) // 60}m {int(seconds) % 60:02d}s"
    return f"{int(seconds) // 3600}h {int(seconds) % 3600 // 60:02d}m"
