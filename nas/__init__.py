"""nas: find residual networks. From a YAML search space to a trained, checked and exported Pareto front.

    space = nas.load_space("search_spaces/resnext.yaml")
    outcome = nas.run(space)
    nas.open_study("resnext").front()

The public names are these; everything is imported when it is first used, so that `import nas` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.errors import InvalidInput, NasError
    from nas.exported import load
    from nas.model.foreign import load_weights
    from nas.search.run import run
    from nas.studies import StoredStudy, open_study
    from nas.study import Study
    from nas.study import load_study as load_space

__version__ = "0.1.0"
__all__ = [
    "InvalidInput", "NasError", "StoredStudy", "Study", "load", "load_space", "load_weights", "open_study", "run"]

_HOMES = {
    "InvalidInput": ("nas.errors", "InvalidInput"),
    "NasError": ("nas.errors", "NasError"),
    "StoredStudy": ("nas.studies", "StoredStudy"),
    "Study": ("nas.study", "Study"),
    "load": ("nas.exported", "load"),
    "load_space": ("nas.study", "load_study"),
    "load_weights": ("nas.model.foreign", "load_weights"),
    "open_study": ("nas.studies", "open_study"),
    "run": ("nas.search.run", "run"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nas' has no attribute {name!r}")
    import importlib

    module, attribute = _HOMES[name]
    return getattr(importlib.import_module(module), attribute)
