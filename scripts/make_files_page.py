"""Write the tables of ``docs/files.md``: every file CounterGround writes, with its columns or fields.

Run after a schema changes: ``python scripts/make_files_page.py``. Names, types and order come from the
schemas in the code. The meanings are in this file; a column without one is an error. Everything else on the
page is written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, get_type_hints

import polars as pl
from pydantic import BaseModel

from counterground.construction.exports import LEFT_OUT_SCHEMA
from counterground.construction.pool import CANDIDATE_SCHEMA, DECISION_SCHEMA, PHOTO_SCHEMA, SIGNAL_SCHEMA
from counterground.files import write_text
from counterground.masks import MASKS_SCHEMA
from counterground.metrics import SCORES_SCHEMA, registered_metrics
from counterground.photos import MANIFEST_SCHEMA, Discovered, LabelSpace
from counterground.results import (
    PREDICTIONS_SCHEMA,
    Accuracies,
    BenchmarkRecord,
    CandidatesRecord,
    CountsRecord,
    ExportedHead,
    MethodRecord,
    MitigationRecord,
    ModelRecord,
    PositionsRecord,
    RunInfo,
)

PLACE = Path(__file__).parents[1] / "docs" / "files.md"
NOWHERE: dict[str, str] = {}

MEANINGS = {
    "path": "path of the photo, relative to the benchmark's folder, with forward slashes; identifies the row",
    "photo_id": "SHA-256 of the file's bytes; two copies of a photo share it",
    "class_index": "index of the class among the benchmark's own classes",
    "class_name": "name of the class",
    "background": "what is behind the object; null: not given",
    "group": "`common`, `counter` or null",
    "cluster": "shared by photos that are not independent; null: a cluster of its own",
    "mask": "path of the object's mask",
    "licence": "lower-case code; null: unknown",
    "attribution": "credit line to show with the photo",
    "source": "page the photo comes from",
    "model": "name of the model: `NAME` of `-m NAME=SPEC`, else its specification",
    "names": "how ImageNet classes are written in prompts: `openai`, `wordnet`, or `file@hash`",
    "prompts": "`simple`, `openai`, or `file@hash`; for a generative model, the question; for a fitted head, "
    "the head and what it was fitted on",
    "protocol": "`classification`, `fitted-head`, or the protocol of a generative model",
    "answer_score": "`mean` or `sum` over the tokens of an answer, if losses are compared; else null",
    "label_space": "name of the set of names that competed",
    "true_index": "index of the true class in the label space; null if the label space lacks it",
    "predicted_index": "index of the prediction, counted like `true_index`; null: the answer names no class",
    "predicted_name": "name of the prediction in the label space",
    "correct": "whether `predicted_index` equals `true_index`",
    "true_rank": "number of names scored above the true one: 0 if correct; null: it is not a candidate",
    "confidence": "probability that the model gives its prediction",
    "top2_gap": "score minus the runner-up's, in units of the model (cosine or logits); 0: an exact tie; "
    "null: there is no runner-up, or its score is not known",
    "loss_sum": "loss of the predicted answer, summed over its tokens; generative models only",
    "loss_mean": "the same, averaged over its tokens",
    "low": "lower end of the 95 % interval",
    "high": "upper end of the 95 % interval",
    "n": "number of photos behind the value",
    "clusters": "number of clusters behind the value",
    "classes_low": "lower end of an interval for other classes, of which these are a random sample",
    "classes_high": "upper end of that interval",
    "reason": "why",
    "question": "what was asked",
    "answer": "text that was generated",
    "named": "class that the answer names; null: none",
    "common": "background on which the referee did best (with `shrunken`: should do best, noise aside)",
    "counter": "background on which it did worst",
    "drop": "difference between the two accuracies on the photos that pairs were chosen on, a fraction",
    "accuracy": "accuracy of the referee in this cell, a fraction",
    "half": "`chooses` (the selection half) or `reports` (the held-out half); in a swap, `first` or "
    "`second`; for a pair, the half whose photos chose it",
}
OF_TABLE = {
    "scores": {
        "metric": "name of the metric, below; a contrast's own name for left minus right",
        "contrast": "name of the contrast that the row is of; null: a metric of all photos or of a group",
        "column": "column that `level` is a value of: `group`, `background`, ...; `side` of a contrast; "
        "null: all photos",
        "level": "`common`, `counter`, another value of the column, or what a side is called",
        "class_index": "index of the class among the benchmark's own classes; null: all classes",
        "versus": "the other model of a difference of two models, `model` minus `versus`; else null",
        "value": "a fraction, 0 to 1 (a drop: −1 to 1); null if the photos cannot show it, never 0",
        "low": "lower end of the interval",
        "high": "upper end of the interval",
        "confidence": "confidence of the intervals, 0.95",
        "p_value": "two-sided, for a difference of 0, not corrected; null: not a difference",
        "p_corrected": "the same, corrected over the models of the run (Holm)",
        "family": "number of tests that it is corrected for",
        "clusters_2": "the same by a second way of clustering; null: there is none",
    },
    "photo": {
        "path": "path of the photo, relative to the pool, below `files/`",
        "key": "where the photo comes from, such as `inaturalist:123`",
        "observation": "number of the observation at that source",
        "observer": "author of the observation at that source",
        "taxon_id": "number of the taxon",
        "taxon": "scientific name of the taxon",
        "url": "URL of the file",
        "observed_on": "ISO date",
        "width": "in pixels",
        "height": "in pixels",
        "bytes": "size of the file",
        "added_at": "ISO time, UTC",
    },
    "decision": {
        "id": "number of the event; later events have higher numbers",
        "annotator": "name of the annotator; `imported`: the decision came with an import",
        "task": "`review` or `background`",
        "labels": "labels, the primary one first; empty in an undo",
        "adjudicates": "whether it ends a disagreement between annotators",
        "seconds": "how long the photo was looked at",
        "suggestion": "JSON of what a model suggested on screen; null: nothing was shown",
        "at": "ISO time, UTC",
        "token": "identifies a request: the same token sent twice is one decision",
        "undoes": "`id` of the event that this one undoes",
        "undone": "whether a later event undoes it (computed, not stored)",
    },
    "candidate": {
        "class_name": "its class in the pool",
        "position": "position in its class; 0 is the newest",
        "status": "`wanted`, `got` or `failed`",
        "reason": "why it failed",
        "tries": "number of attempts so far",
    },
    "signal": {
        "signal": "name of the signal",
        "reason": "reason for discarding a photo that the signal supports",
        "value": "measured value",
        "flagged": "whether the value is beyond the threshold",
        "priority": "0 to 1 within the pool: which photos to look at first",
        "explanation": "the finding, as a sentence",
        "related": "path of the other photo, or name of the other class",
    },
    "masks": {
        "path": "path of the photo, as in the benchmark",
        "mask": "path of the mask, relative to the folder; empty: there is none",
        "origin": "what the mask was made by or read from",
        "area": "area of the object, a fraction of the photo",
        "reason": "why the mask is not usable ([reasons](masks.md)), joined by `; `; empty: it is usable",
        "detail": "more on the reason or the mask, in words",
        "edges": "sides of the photo that the object touches",
        "parts": "separate parts of the object, without specks",
        "holes": "area of holes, a fraction of the object with its holes filled",
        "box_iou": "agreement (IoU) of the object's bounding box with its known box; empty: no box is known",
    },
    "left_out": {"reason": "why the photo was left out"},
    "unreadable": {"reason": "why the photo could not be read; it is left out for all models"},
}
RECORDS = {
    "command": "the command that made the run",
    "settings": "its settings that differ from the defaults; see [python.md](python.md)",
    "counterground_version": "version of CounterGround",
    "created": "ISO time, UTC",
    "python": "version of Python",
    "platform": "operating system and cores",
    "libraries": "library versions by name",
    "device": "device that the models ran on; `remote`: on a server",
    "precision": "precision of the image encoder",
    "batch_size": "photos per forward pass",
    "threads": "number of PyTorch threads",
    "benchmark": "the benchmark, below",
    "candidates": "the names that competed, below",
    "names": "see `predictions.parquet`",
    "prompts": "see `predictions.parquet`",
    "models": "one record per model, below",
    "warnings": "warnings about the whole run",
    "counts": "counts, below",
    "seconds": "how long the run took",
    "recorded": "whether the run has a record; false for a table by whoever wrote it",
    "templates": "the prompts themselves",
    "texts": "each name as written in prompts",
    "request": "hash of everything that was requested",
    "protocol": "as requested; null: each model's default",
    "runtime": "as requested; each model's `description` says what ran it",
    "loss": "`mean` or `sum`, for generative models",
    "model_warnings": "warnings about one model, by model name",
    "intervention": "for a run of `swap`: how composites were made, the source of the `masks` (null: the "
    "manifest), the `source` benchmark, and how many of its photos gave `foregrounds` and `backgrounds`",
    "train": "benchmark that heads were fitted on; null: none, or parts of the evaluated benchmark",
    "name": "its name",
    "version": "hash of everything that results depend on",
    "n_photos": "number of photos in the manifest",
    "design": "its `cells`, `contrasts` and named shares (`weights`: values of a cell, then the share; "
    "[contrasts](contrasts.md)); absent or null: the drop",
    "columns": "what columns were called in the table of photos, and their names here; `--by` and "
    "`--contrast` know both",
    "sampled": "number of its photos that `--limit` kept; absent or null: all",
    "notes": "what readers must know about the benchmark",
    "referee": "model that chose the pairs of backgrounds, or the names of several; null: people chose them",
    "split": "`half`: pairs were chosen on photos other than these; `none`: on the same photos; `swap`: each "
    "half of the photos is in pairs that the other half chose",
    "min_drop": "fraction by which the accuracy of a class had to differ between backgrounds",
    "discovered_from": "`name@version` of the benchmark that was searched",
    "origin": "name of the benchmark before any discovery",
    "earlier_referees": "models that had chosen pairs before, first to last",
    "committee": "models that chose together, if there were several",
    "referee_candidates": "name of the label space that competed when the pairs were chosen; empty or "
    "absent: not known",
    "fingerprints": "fingerprints of `earlier_referees`, then of the models that chose; empty or absent: not "
    "known, so specifications decide which model of a run is one of these",
    "size": "number of names",
    "source": "where the names come from",
    "fewest": "number of names that compete for one photo (the fewest), if not all do",
    "spec": "specification: what `-m` was given, without a name; `object:CLASS` for an object of a program",
    "kind": "`dual_encoder`, `classifier`, `image_encoder` (with a fitted head) or `generative`",
    "fingerprint": "hash of weights and preprocessing",
    "description": "`chose_pairs_as`: the benchmark's referees that have the same fingerprint; "
    "architecture, weights, preprocessing, activation, parameters, training data, ...; "
    "`runtime` (`eager` or what else ran it), `runtime_difference` (largest difference from eager PyTorch, "
    "relative to the largest number), `runtimes_measured` (photos per second, difference, why `refused`); "
    "`head`: what was fitted on which photos, how many of them were common and counter, and the "
    "number chosen",
    "photos": "number of photos in the manifest",
    "unreadable": "number of photos left out, listed in `unreadable.csv`",
    "converted_to_rgb": "number of photos that were not RGB",
    "ties": "by model: number of photos whose two highest scores are equal",
    "unmatched": "by generative model: number of answers that name no candidate",
    "options": "options per multiple-choice question",
    "asked": "number of photos with that many options",
    "positions": "for multiple choice by letter: the effect of the order of the options, by model, below",
    "chosen": "share of all rotations of the options in which each position was chosen",
    "same_option": "share of photos for which all rotations chose the same option",
    "unparsable": "number of generated answers that are not the letter of an option",
}
MITIGATION = {
    "model": "name of the model in tables",
    "benchmark": "name and version of the photos",
    "contrast": "`common` is its left side, `counter` its right side, `drop` the difference",
    "parts": "`photos` and `clusters` of each part; the parts take turns to fit, choose and judge",
    "seed": "seed for the split into parts and the methods' draws",
    "tests": "number of tests that the p-values of gain and cost are corrected for (Holm): each pair of "
    "models of the run, on each quantity",
    "unmitigated": "accuracies of the original model on the same photos, below",
    "methods": "one record per method, below",
    "left_out": "methods that could not be used, and why",
    "notes": "what else readers must know",
    "name": "name of the method",
    "title": "what the method does",
    "source": "who proposed it",
    "group_labels": "whether labels of backgrounds or groups were `used` or `not used`, to `fit` and to "
    "`choose`",
    "chosen_by": "criterion on the choosing photos; null: there was only one setting",
    "tried": "number of settings tried",
    "settings": "setting chosen for each part",
    "mitigated": "accuracies of the mitigated model, below",
    "cost": "accuracy on common photos: the original model minus the mitigated one, paired",
    "gain": "drop: the original model minus the mitigated one, paired",
    "head": "the exported head, below; null: `not_exported` says why",
    "not_exported": "why there is no file",
    "cpu_seconds": "processor time for fitting and choosing, all cores together",
    "common": "balanced accuracy on common photos",
    "counter": "balanced accuracy on counter photos",
    "drop": "`common` minus `counter`",
    "worst_group": "accuracy in the class and group where it is lowest, a fraction",
    "file": "path of the file, relative to the run",
    "setting": "setting that most parts chose",
    "photos": "number of photos that it was fitted on: all",
    "clusters": "number of clusters of these photos",
}
SPACE = {
    "name": "its name",
    "names": "the names, in index order",
    "imagenet": "ImageNet-1K index of each name, or null",
    "candidates": "null: all names compete; else, by index of the true class, the indices that compete",
    "members": "only if classes are wider than ImageNet's: the ImageNet-1K indices that each class covers",
}


def files_page(page: str) -> str:
    """Return the page with its tables regenerated; a column or field without a meaning is a KeyError."""
    return re.sub(
        r"(<!-- table: (.+?) -->\n).*?(?=<!-- end -->)",
        lambda found: f"{found[1]}{TABLES[found[2]]()}\n",
        page,
        flags=re.DOTALL,
    )


def _table(schema: Mapping[str, Any], *tables: str, shown: Mapping[str, str] = NOWHERE) -> str:
    """The columns of a schema with their types; those ``shown`` in another table only name it."""
    lines = ["| column | type | meaning |", "|---|---|---|"]
    for place, names in groupby(schema, shown.get):
        if place is not None:
            lines.append(f"| {_quoted(names)} | | {place} |")
            continue
        lines += [f"| `{name}` | {_kind(schema[name])} | {_meaning(name, tables)} |" for name in names]
    return "\n".join(lines)


def _names(columns: Iterable[str], *tables: str, shown: Mapping[str, str] = NOWHERE) -> str:
    rows: list[tuple[str, str]] = []
    for place, names in groupby(columns, shown.get):
        if place is not None:
            rows.append((", ".join(names), place))
            continue
        rows += [(name, _meaning(name, tables)) for name in names]
    return _listed(rows, ("column", "meaning"))


def _record(record: type[BaseModel], meanings: Mapping[str, str] = RECORDS) -> str:
    lines = ["| field | type | meaning |", "|---|---|---|"]
    for name in record.model_fields:
        kind = get_type_hints(record)[name]
        text = kind.__name__ if isinstance(kind, type) and not getattr(kind, "__args__", ()) else str(kind)
        text = re.sub(r"counterground\.[\w.]*\.|typing\.", "", text).replace("| None", "or null")
        text = re.sub(r"^Optional\[(.*)\]$", r"\1 or null", text)
        lines.append(f"| `{name}` | {text} | {meanings[name]} |")
    return "\n".join(lines)


def _listed(rows: Iterable[tuple[str, str]], heads: tuple[str, str] = ("field", "meaning")) -> str:
    body = [f"| {_quoted(names.split(', '))} | {meaning} |" for names, meaning in rows]
    return "\n".join([f"| {heads[0]} | {heads[1]} |", "|---|---|", *body])


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _meaning(name: str, tables: Iterable[str]) -> str:
    for table in reversed(list(tables)):
        if name in OF_TABLE[table]:
            return OF_TABLE[table][name]
    return MEANINGS[name]


def _kind(kind: Any) -> str:
    found = kind if isinstance(kind, pl.DataType) else kind()
    return (
        "list of text"
        if found == pl.List(pl.String)
        else {"String": "text"}.get(str(found), str(found).lower())
    )


def _benchmark() -> str:
    discovered = [field.name for field in fields(Discovered) if field.name != "fingerprints"]
    return _listed(
        [
            ("root", "folder of the photos, relative to this one"),
            ("packed, shards", "instead of `root`, if photos are packed: the format, and each shard's hash"),
            ("fingerprints", RECORDS["fingerprints"]),
            (
                ", ".join(["name", "notes", "version", "design", *discovered]),
                "as in [`benchmark` of `run.json`](#runjson)",
            ),
        ]
    )


def _metrics() -> str:
    return _listed(((each.name, each.meaning) for each in registered_metrics()), ("metric", "meaning"))


def _label_space() -> str:
    return _listed((field.name, SPACE[field.name]) for field in fields(LabelSpace))


_IN_PREDICTIONS = dict.fromkeys(PREDICTIONS_SCHEMA, "as in [`predictions.parquet`](#predictionsparquet)")
_IN_PHOTO = {name: "as in [`photo`](#photo)" for name in PHOTO_SCHEMA if name not in ("key", "class_name")}
_IN_PAIRS = {"half": "as in `pairs.parquet`"}
_SETTING = ("model", "names", "prompts", "protocol", "answer_score", "label_space")
_OF_SETTING = {name: _IN_PREDICTIONS[name] for name in _SETTING}
_UNREADABLE = ("path", "photo_id", "reason")
_ANSWERS = ("path", "model", "prompts", "question", "answer", "named")
_PAIRS = ("class_index", "common", "counter", "drop", "class_name", "half")
_CELLS = ("class_index", "class_name", "background", "n", "clusters", "accuracy", "low", "high", "half")
TABLES: dict[str, Callable[[], str]] = {
    "predictions": partial(_table, PREDICTIONS_SCHEMA),
    "scores": partial(_table, SCORES_SCHEMA, "scores", shown=_OF_SETTING),
    "metrics": _metrics,
    "run": partial(_record, RunInfo),
    "benchmark record": partial(_record, BenchmarkRecord),
    "label space record": partial(_record, CandidatesRecord),
    "model record": partial(_record, ModelRecord),
    "counts record": partial(_record, CountsRecord),
    "positions record": partial(_record, PositionsRecord),
    "mitigation": partial(_record, MitigationRecord, MITIGATION),
    "mitigation method": partial(_record, MethodRecord, MITIGATION),
    "accuracies": partial(_record, Accuracies, MITIGATION),
    "exported head": partial(_record, ExportedHead, MITIGATION),
    "label space": _label_space,
    "unreadable": partial(_names, _UNREADABLE, "unreadable", shown=_IN_PREDICTIONS),
    "answers": partial(_names, _ANSWERS, shown=_IN_PREDICTIONS),
    "manifest": partial(_table, MANIFEST_SCHEMA, shown=_IN_PREDICTIONS),
    "benchmark": _benchmark,
    "pairs": partial(_names, _PAIRS),
    "cells": partial(_names, _CELLS, shown={**_IN_PREDICTIONS, **_IN_PAIRS}),
    "masks": partial(_table, MASKS_SCHEMA, "masks"),
    "photo": partial(_table, PHOTO_SCHEMA, "photo"),
    "decision": partial(_table, DECISION_SCHEMA, "photo", "decision"),
    "candidate": partial(_table, CANDIDATE_SCHEMA, "photo", "candidate", shown=_IN_PHOTO),
    "signal": partial(_table, SIGNAL_SCHEMA, "photo", "signal"),
    "left_out": partial(_table, LEFT_OUT_SCHEMA, "left_out", shown=_IN_PREDICTIONS),
}


if __name__ == "__main__":
    write_text(PLACE, files_page(PLACE.read_text("utf-8")))
