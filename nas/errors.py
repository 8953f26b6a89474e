"""What the user can mend, said in one line: where, what, which rule, what to do.

Every error that a user can cause is a `NasError`; the command line prints it without a traceback and exits with
code 2. Anything else is a defect of ours: it keeps its traceback, in a log file.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_MOST_LINES = 50        # of mistakes shown at once


class NasError(Exception):
    """A mistake that the user can mend. `str(error)` is one clear line (or one line for each mistake)."""

    exit_code = 2


class DiskFull(NasError):
    """There is no room for what has to be written. Nothing is lost: the same command goes on once there is."""

    exit_code = 4


def disk_full(error: OSError, where: object = None) -> DiskFull | None:
    """What to say where `error` means that a disk is full or a quota used up."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    return DiskFull(one_line(f"{where or error.filename or 'the disk'}: {error.strerror}; make room, then run the same "
                             "command again"))


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a file or on the command line.

    `where` is `file:line:column` (or what stands for it), `field` the dotted path, `value` what stands there, `rule`
    what it breaks, `remedy` what to write instead.
    """

    where: str
    field: str
    rule: str
    remedy: str = ""
    value: Any = None

    def __str__(self) -> str:
        parts = [self.where] if self.where else []
        if self.field:
            parts.append(shown(self.field, 120))
        if self.value is not None:
            parts.append(shown(self.value))
        parts.append(self.rule)
        line = ": ".join(parts)
        return one_line(f"{line}; {self.remedy}" if self.remedy else line)


class InvalidInput(NasError):
    """One or several mistakes in what the user wrote; all of them are said at once."""

    def __init__(self, problems: Iterable[Problem]):
        self.problems = tuple(problems)
        lines = [str(problem) for problem in self.problems[:_MOST_LINES]]
        if len(self.problems) > _MOST_LINES:
            lines[-1] += f" (and {len(self.problems) - _MOST_LINES} more mistakes)"
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type[InvalidInput], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)


def shown(value: Any, limit: int = 60) -> str:
    """`value` as the user would write it, cut to `limit` characters."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def without_passwords(text: str) -> str:
    """`text` without the passwords of the URLs in it."""
    text = re.sub(r"(://[^/@\s:]*):[^@\s]*@", r"\1:***@", text)
    return re.sub(r"([?&](?:password|passfile|sslpassword)=)[^&\s]+", r"\1***", text)


def one_line(text: str) -> str:
    """`text` with control characters made visible, so that a hostile name cannot break out of its line."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
