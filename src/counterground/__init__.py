"""CounterGround tells how far a vision model leans on the background instead of the object."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from counterground._version import __version__

if TYPE_CHECKING:
    from counterground.api import compare, discover, evaluate, scores
    from counterground.benchmarks import open_benchmark
    from counterground.inference import Run, open_run
    from counterground.photos import Benchmark, LabelSpace
    from counterground.report import write_report

_WHERE = {
    "Benchmark": "counterground.photos",
    "LabelSpace": "counterground.photos",
    "Run": "counterground.inference",
    "compare": "counterground.api",
    "discover": "counterground.api",
    "evaluate": "counterground.api",
    "open_benchmark": "counterground.benchmarks",
    "open_run": "counterground.inference",
    "scores": "counterground.api",
    "write_report": "counterground.report",
}

__all__ = [
    "Benchmark",
    "LabelSpace",
    "Run",
    "__version__",
    "compare",
    "discover",
    "evaluate",
    "open_benchmark",
    "open_run",
    "scores",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that the import itself stays quick."""
    if name not in _WHERE:
        raise AttributeError(f"module 'counterground' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
