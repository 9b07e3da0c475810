"""From class names to photos of a pool: iNaturalist's API or its open-data dump. See README.md."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from counterground.construction.ingest.collect._classes import WantedClass, read_classes
from counterground.construction.ingest.collect._options import CollectOptions

if TYPE_CHECKING:
    from counterground.construction.ingest.collect._collect import collect
    from counterground.construction.ingest.collect._plan import plan_collection
    from counterground.construction.ingest.collect._report import (
        ClassPlan,
        ClassReport,
        CollectionPlan,
        CollectReport,
    )
    from counterground.construction.ingest.collect._taxa import UnclearClasses

_WHERE = {
    "ClassPlan": "_report",
    "ClassReport": "_report",
    "CollectReport": "_report",
    "CollectionPlan": "_report",
    "UnclearClasses": "_taxa",
    "collect": "_collect",
    "plan_collection": "_plan",
}

__all__ = [
    "ClassPlan",
    "ClassReport",
    "CollectOptions",
    "CollectReport",
    "CollectionPlan",
    "UnclearClasses",
    "WantedClass",
    "collect",
    "plan_collection",
    "read_classes",
]


def __getattr__(name: str) -> Any:
    """Load what needs requests, SQLAlchemy or DuckDB when it is used."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
