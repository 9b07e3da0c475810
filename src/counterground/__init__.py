"""CounterGround tells how much a vision model relies on the background rather than the object.

Each command has a function of its name: ``counterground compare`` is ``compare``. Where the name is a keyword
or a package, the function says what it does: ``import_photos``, ``write_report``, ``write_figures``,
``list_models``, ``list_benchmarks``, ``open_pool``.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

from counterground._version import __version__

if _TYPE_CHECKING:
    from counterground.api import compare, discover, evaluate, export, reproduce, scores
    from counterground.benchmarks import get_benchmark, list_benchmarks, open_benchmark
    from counterground.construction.curate import curate
    from counterground.construction.ingest.collect import collect
    from counterground.construction.ingest.imports import import_photos
    from counterground.models import list_models
    from counterground.photos import Benchmark, LabelSpace
    from counterground.pool import Pool, open_pool
    from counterground.report import write_report
    from counterground.report.figures import write_figures
    from counterground.results import Run, bibliography, format_scores, model_cards, open_run

_ROOMS = {
    "Benchmark": "photos",
    "LabelSpace": "photos",
    "Pool": "pool",
    "Run": "results",
    "bibliography": "results",
    "collect": "construction.ingest.collect",
    "compare": "api",
    "curate": "construction.curate",
    "discover": "api",
    "evaluate": "api",
    "export": "api",
    "format_scores": "results",
    "get_benchmark": "benchmarks",
    "import_photos": "construction.ingest.imports",
    "list_benchmarks": "benchmarks",
    "list_models": "models",
    "model_cards": "results",
    "open_benchmark": "benchmarks",
    "open_pool": "pool",
    "open_run": "results",
    "reproduce": "api",
    "scores": "api",
    "write_figures": "report.figures",
    "write_report": "report",
}

__all__ = [
    "Benchmark",
    "LabelSpace",
    "Pool",
    "Run",
    "__version__",
    "bibliography",
    "collect",
    "compare",
    "curate",
    "discover",
    "evaluate",
    "export",
    "format_scores",
    "get_benchmark",
    "import_photos",
    "list_benchmarks",
    "list_models",
    "model_cards",
    "open_benchmark",
    "open_pool",
    "open_run",
    "reproduce",
    "scores",
    "write_figures",
    "write_report",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that the import itself stays quick."""
    if name not in _ROOMS:
        raise AttributeError(f"module 'counterground' has no attribute {name!r}")
    return getattr(_import_module(f"counterground.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
