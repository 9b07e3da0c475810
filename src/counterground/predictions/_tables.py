"""Predictions in tables: CSV, TSV, JSON, JSON lines, Parquet; those of timm's ``inference.py`` among them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from counterground.errors import UsageError, did_you_mean
from counterground.files import no_panic, open_regular, scan_parquet
from counterground.metrics import SETTING
from counterground.predictions._formats import GivenPredictions, PredictionFormat

_LINES = (".jsonl", ".ndjson")
_SUFFIXES = (".csv", ".tsv", ".parquet", *_LINES)
PHOTO_NAMES = (
    *("path", "photo", "filepath", "file_path", "file_name", "filename", "image_path", "image", "file"),
)
"""What files call a photo."""
_VAGUE = ("label", "label_0", "index", "index_0")  # of a prediction, unless another column may be it
_LIKELY = re.compile("pred|hat|guess|output")
# The first of these names that a table has, whatever its case.
_COLUMNS = {
    "photo": (*PHOTO_NAMES, "photo_id", "url"),
    "prediction": (
        *("prediction", "predicted_name", "predicted", "pred", "predicted_class", "predicted_label", "top1"),
        *("y_pred", "y_hat", "pred_label", "predicted_index", "pred_index", *_VAGUE),
    ),
    "confidence": ("confidence", "probability", "prob", "prob_0", "score", "conf"),
    "model": ("model", "model_name"),
}
_NEEDED = ("photo", "prediction")
_AS_OURS = ("true_rank", "top2_gap")
_TEXTS = ("photo", "prediction", "model", *SETTING)
_FURTHER = re.compile(r"(?:top|label_|index_)(\d+)")


def _read(path: Path, content: Any, columns: Mapping[str, str]) -> GivenPredictions:
    with no_panic():
        table = pl.LazyFrame(content) if isinstance(content, list) else _scan(path)
        held = table.collect_schema().names()
        chosen = _columns(path, held, columns)
        further = _further(chosen["prediction"], held)
        rows = table.select(
            *(pl.col(theirs).alias(ours) for ours, theirs in chosen.items()),
            *(name for name in _AS_OURS if name in held and name not in chosen),
            *([pl.concat_list(chosen["prediction"], *further).alias("candidates")] if further else ()),
        )
        texts = pl.col([name for name in rows.collect_schema() if name in _TEXTS])
        return GivenPredictions(rows.with_columns(texts.cast(pl.String).cast(pl.Categorical)).collect())


def _scan(path: Path) -> pl.LazyFrame:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return scan_parquet(path)
    if suffix in _LINES:
        open_regular(path).close()
        return pl.scan_ndjson(path, infer_schema_length=None)
    with open_regular(path) as file:
        header = file.readline(2**20).decode("utf-8-sig")
    sign = "\t" if suffix == ".tsv" else next((sign for sign in ",;\t" if sign in header), ",")
    return pl.scan_csv(path, separator=sign, infer_schema=False, glob=False, null_values=[""])


def _columns(path: Path, held: Sequence[str], named: Mapping[str, str]) -> dict[str, str]:
    """Return what the table calls our columns."""
    by_key = {name.strip().lower(): name for name in held}
    chosen = {}
    for ours, aliases in _COLUMNS.items():
        theirs = named.get(ours)
        if theirs is not None and theirs not in held:
            hint = did_you_mean(theirs, held)
            raise UsageError(f"{path}: there is no column {theirs!r}; it has {', '.join(held)}.{hint}")
        known = theirs or next((by_key[alias] for alias in aliases if alias in by_key), None)
        if theirs is None and known in map(by_key.get, _VAGUE) and any(map(_LIKELY.search, by_key)):
            known = None  # the label may be what is true
        if known is None and ours in _NEEDED:
            raise UsageError(
                f"{path}: no column says the {ours}; it has {', '.join(held)}. Name it: --map {ours}=COLUMN."
            )
        if known is not None:
            chosen[ours] = known
    return chosen


def _further(prediction: str, held: Sequence[str]) -> list[str]:
    """Return the columns of further candidates, the next best first: ``top2``, ``label_1``, ``index_1``."""
    stem = re.sub(r"\d+$", "", prediction.lower()) if _FURTHER.fullmatch(prediction.lower()) else "top"
    others = {name.lower(): name for name in held if name != prediction and name.lower().startswith(stem)}
    places = {int(place[1]): name for key, name in others.items() if (place := _FURTHER.fullmatch(key))}
    return [places[at] for at in sorted(places)]


def _is_table(path: Path, content: Any) -> bool:
    return path.suffix.lower() in _SUFFIXES or (isinstance(content, list) and isinstance(content[0], dict))


TABLE = PredictionFormat("table", _is_table, _read)
