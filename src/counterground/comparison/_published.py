"""Rows of the paper and of its 2025 reproduction as points, which weights they are, and errors of points."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from scipy.special import ndtri

from counterground.metrics import CLASSIFICATION, COMPETING, DROP, GROUPS, LEVEL
from counterground.published import SETTINGS, SettingName, load_table, published_models
from counterground.results import ModelRecord

PUBLISHED = ("paper", "reproduction")
"""Sources of points that come from no run."""

PAPER_CONTRAST = DROP
"""What the paper's rows are of."""
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
    rows = []
    for row in frame.iter_rows(named=True):
        generative_model = row["family"] == "lvlm"
        about = {
            "source": "paper",
            "n_common": sizes["n_common"][0],
            "n_counter": sizes["n_counter"][0],
            "prompts": chosen.prompts,
            "protocol": "answer-loss" if generative_model else CLASSIFICATION,
            "answer_score": "mean" if generative_model else None,
            COMPETING: LABEL_SPACE[chosen.setup],
            "averaging": chosen.averaging,
        }
        rows.append(_row(row) | about)
    return rows


def reproduction_rows() -> list[dict[str, Any]]:
    """Return the reproduction's 30 models under the paper's names; it has only the paper's first setting."""
    rows = []
    for row in load_table("reproduction_metu_2025").iter_rows(named=True):
        backbone, dataset = row["backbone"], _DATASETS.get(row["pretrain_dataset"], row["pretrain_dataset"])
        for written, printed in _BACKBONES.items():
            backbone = backbone.replace(written, printed)
        clip = row["family"] == "clip"
        about = {
            "model": f"CLIP-{dataset}-{backbone}" if clip else backbone,
            "backbone": backbone,
            "pretrain_dataset": dataset,
            "high_quality": clip and is_filtered(dataset),
            "source": "reproduction",
            "names": "wordnet",
            "prompts": "simple",
            "protocol": CLASSIFICATION,
            COMPETING: LABEL_SPACE["1v1000"],
            "averaging": "balanced",
        }
        rows.append(_row(row | about))
    return rows


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """Return a printed row in columns of points: accuracies as fractions, what is known of its model."""
    dataset, backbone = row["pretrain_dataset"], row["backbone"]
    # The printed drop contradicts its two accuracies in some rows (note 5 of the tables).
    drop = round(row["common"] - row["counter"], 2)
    return row | {
        "label": f"{dataset} {backbone}" if row["family"] == "clip" else backbone,
        "parameters": parameters_of(row["model"]),
        "data_size": data_size_of(dataset),
        "common": row["common"] / 100,
        "counter": row["counter"] / 100,
        "drop": drop / 100,
        "benchmark": COUNTERANIMAL,
        "comparable": True,
        "near_chance": False,
    }


@cache
def parameters_of(model: str) -> int | None:
    """Return the number of parameters of one of the paper's models, which the paper does not print."""
    return dict(load_table("model_facts")["model", "parameters"].iter_rows()).get(model)


def data_size_of(dataset: str | None) -> int | None:
    """Return the number of pairs or images of a data set, by the paper's word for it or its own name."""
    return _data_sets().get(dataset, {}).get("size")


def is_filtered(dataset: str | None) -> bool:
    """Return whether a data set is filtered, as DataComp and DFN are (the paper's asterisk)."""
    return bool(_data_sets().get(dataset, {}).get("filtered"))


def word_for(dataset: str) -> str:
    """Return what points call a data set: the paper's name for it, if it has one."""
    return str(_data_sets().get(dataset, {}).get("pretrain_dataset", dataset))


@cache
def _data_sets() -> dict[str | None, dict[str, Any]]:
    """Return the rows of data sets by both their names, the paper's word first."""
    rows = load_table("data_sets").rows(named=True)
    return {row["name"]: row for row in rows} | {row["pretrain_dataset"]: row for row in rows}


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


_PUBLISHES = re.compile(
    r"(open_clip|torchvision|timm|counterground):[^@?]+(\?as_published)?|efficientnet-lite\d"
)
_QUICK = "-quickgelu"
_LLAVA = "llava-hf/llava-1.5-7b-hf"
_IMAGENET_WEIGHTS = "IMAGENET1K_V1"


class PaperRow(NamedTuple):
    """A model as the paper names it; ``checkpoint`` is set for those of Table 9 that are not in Table 3."""

    model: str
    backbone: str
    pretrain_dataset: str | None
    table: str
    checkpoint: str | None

    @property
    def main_model(self) -> str | None:
        """The name in the paper's main tables; None for other checkpoints, which Table 9 names alike."""
        return self.model if self.checkpoint is None else None


def paper_row(record: ModelRecord) -> PaperRow | None:
    """Return the row of Tables 3, 4, 5 or 9 that has these weights; None if the paper did not use them.

    OpenCLIP tags, the same weights on the Hugging Face hub, torchvision's first weights, LLaVA-1.5-7B and
    MiniGPT-4 are known. The activation they were loaded with does not matter here.
    With a fitted or mitigated head they are another model.
    """
    if record.has_other_head:
        return None
    architecture = str(record.description.get("architecture", "")).removesuffix(_QUICK)
    weights = str(record.description.get("weights", ""))
    library, _, rest = record.spec.partition(":")
    if library == "open_clip":
        return _checkpoints().get((architecture, weights))
    if library == "hf":
        name = rest.partition("?")[0].partition("@")[0]
        return _generative("LLaVA1.5-7B") if name == _LLAVA else _hub().get(name)
    if library == "minigpt4":
        return _generative("MiniGPT4-Viccuna7B")
    if library == "torchvision" and weights == _IMAGENET_WEIGHTS:
        return _classifiers().get(architecture)
    return None


@cache
def _checkpoints() -> dict[tuple[str, str], PaperRow]:
    found: dict[tuple[str, str], PaperRow] = {}
    for row in load_table("checkpoints").sort("table").iter_rows(named=True):
        key = (row["open_clip_model_name"].removesuffix(_QUICK), row["open_clip_pretrained"])
        found.setdefault(key, _named(row))
    return found


@cache
def _hub() -> dict[str, PaperRow]:
    rows = load_table("checkpoints").sort("table", descending=True)
    return {row["hf_hub"]: _named(row) for row in rows.iter_rows(named=True)}


@cache
def _classifiers() -> dict[str, PaperRow]:
    rows = load_table("model_facts").filter(pl.col("family") == "imagenet")
    return {
        row["torchvision"]: PaperRow(row["model"], row["model"], "ImageNet-1K", "Table 4", None)
        for row in rows.iter_rows(named=True)
    }


def _generative(name: str) -> PaperRow:
    return PaperRow(name, name, None, "Table 5", None)


def _named(row: dict[str, str]) -> PaperRow:
    dataset, backbone = row["pretrain_dataset"], row["backbone"]
    checkpoint = row["checkpoint_printed"] if row["table"] == "Table 9" else None
    return PaperRow(f"CLIP-{dataset}-{backbone}", backbone, dataset, row["table"], checkpoint)


def is_published(name: str, record: ModelRecord) -> bool:
    """Return whether a model's name says which published weights it has.

    Two files or folders may share a specification; their fingerprints differ. So do those of published
    weights in another precision or under other versions of libraries, which are not a different model.
    """
    if name != record.spec or _PUBLISHES.fullmatch(name) is None:
        return False
    # A folder of OpenCLIP weights is A/B, too, but not named after the file that holds them.
    return not name.startswith("open_clip:") or name.partition("?")[0].endswith(
        f"/{record.description.get('weights')}"
    )
