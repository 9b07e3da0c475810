"""The rows of the paper and of its 2025 reproduction as points, and the sampling error of any point."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import numpy as np
import polars as pl
from scipy.special import ndtri

from counterground.metrics import CLASSIFICATION, COMPETING, GROUPS, LEVEL
from counterground.published import SETTINGS, SettingName, load_table, published_models

PUBLISHED = ("paper", "reproduction")
"""Sources of points that come from no run."""

COUNTERANIMAL = "counteranimal"
LABEL_SPACE = {"1v1000": "imagenet", "1v20": "confusable"}

# The reproduction writes some names differently from the paper.
_BACKBONES = {"ViT-": "ViT/", "ConvNeXt-": "ConvNext/", "VGG-": "VGG", "ResNet-": "RN"}
_DATASETS = {"DataComp": "DataComp1B", "LAION-2B": "LAION2B", "LAION-400M": "LAION400M"}


def paper_rows(setting: SettingName) -> list[dict[str, Any]]:
    """Return the paper's models as rows of points: 28 CLIPs, 15 ImageNet models; for 1 vs. 20, two LVLMs."""
    chosen, frame = SETTINGS[setting], published_models(setting)
    if setting == "1-vs-20":
        generative = load_table("lvlm_results").with_columns(
            family=pl.lit("lvlm"),
            backbone=pl.col("model"),
            pretrain_dataset=pl.lit(None, pl.String),
            high_quality=pl.lit(value=False),
        )
        frame = pl.concat([frame, generative.select(frame.columns)])
    sizes = load_table("group_sizes").sum()
    return [
        {
            **_facts(row["model"], row["pretrain_dataset"]),
            **row,
            "label": _label(row["family"], row["pretrain_dataset"], row["backbone"]),
            "source": "paper",
            **_fractions(row),
            "n_common": sizes["n_common"][0],
            "n_counter": sizes["n_counter"][0],
            "prompts": chosen.prompts,
            "protocol": "answer-loss" if row["family"] == "lvlm" else CLASSIFICATION,
            "answer_score": "mean" if row["family"] == "lvlm" else None,
            COMPETING: LABEL_SPACE[chosen.setup],
            "averaging": chosen.averaging,
            "benchmark": COUNTERANIMAL,
            "comparable": True,
            "near_chance": False,
        }
        for row in frame.iter_rows(named=True)
    ]


def reproduction_rows() -> list[dict[str, Any]]:
    """Return the reproduction's 30 models under the paper's names; it has only the paper's first setting."""
    rows = []
    for row in load_table("reproduction_metu_2025").iter_rows(named=True):
        backbone, dataset = row["backbone"], _DATASETS.get(row["pretrain_dataset"], row["pretrain_dataset"])
        for written, printed in _BACKBONES.items():
            backbone = backbone.replace(written, printed)
        clip = row["family"] == "clip"
        model = f"CLIP-{dataset}-{backbone}" if clip else backbone
        rows.append(
            {
                **_facts(model, dataset),
                "model": model,
                "family": row["family"],
                "backbone": backbone,
                "pretrain_dataset": dataset,
                "high_quality": clip and is_filtered(dataset),
                "label": _label(row["family"], dataset, backbone),
                "source": "reproduction",
                **_fractions(row),
                "names": "wordnet",
                "prompts": "simple",
                "protocol": CLASSIFICATION,
                COMPETING: LABEL_SPACE["1v1000"],
                "averaging": "balanced",
                "benchmark": COUNTERANIMAL,
                "comparable": True,
                "near_chance": False,
                "note": row["note"],
            }
        )
    return rows


def parameters_of(model: str) -> int | None:
    """Return the number of parameters of one of the paper's models, which the paper does not print."""
    return _parameters().get(model)


@cache
def _parameters() -> dict[str, int]:
    return dict(load_table("model_facts")["model", "parameters"].iter_rows())


def data_size_of(dataset: str | None) -> int | None:
    """Return the number of pairs or images of a data set, by the paper's word for it or its own name."""
    row = _data_sets().get(dataset)
    return None if row is None else int(row["size"])


def is_filtered(dataset: str | None) -> bool:
    """Return whether a data set is filtered, as DataComp and DFN are (the paper's asterisk)."""
    row = _data_sets().get(dataset)
    return row is not None and bool(row["filtered"])


def word_for(dataset: str | None) -> str | None:
    """Return what points call a data set: the paper's name for it, if it has one."""
    row = _data_sets().get(dataset)
    return dataset if row is None else str(row["pretrain_dataset"])


@cache
def _data_sets() -> dict[str | None, dict[str, Any]]:
    """Return the rows of data sets by both their names, the paper's word first."""
    rows = load_table("data_sets").rows(named=True)
    return {row["name"]: row for row in rows} | {row["pretrain_dataset"]: row for row in rows}


def _facts(model: str, dataset: str | None) -> dict[str, int | None]:
    return {"parameters": parameters_of(model), "data_size": data_size_of(dataset)}


def _fractions(row: dict[str, Any]) -> dict[str, float]:
    # The printed drop contradicts its two accuracies in some rows (note 5 of the tables).
    drop = round(row["common"] - row["counter"], 2)
    return {"common": row["common"] / 100, "counter": row["counter"] / 100, "drop": drop / 100}


def _label(family: str, dataset: str | None, backbone: str) -> str:
    return f"{dataset} {backbone}" if family == "clip" else backbone


Figure = Literal["common", "counter", "drop"]
NORMAL = float(ndtri((1 + LEVEL) / 2))
"""Half a 95 % interval in standard errors, under the normal distribution."""


def standard_error(point: dict[str, Any], figure: Figure) -> float:
    """Return the standard error (fraction) of an accuracy or a drop, NaN if nothing is known about it.

    For a point with an interval, it is half the width over 1.96. The paper prints none: for its rows (and the
    reproduction's) it is binomial from the group sizes of figure 3, with one accuracy for all classes, an
    approximation. Common and counter photos are different photos, so their errors are independent. A balanced
    accuracy weights classes equally, an unbalanced one photos (``averaging``).
    """
    low, high = point[f"{figure}_low"], point[f"{figure}_high"]
    if low is not None and high is not None:
        return float((high - low) / (2 * NORMAL))
    if point["source"] not in PUBLISHED:
        return float("nan")
    groups = GROUPS if figure == "drop" else (figure,)
    balanced = point["averaging"] == "balanced"
    return float(np.sqrt(sum(_binomial(point[group], group, balanced=balanced) for group in groups)))


def _binomial(accuracy: float, group: str, *, balanced: bool) -> float:
    """Return the variance of an accuracy over the paper's classes, each with this accuracy."""
    sizes = load_table("group_sizes")[f"n_{group}_implied"].to_numpy()
    photos = len(sizes) ** 2 / (1 / sizes).sum() if balanced else sizes.sum()
    return float(accuracy * (1 - accuracy) / photos)
