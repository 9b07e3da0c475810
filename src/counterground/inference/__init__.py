"""Encode the photos that are missing, store the features, score them, write a run. See README.md."""

from counterground.inference._encoder_run import (
    EncoderRun,
    HeadOutcome,
    encoder_run,
)
from counterground.inference._evaluate import evaluate_models
from counterground.inference._heads import Head, build_head
from counterground.inference.encoding import choose_runtime, encode_photos, map_blocks
from counterground.inference.request import (
    CandidateLabels,
    candidate_labels,
    default_space,
    listed_classes,
    load_requested,
)
from counterground.inference.store import COMPUTED, CacheEntry, Features, cache_entries, prune_cache

__all__ = [
    "COMPUTED",
    "CacheEntry",
    "CandidateLabels",
    "EncoderRun",
    "Features",
    "Head",
    "HeadOutcome",
    "build_head",
    "cache_entries",
    "candidate_labels",
    "choose_runtime",
    "default_space",
    "encode_photos",
    "encoder_run",
    "evaluate_models",
    "listed_classes",
    "load_requested",
    "map_blocks",
    "prune_cache",
]
