"""The preprocessing of OpenCLIP's published weights, also for a weight file that carries no tag.

OpenCLIP itself prepares photos for a file as for OpenAI's CLIP, whatever the architecture: SigLIP, CLIPA,
MobileCLIP and PE were trained with another mean, another filter or squashed photos.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from counterground.models.open_clip._activation import base_name

_KEYS = ("mean", "std", "interpolation", "resize_mode")


def tag_preprocessing(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an entry of OpenCLIP's table of weights says about preprocessing."""
    return {key: weights[key] for key in _KEYS if weights.get(key) is not None}


def published_preprocessing(name: str) -> tuple[dict[str, Any], list[str]]:
    """Return the preprocessing of most published weights of an architecture, and a warning if others differ.

    It is empty, which is OpenCLIP's default, if none are published.
    """
    import open_clip

    plain = name if open_clip.list_pretrained_tags_by_model(name) else base_name(name)
    by_settings: dict[tuple[Any, ...], list[str]] = {}
    for tag in open_clip.list_pretrained_tags_by_model(plain):
        found = tag_preprocessing(open_clip.get_pretrained_cfg(plain, tag))
        by_settings.setdefault(tuple(found.items()), []).append(tag)
    if not by_settings:
        return {}, []
    used = max(by_settings, key=lambda settings: len(by_settings[settings]))
    others = [tag for settings, tags in by_settings.items() if settings != used for tag in tags]
    if not others:
        return dict(used), []
    like = ", ".join(by_settings[used])
    warning = (
        f"The published weights of {plain} differ in preprocessing: that of {like} is used, not that of "
        f"{', '.join(others)}. To use another one, put the file into a folder with an open_clip_config.json "
        "that has it as preprocess_cfg, and write open_clip:DIR."
    )
    return dict(used), [warning]
