"""Classes: their names, texts, ImageNet indices and prompts."""

from __future__ import annotations

from counterground.photos.labels._classes import (
    ClassAssignment,
    LabelSpace,
    assign_classes,
    imagenet_classes,
    note_unmatched,
    prompt_templates,
    read_class_names,
)
from counterground.photos.labels._imagenet import (
    IMAGENET_SIZE,
    find_imagenet_index,
    imagenet_candidates,
    imagenet_names,
    imagenet_wnids,
    match_imagenet,
    name_key,
    quoted_ways,
    respelled,
    similar_imagenet_name,
)

__all__ = [
    "IMAGENET_SIZE",
    "ClassAssignment",
    "LabelSpace",
    "assign_classes",
    "find_imagenet_index",
    "imagenet_candidates",
    "imagenet_classes",
    "imagenet_names",
    "imagenet_wnids",
    "match_imagenet",
    "name_key",
    "note_unmatched",
    "prompt_templates",
    "quoted_ways",
    "read_class_names",
    "respelled",
    "similar_imagenet_name",
]
