"""The paper's models with their balanced accuracies, ready to plot or to compare with."""

from __future__ import annotations

from typing import Literal

import polars as pl

from counterground.published._tables import load_table

_COLUMNS = (
    "model",
    "family",
    "backbone",
    "pretrain_dataset",
    "high_quality",
    "common",
    "counter",
    "drop",
    "note",
)

_PROMPTS = {"openai": "openai80"}


def published_models(
    setup: Literal["1v1000", "1v20"] = "1v1000", prompt: Literal["simple", "openai"] = "simple"
) -> pl.DataFrame:
    """Return the paper's models: 28 CLIPs and, with the simple prompt, 15 ImageNet classifiers (43 rows).

    1 vs. 1000 is Tables 3 and 4; with the 80 OpenAI prompts it is Table 10, without ImageNet rows (they read
    no prompt). 1 vs. 20 is Tables 13 and 14. Averages are balanced (unweighted over classes).

    Args:
        setup: how many names compete.
        prompt: the one template "A photo of <label>." or the average over 80.

    Returns:
        ``model`` (``CLIP-<dataset>-<backbone>``, or the backbone of an ImageNet model), ``family``
        (``clip`` or ``imagenet``), ``backbone``, ``pretrain_dataset`` (``ImageNet-1K`` for classifiers),
        ``high_quality`` (the paper's asterisk: filtered data), ``common``, ``counter`` (percent as printed),
        ``drop`` (percentage points as printed, so not always their difference), ``note``.

    Raises:
        ValueError: the paper has no such results (1 vs. 20 with 80 prompts, or an unknown word).
    """
    clip = load_table("clip_results").filter(
        pl.col("setup") == setup,
        pl.col("prompt") == _PROMPTS.get(prompt, prompt),
        pl.col("averaging") == "balanced",
        pl.col("table").is_in(["Table 3", "Table 10", "Table 13"]),
    )
    if clip.is_empty():
        raise ValueError(
            f"The paper has no results for setup {setup!r} with prompt {prompt!r}; "
            "it has '1v1000' with 'simple' or 'openai', and '1v20' with 'simple'."
        )
    clip = clip.with_columns(
        model=pl.format("CLIP-{}-{}", "pretrain_dataset", "backbone"), family=pl.lit("clip")
    )
    if prompt != "simple":
        return clip.select(_COLUMNS)
    classifiers = (
        load_table("imagenet_results")
        .filter(pl.col("setup") == setup, pl.col("averaging") == "balanced")
        .with_columns(
            model=pl.col("backbone"),
            family=pl.lit("imagenet"),
            pretrain_dataset=pl.lit("ImageNet-1K"),
            high_quality=pl.lit(value=False),
        )
    )
    return pl.concat([clip.select(_COLUMNS), classifiers.select(_COLUMNS)])
