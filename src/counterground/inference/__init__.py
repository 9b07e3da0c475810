"""Encode the photos that are missing, store the features, score them, write a run. See README.md."""

from counterground.inference._cache import COMPUTED, CacheEntry, cache_entries, prune_cache
from counterground.inference._encode import map_blocks
from counterground.inference._evaluate import (
    EncoderRun,
    HeadOutcome,
    encoder_run,
    evaluate_models,
)
from counterground.inference._heads import Head, build_head
from counterground.inference._request import load_requested
from counterground.inference._store import Features
from counterground.inference._try_model import choose_runtime, encode_photos

__all__ = [
    "COMPUTED",
    "CacheEntry",
    "EncoderRun",
    "Features",
    "Head",
    "HeadOutcome",
    "build_head",
    "cache_entries",
    "choose_runtime",
    "encode_photos",
    "encoder_run",
    "evaluate_models",
    "load_requested",
    "map_blocks",
    "prune_cache",
]
