"""CounterGround measures how much a vision model relies on the background rather than the object.

Each command has a function of the same name: ``counterground compare`` is ``compare``. If the name is a
keyword or a package, the function is named after what it does: ``import_photos``, ``label_pool``,
``write_report``, ``write_figures``, ``list_models``, ``list_benchmarks``, ``make_masks``, ``open_pool``,
``study_theory``.
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
        export,
        format_scores,
        make_masks,
        mitigate,
        plan,
        scores,
        swap,
        write_report,
    )
    from counterground.benchmarks import get_benchmark, list_benchmarks, open_benchmark
    from counterground.comparison import Comparison, reproduce
    from counterground.construction.annotate import LabelSettings, label_pool
    from counterground.construction.annotate.masks import ServerSettings, review_masks
    from counterground.construction.collection import CollectOptions, collect
    from counterground.construction.curation import CurateSettings, curate
    from counterground.construction.exports import CardFacts, ShardSize
    from counterground.construction.imports import ImportOptions, import_photos
    from counterground.construction.pool import Pool, open_pool
    from counterground.decision import Check, Plan
    from counterground.discovery import Discovery
    from counterground.inference import Settings
    from counterground.masks import MaskLimits, Masks, MaskSettings, read_masks, with_masks
    from counterground.mitigation import Mitigated, list_mitigations, read_head
    from counterground.models import list_models
    from counterground.paper.figures import write_figures
    from counterground.paper.study import (
        CocoSettings,
        ColoredSettings,
        TheorySettings,
        study_coloredcoco,
        study_multicoloredmnist,
        study_theory,
    )
    from counterground.photos import Benchmark, LabelSpace
    from counterground.results import Run, bibliography, eval_results, model_cards, open_run

_ROOMS = {
    "Benchmark": "photos",
    "CardFacts": "construction.exports",
    "Check": "decision",
    "CocoSettings": "paper.study",
    "CollectOptions": "construction.collection",
    "ColoredSettings": "paper.study",
    "Comparison": "comparison",
    "CurateSettings": "construction.curation",
    "Discovery": "discovery",
    "ImportOptions": "construction.imports",
    "LabelSettings": "construction.annotate",
    "LabelSpace": "photos",
    "Mitigated": "mitigation",
    "Plan": "decision",
    "MaskLimits": "masks",
    "MaskSettings": "masks",
    "Masks": "masks",
    "Pool": "construction.pool",
    "Run": "results",
    "Settings": "inference",
    "ServerSettings": "construction.annotate.masks",
    "ShardSize": "construction.exports",
    "TheorySettings": "paper.study",
    "bibliography": "results",
    "check": "api",
    "collect": "construction.collection",
    "compare": "api",
    "curate": "construction.curation",
    "discover": "api",
    "eval_results": "results",
    "evaluate": "api",
    "export": "api",
    "format_scores": "api",
    "get_benchmark": "benchmarks",
    "import_photos": "construction.imports",
    "label_pool": "construction.annotate",
    "list_benchmarks": "benchmarks",
    "list_mitigations": "mitigation",
    "list_models": "models",
    "make_masks": "api",
    "mitigate": "api",
    "model_cards": "results",
    "open_benchmark": "benchmarks",
    "open_pool": "construction.pool",
    "open_run": "results",
    "plan": "api",
    "read_masks": "masks",
    "read_head": "mitigation",
    "reproduce": "comparison",
    "review_masks": "construction.annotate.masks",
    "scores": "api",
    "study_coloredcoco": "paper.study",
    "study_multicoloredmnist": "paper.study",
    "study_theory": "paper.study",
    "swap": "api",
    "with_masks": "masks",
    "write_figures": "paper.figures",
    "write_report": "api",
}

__all__ = [
    "Benchmark",
    "CardFacts",
    "Check",
    "CocoSettings",
    "CollectOptions",
    "ColoredSettings",
    "Comparison",
    "CurateSettings",
    "Discovery",
    "ImportOptions",
    "LabelSettings",
    "LabelSpace",
    "MaskLimits",
    "MaskSettings",
    "Masks",
    "Mitigated",
    "Plan",
    "Pool",
    "Run",
    "ServerSettings",
    "Settings",
    "ShardSize",
    "TheorySettings",
    "__version__",
    "bibliography",
    "check",
    "collect",
    "compare",
    "curate",
    "discover",
    "eval_results",
    "evaluate",
    "export",
    "format_scores",
    "get_benchmark",
    "import_photos",
    "label_pool",
    "list_benchmarks",
    "list_mitigations",
    "list_models",
    "make_masks",
    "mitigate",
    "model_cards",
    "open_benchmark",
    "open_pool",
    "open_run",
    "plan",
    "read_head",
    "read_masks",
    "reproduce",
    "review_masks",
    "scores",
    "study_coloredcoco",
    "study_multicoloredmnist",
    "study_theory",
    "swap",
    "with_masks",
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
