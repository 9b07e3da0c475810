"""Predictions of detectors for camera traps: JSON of SpeciesNet and of MegaDetector."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from counterground.predictions._formats import GivenPredictions, PredictionFormat

_LEAST = 0.2
"""Confidence below which MegaDetector's detections do not count, as its makers advise."""
_EMPTY = "empty"
_PHOTOS = {"photo": pl.String, "prediction": pl.String}
_WAYS = {_EMPTY: (_EMPTY, "blank", "nothing", "none"), "person": ("person", "human", "homo sapiens")}


def _is_species_net(_path: Path, content: Any) -> bool:
    entries = content.get("predictions") if isinstance(content, dict) else None
    return isinstance(entries, list) and bool(entries) and "filepath" in entries[0]


def _species_net(_path: Path, content: Any, _columns: Mapping[str, str]) -> GivenPredictions:
    """Read ``id;class;order;family;genus;species;common name``: any of its names may be a candidate label."""
    entries = content["predictions"]
    rows = [(of["filepath"], of.get("prediction"), of.get("prediction_score")) for of in entries]
    frame = pl.DataFrame(rows, {**_PHOTOS, "confidence": pl.Float64}, orient="row")
    ways = {label: _names(label) for label in frame["prediction"].drop_nulls().unique()}
    return GivenPredictions(frame, ways)


def _names(label: str) -> tuple[str, ...]:
    _, *taxa, genus, species, common = label.split(";") if label.count(";") == 6 else ("", "", "", label)
    lowest = next((name for name in (genus, *reversed(taxa)) if name), "")
    names = (
        common,
        f"{genus} {species}" if species else lowest,
        *(_WAYS[_EMPTY] if common == "blank" else ()),
    )
    return tuple(name for name in names if name)


def _is_mega_detector(_path: Path, content: Any) -> bool:
    return isinstance(content, dict) and {"images", "detection_categories"} <= set(content)


def _mega_detector(_path: Path, content: Any, _columns: Mapping[str, str]) -> GivenPredictions:
    """Read the class of the most confident detection, else its category; without one the photo is empty."""
    kinds, classes = content["detection_categories"], content.get("classification_categories") or {}
    rows = []
    for image in content["images"]:
        best = max(image.get("detections") or (), key=lambda each: each["conf"], default=None)
        name: str | None = _EMPTY
        if best is not None and best["conf"] >= _LEAST:
            classified = best.get("classifications")
            name = classes[classified[0][0]] if classified else kinds[best["category"]]
        rows.append((image["file"], None if image.get("failure") else name))
    return GivenPredictions(pl.DataFrame(rows, _PHOTOS, orient="row"), _WAYS)


SPECIES_NET = PredictionFormat("SpeciesNet", _is_species_net, _species_net)
MEGA_DETECTOR = PredictionFormat("MegaDetector", _is_mega_detector, _mega_detector)
