"""What was computed from photos, kept on disk: features, and the whole cache."""

from __future__ import annotations

from counterground.inference.store._cache import COMPUTED, CacheEntry, cache_entries, prune_cache
from counterground.inference.store._store import Block, Features, FeatureStore, ReadStatus

__all__ = [
    "COMPUTED",
    "Block",
    "CacheEntry",
    "FeatureStore",
    "Features",
    "ReadStatus",
    "cache_entries",
    "prune_cache",
]
