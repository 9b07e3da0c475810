"""From class names to photos in a pool, by iNaturalist's API. See README.md."""

from counterground.construction.collection._collect import (
    ClassReport,
    CollectReport,
    collect,
    plan_collection,
)
from counterground.construction.collection._taxa import WantedClass, read_classes

__all__ = ["ClassReport", "CollectReport", "WantedClass", "collect", "plan_collection", "read_classes"]
