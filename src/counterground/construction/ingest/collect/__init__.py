"""From class names to photos in a pool, by iNaturalist's API or its open-data dump. See README.md."""

from counterground.construction.ingest.collect._classes import WantedClass, read_classes
from counterground.construction.ingest.collect._collect import collect
from counterground.construction.ingest.collect._options import CollectOptions
from counterground.construction.ingest.collect._plan import plan_collection
from counterground.construction.ingest.collect._report import (
    ClassPlan,
    ClassReport,
    CollectionPlan,
    CollectReport,
)
from counterground.construction.ingest.collect._taxa import UnclearClasses

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
