"""The settings in which the paper evaluates all its models, and their accuracies in each."""

from __future__ import annotations

from typing import Literal, NamedTuple

import polars as pl

from counterground.published._tables import load_table

SettingName = Literal["one-prompt", "openai-prompts", "1-vs-20", "unbalanced"]


class PaperSetting(NamedTuple):
    """One way in which the paper evaluates 28 CLIPs and 15 ImageNet classifiers, and its tables.

    Attributes:
        name: as on the command line.
        clips: the table of the CLIPs.
        classifiers: the table of the ImageNet models.
        setup: ``1v1000`` or ``1v20``, how many names compete.
        prompts: ``simple`` or ``openai`` (the mean of 80); classifiers read none.
        averaging: ``balanced`` (mean over classes) or ``unbalanced`` (mean over photos).
    """

    name: SettingName
    clips: str
    classifiers: str
    setup: Literal["1v1000", "1v20"]
    prompts: Literal["simple", "openai"]
    averaging: Literal["balanced", "unbalanced"]

    @property
    def description(self) -> str:
        """What was asked and how accuracies were averaged."""
        names = "1,000 names" if self.setup == "1v1000" else "20 names"
        prompts = "one prompt" if self.prompts == "simple" else "80 OpenAI prompts"
        return f"{prompts}, {names}, mean over {'classes' if self.averaging == 'balanced' else 'photos'}"

    @property
    def tables(self) -> str:
        """Both tables in words, as in ``Tables 3 and 4``."""
        clips, classifiers = (table.split()[1] for table in (self.clips, self.classifiers))
        return f"Tables {clips} and {classifiers}"


SETTINGS: dict[SettingName, PaperSetting] = {
    setting.name: setting
    for setting in (
        PaperSetting("one-prompt", "Table 3", "Table 4", "1v1000", "simple", "balanced"),
        PaperSetting("openai-prompts", "Table 10", "Table 4", "1v1000", "openai", "balanced"),
        PaperSetting("1-vs-20", "Table 13", "Table 14", "1v20", "simple", "balanced"),
        PaperSetting("unbalanced", "Table 11", "Table 12", "1v1000", "simple", "unbalanced"),
    )
}
"""The settings by name, the paper's first one first."""

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


def published_models(setting: SettingName = "one-prompt") -> pl.DataFrame:
    """Return the paper's 28 CLIPs and 15 ImageNet classifiers in one setting (43 rows).

    Args:
        setting: one of ``SETTINGS``, which names its tables.

    Returns:
        ``model`` (``CLIP-<dataset>-<backbone>``, or the backbone of an ImageNet model), ``family``
        (``clip`` or ``imagenet``), ``backbone``, ``pretrain_dataset`` (``ImageNet-1K`` for classifiers),
        ``high_quality`` (the paper's asterisk: filtered data), ``common``, ``counter`` (percent as printed),
        ``drop`` (percentage points as printed, so not always their difference), ``note``.

    Raises:
        ValueError: the paper has no such setting.
    """
    if setting not in SETTINGS:
        raise ValueError(f"The paper has no setting {setting!r}; it has {', '.join(SETTINGS)}.")
    chosen = SETTINGS[setting]
    clips = load_table("clip_results").filter(table=chosen.clips)
    classifiers = load_table("imagenet_results").filter(table=chosen.classifiers)
    parts = (
        clips.with_columns(
            model=pl.format("CLIP-{}-{}", "pretrain_dataset", "backbone"), family=pl.lit("clip")
        ),
        classifiers.with_columns(
            model=pl.col("backbone"),
            family=pl.lit("imagenet"),
            pretrain_dataset=pl.lit("ImageNet-1K"),
            high_quality=pl.lit(value=False),
        ),
    )
    return pl.concat([part.select(_COLUMNS) for part in parts])
