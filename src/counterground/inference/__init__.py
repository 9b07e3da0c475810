"""Encode the photos that are missing, store the features, score them, write a run. See README.md."""

from counterground.inference._cache import COMPUTED, CacheEntry, cache_entries, prune_cache
from counterground.inference._candidates import CandidateLabels, candidate_labels, listed_classes
from counterground.inference._decode import map_blocks
from counterground.inference._encode import encode_photos
from counterground.inference._evaluate import evaluate_models
from counterground.inference._heads import Head, build_head
from counterground.inference._runtime import choose_runtime
from counterground.inference._settings import Article, Engine, Loss, Settings

__all__ = [
    "COMPUTED",
    "Article",
    "CacheEntry",
    "CandidateLabels",
    "Engine",
    "Head",
    "Loss",
    "Settings",
    "build_head",
    "cache_entries",
    "candidate_labels",
    "choose_runtime",
    "encode_photos",
    "evaluate_models",
    "listed_classes",
    "map_blocks",
    "prune_cache",
]
