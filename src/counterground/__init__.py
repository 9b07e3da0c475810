"""CounterGround measures how much worse a vision model gets when the background changes.

Each command has a function of the same name: ``counterground compare`` is ``compare``; tables of what there
is are ``list_models`` and ``list_benchmarks``. Rarer settings of a command are a record of
``counterground.settings``. Functions of ``counterground data`` are in ``counterground.construction``, those
of ``counterground paper`` in ``counterground.paper``; what belongs to one room (masks, mitigation, metrics)
is imported from there.
"""

import os as _os
from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

from counterground._version import __version__

# Libraries with telemetry read these when they are imported: here, they report nothing.
for _name, _value in (("HF_HUB_DISABLE_TELEMETRY", "1"), ("RAY_USAGE_STATS_ENABLED", "0")):
    _os.environ.setdefault(_name, _value)

if _TYPE_CHECKING:
    from counterground.api import (
        audit,
        board,
        check,
        compare,
        discover,
        evaluate,
        format_scores,
        mitigate,
        plan,
        report,
        scores,
        share,
        swap,
    )
    from counterground.benchmarks import get_benchmark, list_benchmarks, open_benchmark
    from counterground.comparison import Comparison
    from counterground.decision import Check, Plan
    from counterground.discovery import Discovery
    from counterground.mitigation import Mitigated
    from counterground.models import list_models
    from counterground.photos import Benchmark
    from counterground.results import Run, open_run
    from counterground.sharing import Audit

_ROOMS = {
    "Audit": "sharing",
    "Benchmark": "photos",
    "Check": "decision",
    "Comparison": "comparison",
    "Discovery": "discovery",
    "Mitigated": "mitigation",
    "Plan": "decision",
    "Run": "results",
    "audit": "api",
    "board": "api",
    "check": "api",
    "compare": "api",
    "discover": "api",
    "evaluate": "api",
    "format_scores": "api",
    "get_benchmark": "benchmarks",
    "list_benchmarks": "benchmarks",
    "list_models": "models",
    "mitigate": "api",
    "open_benchmark": "benchmarks",
    "open_run": "results",
    "plan": "api",
    "report": "api",
    "scores": "api",
    "share": "api",
    "swap": "api",
}

__all__ = [
    "Audit",
    "Benchmark",
    "Check",
    "Comparison",
    "Discovery",
    "Mitigated",
    "Plan",
    "Run",
    "__version__",
    "audit",
    "board",
    "check",
    "compare",
    "discover",
    "evaluate",
    "format_scores",
    "get_benchmark",
    "list_benchmarks",
    "list_models",
    "mitigate",
    "open_benchmark",
    "open_run",
    "plan",
    "report",
    "scores",
    "share",
    "swap",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that the import itself stays quick."""
    if name not in _ROOMS:
        raise AttributeError(f"module 'counterground' has no attribute {name!r}")
    return getattr(_import_module(f"counterground.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
