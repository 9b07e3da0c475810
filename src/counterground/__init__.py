"""CounterGround tells how far a vision model leans on the background instead of the object."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from counterground._version import __version__

if TYPE_CHECKING:
    from counterground.api import compare, discover, evaluate, export, full_comparison, reproduce, scores
    from counterground.benchmarks import open_benchmark
    from counterground.construction.curate import curate
    from counterground.construction.ingest.collect import collect
    from counterground.construction.ingest.imports import import_photos
    from counterground.photos import Benchmark, LabelSpace
    from counterground.pool import Pool, open_pool
    from counterground.report import write_report
    from counterground.report.figures import write_figures
    from counterground.results import Run, bibliography, format_scores, model_cards, open_run

_WHERE = {
    "Benchmark": "counterground.photos",
    "LabelSpace": "counterground.photos",
    "Pool": "counterground.pool",
    "Run": "counterground.results",
    "bibliography": "counterground.results",
    "collect": "counterground.construction.ingest.collect",
    "compare": "counterground.api",
    "curate": "counterground.construction.curate",
    "discover": "counterground.api",
    "evaluate": "counterground.api",
    "export": "counterground.api",
    "format_scores": "counterground.results",
    "full_comparison": "counterground.api",
    "import_photos": "counterground.construction.ingest.imports",
    "model_cards": "counterground.results",
    "open_benchmark": "counterground.benchmarks",
    "open_pool": "counterground.pool",
    "open_run": "counterground.results",
    "reproduce": "counterground.api",
    "scores": "counterground.api",
    "write_figures": "counterground.report.figures",
    "write_report": "counterground.report",
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
    "full_comparison",
    "import_photos",
    "model_cards",
    "open_benchmark",
    "open_pool",
    "open_run",
    "reproduce",
    "scores",
    "write_figures",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that the import itself stays quick."""
    if name not in _WHERE:
        raise AttributeError(f"module 'counterground' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
