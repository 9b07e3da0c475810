"""Wing: construction. From raw photos to a benchmark: collect, curate, annotate, export. See README.md."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from counterground.construction.annotate import (
        label_pool,
        review_masks,
    )
    from counterground.construction.collection import collect
    from counterground.construction.curation import curate
    from counterground.construction.exports import export
    from counterground.construction.imports import import_photos
    from counterground.construction.pool import POOL_FOLDERS, Pool, open_pool
    from counterground.construction.settings import (
        CollectOptions,
        CurateSettings,
        ExportSettings,
        ImportOptions,
        LabelSettings,
        ServerSettings,
    )

_PARTS = {
    "POOL_FOLDERS": "pool",
    "CollectOptions": "settings",
    "CurateSettings": "settings",
    "ExportSettings": "settings",
    "ImportOptions": "settings",
    "LabelSettings": "settings",
    "Pool": "pool",
    "ServerSettings": "settings",
    "collect": "collection",
    "curate": "curation",
    "export": "exports",
    "import_photos": "imports",
    "label_pool": "annotate",
    "open_pool": "pool",
    "review_masks": "annotate",
}

__all__ = [
    "POOL_FOLDERS",
    "CollectOptions",
    "CurateSettings",
    "ExportSettings",
    "ImportOptions",
    "LabelSettings",
    "Pool",
    "ServerSettings",
    "collect",
    "curate",
    "export",
    "import_photos",
    "label_pool",
    "open_pool",
    "review_masks",
]


def __getattr__(name: str) -> Any:
    """Import a part when it is first used: the commands' help needs none."""
    if name not in _PARTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PARTS[name]}"), name)
