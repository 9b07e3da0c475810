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
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel

from counterground.construction.export import LEFT_OUT_SCHEMA
from counterground.files import write_text
from counterground.metrics import SALIENCY_SCHEMA, SCORES_SCHEMA, registered_metrics
from counterground.photos import MANIFEST_SCHEMA, QUESTION_SCHEMA, Discovered, LabelSpace
from counterground.pool import CANDIDATE_SCHEMA, DECISION_SCHEMA, PHOTO_SCHEMA, SIGNAL_SCHEMA
from counterground.results import (
    PREDICTIONS_SCHEMA,
    Accuracies,
    BenchmarkRecord,
    CountsRecord,
    ExportedHead,
    LabelSpaceRecord,
    MethodRecord,
    MitigationRecord,
    ModelRecord,
    PositionsRecord,
    RunInfo,
)

PLACE = Path(__file__).parents[1] / "docs" / "files.md"

MEANINGS = {
    "path": "of the photo, relative to the benchmark's folder, with forward slashes; identifies the row",
    "photo_id": "SHA-256 of the file's bytes; two copies of a photo share it",
    "class_index": "the class, counted in the benchmark's own classes",
    "class_name": "name of the class",
    "background": "what is behind the object; null: not given",
    "group": "`common`, `counter` or null",
    "cluster": "photos that are not independent share it; null: a cluster of its own",
    "mask": "path of the object's mask",
    "licence": "lower-case code; null: unknown",
    "attribution": "credit line to be shown with the photo",
    "source": "page the photo comes from",
    "model": "name of the model: that of `-m NAME=SPEC`, else its specification",
    "names": "how ImageNet classes are written in prompts: `openai`, `wordnet`, or `file@hash`",
    "prompts": "`simple`, `openai`, or `file@hash`; for a generative model, the question; for a fitted head, "
    "the head and what it was fitted on",
    "protocol": "`classification`, `fitted-head`, or the protocol of a generative model",
    "as_published": "models were loaded as the paper apparently loaded them",
    "answer_score": "`mean` or `sum` over the tokens of an answer, where losses are compared; else null",
    "label_space": "name of the set of names that competed",
    "true_index": "the true class, counted in the label space; null where that lacks it",
    "predicted_index": "the prediction, counted like `true_index`; null: an answer that names no class",
    "predicted_name": "its name in the label space",
    "correct": "whether `predicted_index` is `true_index`",
    "true_rank": "names scored above the true one: 0 where correct; null: it is not a candidate",
    "confidence": "probability the model gives its prediction",
    "top2_gap": "score minus the runner-up's, in units of the model (cosine or logits); 0: an exact tie",
    "loss_sum": "loss of the predicted answer, summed over its tokens; generative models only",
    "loss_mean": "the same, averaged over its tokens",
    "metric": "name of the metric, below",
    "value": "a fraction, 0 to 1 (a drop: −1 to 1); null where the photos cannot show it, never 0",
    "low": "lower end of the 95 % interval",
    "high": "upper end",
    "n": "photos behind the value",
    "clusters": "clusters behind the value",
    "p_value": "two-sided, of a drop of 0, not corrected for the number of models; null: not a drop",
    "classes_low": "lower end of an interval about other classes, of which these are a random sample",
    "classes_high": "upper end of it",
    "anytime": "whether the interval is of a confidence sequence, which one may stop at any look (`--until`)",
    "reason": "why",
    "question": "what was asked",
    "answer": "what was generated",
    "named": "the class that the answer names; null: none",
    "common": "background on which the referee did best (with `shrunken`: should do best, noise aside)",
    "counter": "background on which it did worst",
    "drop": "the difference of the two accuracies on the photos that pairs were chosen on, a fraction",
    "accuracy": "of the referee in this cell, a fraction",
    "half": "`chooses` (the selection half) or `reports` (the held-out half); of a swap `first` or `second`; "
    "of a pair: the half whose photos chose it",
}
OF_TABLE = {
    "scores": {
        "class_index": "the class, counted in the benchmark's own classes; null: all",
        "group": "`common`, `counter`, or the side of a contrast; null: all photos",
    },
    "photo": {
        "path": "below `files/`, relative to the pool",
        "key": "where it comes from: `inaturalist:123`",
        "observation": "its number there",
        "observer": "its author there",
        "taxon_id": "number of the taxon",
        "taxon": "scientific name",
        "url": "of the file",
        "observed_on": "ISO date",
        "width": "pixels",
        "height": "pixels",
        "bytes": "size of the file",
        "added_at": "ISO time, UTC",
    },
    "decision": {
        "id": "number of the event; later ones come after",
        "annotator": "a name; `imported`: it came with an import",
        "task": "`review` or `background`",
        "labels": "the first is the primary one; empty in an undo",
        "adjudicates": "ends a disagreement of annotators (in SQL: `settles`)",
        "seconds": "how long the photo was looked at",
        "suggestion": "JSON of what a model suggested on screen; null: nothing was shown",
        "at": "ISO time, UTC",
        "token": "identifies a request: the same token sent twice is one decision",
        "undoes": "`id` of the event that this one undoes",
        "undone": "whether a later event undoes it (computed, not stored)",
    },
    "candidate": {
        "class_name": "its class in the pool",
        "position": "0 is the newest of its class",
        "status": "`wanted`, `got` or `failed`",
        "reason": "why it failed",
        "tries": "attempts so far",
    },
    "signal": {
        "signal": "name of the signal",
        "reason": "the reason to discard a photo that it supports",
        "value": "what was measured",
        "flagged": "beyond the threshold",
        "priority": "0 to 1 within the pool: which to look at first",
        "explanation": "a sentence",
        "related": "path of the other photo, or name of the other class",
    },
    "question": {
        "question": "what is asked about the photo",
        "options": "2 to 26 texts to choose from",
        "answer": "the text of the right one",
    },
    "saliency": {
        "path": "of the photo",
        "group": "of the photo",
        "background": "of the photo",
        "cluster": "of its object",
        "background_cluster": "of the photo",
        "predicted_name": "the answer on the photo as it is, which the attribution is of",
        "share_outside": "share of the attribution outside the object; null: nothing changes the answer",
        "area_outside": "the background's share of the photo",
        "score": "probability of the true name, on the photo as it is",
        "score_common": "its mean, the same object on common backgrounds",
        "score_counter": "on counter backgrounds",
        "score_difference": "the first less the second",
        "best_background": "label on which the mean is highest",
        "best_score": "that mean",
        "worst_background": "label on which it is lowest",
        "worst_score": "that mean",
        "picture": "file of the map, of the photos whose scores change most; else null",
        "licence": "of the photo",
        "attribution": "whom the photo must be credited to",
    },
    "left_out": {"reason": "why the photo was left out"},
    "unreadable": {"reason": "why it could not be read; such a photo is left out for all models"},
}
RECORDS = {
    "counterground_version": "of CounterGround",
    "git": "commit of the checkout; null for an installed package",
    "created": "ISO time, UTC",
    "python": "version",
    "platform": "operating system and cores",
    "libraries": "versions by name",
    "device": "what the models ran on; `remote`: on a server",
    "precision": "of the image encoder",
    "batch_size": "photos in a forward pass",
    "threads": "of PyTorch",
    "benchmark": "the benchmark, below",
    "label_space": "the names that competed, below",
    "names": "see `predictions.parquet`",
    "prompts": "see `predictions.parquet`",
    "as_published": "see `predictions.parquet`",
    "models": "one record each, below",
    "warnings": "about the whole run",
    "counts": "below",
    "seconds": "how long it took",
    "templates": "the prompts themselves",
    "texts": "each name as written in prompts",
    "request": "hash of everything that was requested: a run may replace another with the same hash",
    "protocol": "as requested; null: each model's default",
    "runtime": "as requested; what ran a model is in its description",
    "loss": "`mean` or `sum`, for generative models",
    "article": "`a` or `correct`, for generative models",
    "aliases": "other names of classes, for generative models",
    "model_warnings": "warnings about one model, by its name",
    "intervention": "of a run of `swap`: `kind`, `version` of the compositing and of `opencv`, its "
    "`settings`, where `masks` come from (null: the manifest), the `source` benchmark, and how many of its "
    "photos gave `foregrounds` and `backgrounds`; else null",
    "train": "benchmark that heads were fitted on; null: none was, or on parts of the evaluated one",
    "fast_decode": "JPEGs were decoded at a reduced size; each model's `description` has how many `photos` "
    "were decoded both ways, how many get the `same_answer`, and the `largest_difference` of features",
    "stopping": "with `--until decided`: the limit, the seed of the order, photos of how many, looks, and "
    "for each model what was decided, after how many photos, with which interval; else null",
    "name": "its name",
    "version": "hash of everything that results depend on",
    "n_photos": "photos in the manifest",
    "design": "its `cells`, `contrasts` and named shares (`weights`: values of a cell, then the share; "
    "[contrasts](contrasts.md)); absent or null: the drop",
    "notes": "what readers must know about the benchmark",
    "referee": "model that chose the pairs of backgrounds, or the names of several; null: people chose them",
    "split": "`half`: pairs were chosen on other photos than these; `none`: on the same photos; `swap`: each "
    "half of the photos is in pairs that the other half chose",
    "min_drop": "points by which the accuracy of a class had to differ between backgrounds",
    "discovered_from": "`name@version` of the benchmark that was searched",
    "origin": "name of the benchmark before any discovery",
    "referee_as_published": "the referee was loaded as the paper apparently did",
    "earlier_referees": "models that had chosen pairs before, first to last",
    "committee": "the models that chose together, where there were several",
    "fingerprints": "of `earlier_referees`, then of those that chose; empty or absent: not known, so that "
    "specifications decide which model of a run is one",
    "size": "number of names",
    "source": "where the names come from",
    "candidates": "names that compete for one photo (the fewest), where not all do",
    "spec": "specification: what `-m` was given, without a name; `object:CLASS` for an object of a program",
    "kind": "`dual_encoder`, `classifier`, `image_encoder` (with a fitted head) or `generative`",
    "fingerprint": "hash of weights and preprocessing",
    "description": "`chose_pairs_as`: the referees of the benchmark whose fingerprint it has; "
    "architecture, weights, preprocessing, activation, parameters, training data, ...; "
    "`runtime` (`eager` or what else ran it), `runtime_difference` (largest difference from eager PyTorch, "
    "as a part of the largest number), `runtimes_measured` (photos a second, difference, why `refused`); "
    "`head`: what was fitted on which photos, how many of them common and counter, and the number chosen",
    "photos": "in the manifest",
    "unreadable": "left out, listed in `unreadable.csv`",
    "converted_to_rgb": "photos that were not RGB",
    "ties": "by model: photos whose two highest scores are equal",
    "unmatched": "by generative model: answers that name no candidate",
    "options": "of a question, under multiple choice; of the run: as requested, null for photos' own",
    "asked": "photos with so many options",
    "positions": "under multiple choice by letter: what the order of the options did, by model, below",
    "chosen": "share of all rotations of the options in which each position was chosen; without a bias one "
    "in the number of options",
    "same_option": "share of photos where all rotations chose the same option",
    "unparsable": "generated answers that are no letter of an option",
}
MITIGATION = {
    "model": "what tables call it",
    "benchmark": "name and version of the photos",
    "contrast": "`common` is its left side, `counter` its right one, `drop` the difference",
    "parts": "`photos` and `clusters` of each part; the parts take turns to fit, choose and judge",
    "seed": "of the parts, and of what methods draw",
    "tests": "for how many tests the p-values of gain and cost are corrected (Holm): each pair of models of "
    "the run, on each quantity",
    "unmended": "the model itself on the same photos, below",
    "methods": "one record each, below",
    "left_out": "methods that could not be used, and why",
    "side_effects": "of the record: what each is; of accuracies: the drops, by name",
    "not_measured": "side effects that were not, and why",
    "notes": "what else readers must know",
    "name": "of the method",
    "title": "what it does",
    "source": "who proposed it",
    "group_labels": "whether labels of backgrounds or groups were `used` or `not used`, to `fit` and to "
    "`choose`",
    "chosen_by": "the criterion on the choosing photos; null: there was one setting",
    "tried": "how many settings were",
    "settings": "the chosen one of each part",
    "mended": "the mended model, below",
    "cost": "accuracy on common photos, of the model less the mended one, paired",
    "gain": "the drop, of the model less the mended one, paired",
    "relief": "the same for each side effect; below 0 the other reliance has grown",
    "head": "what was exported, below; null: `not_exported` says why",
    "not_exported": "why there is no file",
    "cpu_seconds": "processor time of fitting and choosing, all cores together",
    "common": "balanced accuracy on common photos",
    "counter": "on counter photos",
    "drop": "the difference",
    "worst_group": "accuracy in the class and group where it is lowest, a fraction",
    "file": "relative to the run",
    "setting": "that most parts chose",
    "photos": "that it was fitted on: all, so it is not the one that was judged",
    "clusters": "of these photos",
}
SPACE = {
    "name": "its name",
    "names": "the names, in the order that indices count",
    "imagenet": "ImageNet-1K index of each, or null",
    "candidates": "null: all names compete; else, by index of the true class, the indices that do",
    "members": "only where classes are wider than ImageNet's: the ImageNet-1K indices that each covers",
}


