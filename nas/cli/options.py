"""Options that several commands share, and how results are printed: for people, or as one JSON object."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Set = Annotated[list[str] | None, typer.Option(
    "--set", metavar="KEY=VALUE", help="Set any field, e.g. data.resolution=16. Can be given again.")]
Storage = Annotated[str | None, typer.Option(metavar="URL", help="Database; default: studies/nas.db.")]
DataOption = Annotated[str | None, typer.Option("--data", metavar="NAME|PATH", help=(
    "digits, cifar10, cifar100, mnist, fashion_mnist, or a folder or archive of images by class."))]


def console(json_wanted: bool = False) -> Console:
    """Where people read: standard output, or standard error beside JSON."""
    from rich.console import Console

    return Console(stderr=json_wanted, highlight=False, soft_wrap=not sys.stdout.isatty())


def print_json(values: dict[str, Any]) -> None:
    """`values` as one JSON object on standard output; what is not a number is null."""
    sys.stdout.write(json.dumps(_plain(values), indent=2, ensure_ascii=False) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if hasattr(value, "item"):
        return _plain(value.item())
    return None if str(value) in {"NaT", "<NA>"} else str(value)


def overrides(pairs: dict[str, Any], given: list[str] | None) -> list[str]:
    """`KEY=VALUE` for each option that was given, then what `--set` says."""
    from nas.yamlfile import Given

    options = [Given(f"{key}={json.dumps(value, ensure_ascii=False)}", f"{_OPTIONS.get(key, key)} {value}")
               for key, value in pairs.items() if value is not None]
    return [*options, *(given or [])]


def final(written: Mapping[str, Any]) -> dict[str, Any]:
    """What a final training does differently, for fields of the recipe that the document leaves out."""
    from nas.settings import FINAL

    recipe = written.get("recipe")
    return {f"recipe.{name}": value for name, value in FINAL.items()
            if not isinstance(recipe, dict) or name not in recipe}


_OPTIONS = {
    "data.source": "--data", "budget.trials": "--trials", "budget.time": "--budget", "search.workers": "--workers",
    "search.gpus_per_trial": "--gpus-per-trial", "search.executor": "--executor", "search.address": "--address",
    "search.artifacts": "--artifacts", "search.sampler": "--sampler", "seed": "--seed", "name": "--name",
    "search.keep": "--keep", "search.quota": "--quota", "search.repeats": "--repeats", "recipe.epochs": "--epochs",
}


def writable(folder: Path) -> None:
    """Make the folder, before work whose result goes there. Raises `NasError`."""
    from nas.errors import NasError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NasError(f"--output {folder}: cannot be written: {error.strerror}; choose another folder") from None
