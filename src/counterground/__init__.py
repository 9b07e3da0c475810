"""CounterGround measures how much a vision model relies on the background rather than the object.

Each command has a function of the same name: ``counterground compare`` is ``compare``. If the name is a
room, the function is named after what it does: ``write_report``, ``list_models``, ``list_benchmarks``,
``make_masks``. Those of ``counterground data`` are in ``counterground.construction``, those of
``counterground paper`` in ``counterground.paper``.
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
        check,
        compare,
        discover,
        evaluate,
        format_scores,
        make_masks,
        mitigate,
        plan,
        scores,
        swap,
        write_report,
    )
    from counterground.benchmarks import get_benchmark, list_benchmarks, open_benchmark
    from counterground.comparison import Comparison
    from counterground.decision import Check, Plan
    from counterground.discovery import Discovery
    from counterground.inference import Settings
    from counterground.masks import MaskLimits, Masks, MaskSettings, read_masks, with_masks
    from counterground.mitigation import Mitigated, list_mitigations, read_head
    from counterground.models import list_models
    from counterground.photos import Benchmark, LabelSpace
    from counterground.results import Run, bibliography, open_run

_ROOMS = {
    "Benchmark": "photos",
    "Check": "decision",
    "Comparison": "comparison",
    "Discovery": "discovery",
    "LabelSpace": "photos",
    "Mitigated": "mitigation",
    "Plan": "decision",
    "MaskLimits": "masks",
    "MaskSettings": "masks",
    "Masks": "masks",
    "Run": "results",
    "Settings": "inference",
    "bibliography": "results",
    "check": "api",
    "compare": "api",
    "discover": "api",
    "evaluate": "api",
    "format_scores": "api",
    "get_benchmark": "benchmarks",
    "list_benchmarks": "benchmarks",
    "list_mitigations": "mitigation",
    "list_models": "models",
    "make_masks": "api",
    "mitigate": "api",
    "open_benchmark": "benchmarks",
    "open_run": "results",
    "plan": "api",
    "read_masks": "masks",
    "read_head": "mitigation",
    "scores": "api",
    "swap": "api",
    "with_masks": "masks",
    "write_report": "api",
}

__all__ = [
    "Benchmark",
    "Check",
    "Comparison",
    "Discovery",
    "LabelSpace",
    "MaskLimits",
    "MaskSettings",
    "Masks",
    "Mitigated",
    "Plan",
    "Run",
    "Settings",
    "__version__",
    "bibliography",
    "check",
    "compare",
    "discover",
    "evaluate",
    "format_scores",
    "get_benchmark",
    "list_benchmarks",
    "list_mitigations",
    "list_models",
    "make_masks",
    "mitigate",
    "open_benchmark",
    "open_run",
    "plan",
    "read_head",
    "read_masks",
    "scores",
    "swap",
    "with_masks",
    "write_report",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that the import itself stays quick."""
    if name not in _ROOMS:
        raise AttributeError(f"module 'counterground' has no attribute {name!r}")
    return getattr(_import_module(f"counterground.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