def files_page(page: str) -> str:
    """Return the page with its tables regenerated; a column or field without a meaning is a KeyError."""
    return re.sub(
        r"(<!-- table: (.+?) -->\n).*?(?=<!-- end -->)",
        lambda found: f"{found[1]}{TABLES[found[2]]()}\n",
        page,
        flags=re.DOTALL,
    )


def _table(schema: Mapping[str, Any], *tables: str) -> str:
    """The columns of a schema with their types."""
    lines = ["| column | type | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {_kind(kind)} | {_meaning(name, tables)} |" for name, kind in schema.items()]
    return "\n".join(lines)


def _names(columns: Iterable[str], *tables: str) -> str:
    return _listed(((name, _meaning(name, tables)) for name in columns), ("column", "meaning"))


def _record(record: type[BaseModel], meanings: Mapping[str, str] = RECORDS) -> str:
    lines = ["| field | type | meaning |", "|---|---|---|"]
    for name, field in record.model_fields.items():
        kind = field.annotation
        text = kind.__name__ if isinstance(kind, type) and not getattr(kind, "__args__", ()) else str(kind)
        text = re.sub(r"counterground\.[\w.]*\.|typing\.", "", text).replace("| None", "or null")
        lines.append(f"| `{name}` | {text} | {meanings[name]} |")
    return "\n".join(lines)


