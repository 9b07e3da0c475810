"""From class names to photos in a pool, by iNaturalist's API. See README.md."""

from counterground.construction.collection._collect import (
    ClassPlan,
    ClassReport,
    CollectionPlan,
    CollectReport,
    collect,
    plan_collection,
)
from counterground.construction.collection._options import WantedClass, read_classes
from counterground.construction.collection._taxa import UnclearClasses

__all__ = [
    "ClassPlan",
    "ClassReport",
    "CollectReport",
    "CollectionPlan",
    "UnclearClasses",
    "WantedClass",
    "collect",
    "plan_collection",
    "read_classes",
]
