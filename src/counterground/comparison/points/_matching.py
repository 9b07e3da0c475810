"""Which row of the paper a model of a run is."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

import polars as pl

from counterground.published import load_table
from counterground.results import ModelRecord

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