def _listed(rows: Iterable[tuple[str, str]], heads: tuple[str, str] = ("field", "meaning")) -> str:
    body = [
        f"| {', '.join(f'`{name}`' for name in names.split(', '))} | {meaning} |" for names, meaning in rows
    ]
    return "\n".join([f"| {heads[0]} | {heads[1]} |", "|---|---|", *body])


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
    own = [
        ("name", "of the benchmark"),
        ("notes", RECORDS["notes"]),
        ("root", "folder of the photos, relative to this one"),
        ("packed, shards", "instead of `root`, where photos are packed: the format, and each shard's hash"),
        ("version", RECORDS["version"]),
        ("design", RECORDS["design"]),
    ]
    return _listed([*own, *((field.name, RECORDS[field.name]) for field in fields(Discovered))])


def _metrics() -> str:
    return _listed(((each.name, each.meaning) for each in registered_metrics()), ("metric", "meaning"))


def _label_space() -> str:
    return _listed((field.name, SPACE[field.name]) for field in fields(LabelSpace))


_UNREADABLE = ("path", "photo_id", "reason")
_ANSWERS = ("path", "model", "prompts", "question", "answer", "named")
_PAIRS = ("class_index", "common", "counter", "drop", "class_name", "half")
_CELLS = ("class_index", "class_name", "background", "n", "clusters", "accuracy", "low", "high", "half")
TABLES: dict[str, Callable[[], str]] = {
    "predictions": partial(_table, PREDICTIONS_SCHEMA),
    "scores": partial(_table, SCORES_SCHEMA, "scores"),
    "metrics": _metrics,
    "run": partial(_record, RunInfo),
    "benchmark record": partial(_record, BenchmarkRecord),
    "label space record": partial(_record, LabelSpaceRecord),
    "model record": partial(_record, ModelRecord),
    "counts record": partial(_record, CountsRecord),
    "positions record": partial(_record, PositionsRecord),
    "mitigation": partial(_record, MitigationRecord, MITIGATION),
    "mitigation method": partial(_record, MethodRecord, MITIGATION),
    "accuracies": partial(_record, Accuracies, MITIGATION),
    "exported head": partial(_record, ExportedHead, MITIGATION),
    "label space": _label_space,
    "unreadable": partial(_names, _UNREADABLE, "unreadable"),
    "saliency": partial(_table, SALIENCY_SCHEMA, "saliency"),
    "answers": partial(_names, _ANSWERS),
    "manifest": partial(_table, MANIFEST_SCHEMA),
    "questions": partial(_table, QUESTION_SCHEMA, "question"),
    "benchmark": _benchmark,
    "pairs": partial(_names, _PAIRS),
    "cells": partial(_names, _CELLS),
    "photo": partial(_table, PHOTO_SCHEMA, "photo"),
    "decision": partial(_table, DECISION_SCHEMA, "photo", "decision"),
    "candidate": partial(_table, CANDIDATE_SCHEMA, "photo", "candidate"),
    "signal": partial(_table, SIGNAL_SCHEMA, "photo", "signal"),
    "left_out": partial(_table, LEFT_OUT_SCHEMA, "left_out"),
}


if __name__ == "__main__":
    write_text(PLACE, files_page(PLACE.read_text("utf-8")))
