"""The models of runs as points."""

from __future__ import annotations

from typing import Any

import polars as pl

from counterground.comparison._published import (
    COUNTERANIMAL,
    LABEL_SPACE,
    PAPER_CONTRAST,
    PaperRow,
    data_size_of,
    is_filtered,
    is_published,
    paper_row,
    parameters_of,
    word_for,
)
from counterground.metrics import COMPETING, DROP, GROUPS, KEYS, SIDES, Contrast, Estimate, ScoreKey
from counterground.published import PaperSetting, load_table
from counterground.results import ModelRecord, Run, near_chance, short_name
from counterground.text import counted

FAMILIES = ("clip", "imagenet", "lvlm", "other")
# Unreadable photos, and what figure 3 and the paper's accuracies disagree on.
_TOLERATED = 0.02


def run_rows(run: Run, source: str, paper: PaperSetting, contrast: Contrast = DROP) -> list[dict[str, Any]]:
    """Return a row per model and setting of a run that has both sides of a contrast.

    ``source`` names the run, ``paper`` says which rows of the paper it is compared with.
    """
    records = {record.name: record for record in run.info.models}
    obstacle = why_not_paper(run)
    if contrast != PAPER_CONTRAST:
        obstacle = f"the paper has no contrast {contrast.name!r}"
    photos = _photos_of_sides(run, contrast)
    rows = []
    overall = run.estimates(contrast).filter(pl.col("class_index").is_null())
    for key, part in overall.group_by(KEYS, maintain_order=True):
        figures = _figures(part, contrast)
        if figures.get("drop") is None:
            continue
        setting = dict(zip(KEYS, key, strict=True))
        notes = [obstacle or _other_setting(setting[COMPETING], paper)]
        rows.append(
            {
                **identity_of(setting["model"], records.get(setting["model"])),
                "source": source,
                **figures,
                **photos,
                **setting,
                "averaging": "balanced",
                "benchmark": run.info.benchmark.name,
                "benchmark_version": run.info.benchmark.version,
                "comparable": not any(notes),
                "near_chance": near_chance(
                    Estimate(figures["common"], figures["common_low"], figures["common_high"]),
                    run.info.candidates.chance,
                ),
                "note": " ".join(note for note in notes if note) or None,
            }
        )
    return rows


def _photos_of_sides(run: Run, contrast: Contrast) -> dict[str, int]:
    """Return how many photos are on the left and on the right."""
    answers, counts = next(iter(run.answers.values())), {}
    for group, quantity in zip(GROUPS, SIDES, strict=True):
        partition, averages, signs = answers.averages(quantity, contrast)
        counts[f"n_{group}"] = int(partition.photos[averages[signs.index(1)].strata].sum())
    return counts


def family_of(record: ModelRecord) -> str:
    """Return ``clip`` (dual encoders), ``lvlm`` (generative models), ``imagenet`` or ``other``.

    ``imagenet`` are classifiers trained on ImageNet-1K and nothing else, as the paper's are; a fitted or
    mitigated head makes any model ``other``.
    """
    if record.has_other_head:
        return "other"
    if record.kind == "dual_encoder":
        return "clip"
    if record.kind == "generative":
        return "lvlm"
    return "imagenet" if record.description.get("training_data") == "ImageNet-1K" else "other"


def why_not_paper(run: Run) -> str:
    """Return why a run's photos are not those of the paper's rows, or an empty string.

    The photos per class and group decide, not the name: 45 classes in ImageNet order whose group sizes are
    those of figure 3, or those the accuracies imply, except for 2 % of the photos.
    """
    name = run.info.benchmark.name
    sizes = load_table("group_sizes").sort("class_id")
    found = _group_sizes(run.photos)
    if len(found) != sizes.height:
        classes = counted(len(found), "class")
        return f"{name} has {classes} with both groups, CounterAnimal 45"
    differing = 0
    for place, (common, counter) in enumerate(found):
        row = sizes.row(place, named=True)
        differing += min(abs(common - row["n_common"]), abs(common - row["n_common_implied"]))
        differing += min(abs(counter - row["n_counter"]), abs(counter - row["n_counter_implied"]))
    total = sum(sizes["n_common"]) + sum(sizes["n_counter"])
    if differing > _TOLERATED * total:
        return f"classes and groups of {name} have other sizes than the paper's"
    return ""


def is_counteranimal(run: Run) -> bool:
    """Return whether a run calls its benchmark CounterAnimal, whatever photos, or composites, it holds."""
    return run.info.source.name.casefold() == COUNTERANIMAL


def _other_setting(candidates: str | None, paper: PaperSetting) -> str:
    theirs = LABEL_SPACE[paper.setup]
    if candidates != theirs:
        return f"candidate names are {candidates}, those of the paper's rows {theirs}"
    if paper.averaging == "unbalanced":
        return "accuracies are means over classes, those of the paper's rows over photos"
    return ""


def identity_of(name: str, record: ModelRecord | None) -> dict[str, Any]:
    """Return a model's identity in columns of ``model_points``, in the paper's words if it is the paper's."""
    if record is None:
        nothing = dict.fromkeys(("backbone", "pretrain_dataset", "parameters", "data_size", "paper_model"))
        return {
            "model": name,
            "label": short_name(name),
            "family": "other",
            "high_quality": False,
            "fingerprint": None,
            "weights": None,
            **nothing,
        }
    row = paper_row(record)
    data = _training_data(record, row)
    parameters = record.stated("parameters", int)
    if parameters is None:
        parameters = parameters_of(row.model) if row else None
    return {
        "model": name,
        "label": short_name(name) if name == record.spec else name,
        "family": family_of(record),
        "backbone": row.backbone if row else record.stated("architecture", str),
        "pretrain_dataset": data,
        "parameters": parameters,
        "data_size": data_size_of(data),
        "high_quality": is_filtered(data),
        "paper_model": row.main_model if row else None,
        "fingerprint": record.fingerprint,
        "weights": name if is_published(name, record) else f"{name} {record.fingerprint}",
    }


def _training_data(record: ModelRecord, row: PaperRow | None) -> str | None:
    """What the paper says of weights of its main tables, else what the library says, in the paper's word."""
    if row and row.main_model:
        return row.pretrain_dataset
    stated = record.stated("training_data", str)
    return None if stated is None else word_for(stated)


def _figures(part: pl.DataFrame, contrast: Contrast) -> dict[str, float | None]:
    """The left side as ``common``, the right as ``counter``, their difference as ``drop``."""
    keys = (*contrast.side_keys, contrast.difference_key)
    names = dict(zip(keys, (*GROUPS, "drop"), strict=True))
    figures: dict[str, float | None] = {}
    for row in part.iter_rows(named=True):
        name = names.get(ScoreKey.of(row))
        if name is not None:
            figures[name] = row["value"]
            figures[f"{name}_low"], figures[f"{name}_high"] = row["low"], row["high"]
    return figures


def _group_sizes(photos: pl.DataFrame) -> list[tuple[int, int]]:
    """Common and counter photos of each class that has both, in the order of class indices."""
    counted = photos.group_by("class_index").agg(
        common=(pl.col("group") == "common").sum(), counter=(pl.col("group") == "counter").sum()
    )
    both = counted.filter((pl.col("common") > 0) & (pl.col("counter") > 0)).sort("class_index")
    return [(int(common), int(counter)) for _, common, counter in both.iter_rows()]
