"""Encode the photos that are missing, keep the features, score them, write a run. See README.md."""

from counterground.inference._candidates import Competition, competition, default_label_space
from counterground.inference._encode import encode_photos
from counterground.inference._evaluate import evaluate_models
from counterground.inference._heads import Head, build_head
from counterground.inference._progress import photo_progress
from counterground.inference._settings import Settings

__all__ = [
    "Competition",
    "Head",
    "Settings",
    "build_head",
    "competition",
    "default_label_space",
    "encode_photos",
    "evaluate_models",
    "photo_progress",
]
