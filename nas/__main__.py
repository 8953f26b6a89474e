"""The entry point: runs a command, and turns what goes wrong into one line and an exit code.

0: done. 2: something the user can mend, said in one line. 4: a disk is full. 130: Ctrl-C. 1: a defect of ours; its
traceback is in the log file that the line names.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path


def main() -> None:
    """Run the command line and exit."""
    code = run(sys.argv[1:])
    gc.freeze()     # remembered parts of plans are many: to look through them once more takes longer than some commands
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command; its exit code."""
    import typer

    from nas.cli import command
    from nas.errors import NasError, disk_full, without_passwords

    usage_error: type[Exception] = typer.BadParameter.mro()[2]      # ClickException, wherever typer keeps click

    try:
        result = command().main(arguments, prog_name="nas", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except NasError as error:
        print(f"nas: {error}", file=sys.stderr)
        return error.exit_code
    except usage_error as error:
        said = error.format_message()   # type: ignore[attr-defined]
        if not said:        # nas alone: its help has been printed
            return 0
        print(f"nas: {said}", file=sys.stderr)
        return 2
    except typer.Exit as leaving:
        return leaving.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print("nas: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        full = disk_full(error) if isinstance(error, OSError) else None
        if full is not None:
            print(f"nas: {full}", file=sys.stderr)
            return full.exit_code
        path = _keep_traceback(arguments)
        what = without_passwords((str(error).splitlines() or [""])[0])
        print(f"nas: unexpected {type(error).__name__}: {what}; the traceback is in {path}", file=sys.stderr)
        return 1


def _keep_traceback(arguments: list[str]) -> Path:
    from nas.errors import without_passwords

    text = f"{time.strftime('%Y-%m-%d %H:%M:%S')} nas {' '.join(arguments)}\n{traceback.format_exc()}\n"
    for folder in (Path("studies"), Path(tempfile.gettempdir())):
        path = folder / "nas-errors.log"
        with contextlib.suppress(OSError), path.open("a", encoding="utf-8") as file:
            file.write(without_passwords(text))
            return path
    print(without_passwords(text), file=sys.stderr)
    return Path("the lines above")


if __name__ == "__main__":
    main()
