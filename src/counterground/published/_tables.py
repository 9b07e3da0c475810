"""The paper's printed tables, typed, with the places where it contradicts itself; its four settings."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any, Literal, NamedTuple

import polars as pl

_DATA = resources.files(__package__).joinpath("data")
TABLES = tuple(sorted(file.name[:-4] for file in _DATA.iterdir() if file.name.endswith(".csv")))
"""Names of the tables, sorted; ``README.md`` of this room says where in the paper each one is."""


def load_table(name: str) -> pl.DataFrame:
    """Return a table of the paper as printed, mistakes included, with a nullable ``note`` column at the end.

    Accuracies and drops are in percent and percentage points. An empty field is null. ``note`` holds what
    contradicts the row elsewhere in the paper, after the note's number; several are joined by a space.
    ``model_facts`` and ``data_sets`` are not the paper's: their ``source`` says where each row is from.

    Args:
        name: one of ``TABLES``.

    Raises:
        ValueError: there is no such table.
    """
    if name not in TABLES:
        raise ValueError(f"There is no published table {name!r}; choose one of {', '.join(TABLES)}.")
    return _read(name).clone()  # a frame can be changed in place


@cache
def _read(name: str) -> pl.DataFrame:
    frame = pl.read_csv(_DATA.joinpath(f"{name}.csv").read_bytes(), infer_schema_length=None)
    texts = [
        pl.when(pl.any_horizontal(selectors)).then(pl.lit(f"[{note['number']}] {note['text']}"))
        for note in read_notes()
        if (selectors := [selector(rows["where"]) for rows in note["rows"] if rows["table"] == name])
    ]
    joined = pl.concat_str(texts or [pl.lit("")], separator=" ", ignore_nulls=True)
    return frame.with_columns(note=pl.when(joined != "").then(joined))


def selector(where: dict[str, list[Any]]) -> pl.Expr:
    """Return the condition that a row has one of the values of each column."""
    return pl.all_horizontal(pl.col(column).is_in(values) for column, values in where.items())


@cache
def read_notes() -> list[dict[str, Any]]:
    """Return each text with its ``number`` and its ``rows``: tables, and the values (``where``) of rows."""
    listed: list[dict[str, Any]] = json.loads(_DATA.joinpath("notes.json").read_text(encoding="utf-8"))
    return listed


def notes(name: str | None = None) -> pl.DataFrame:
    """Return the contradictions: ``number`` (1 to 13), ``table`` (null: the paper as a whole), ``text``.

    One contradiction can have several texts, each for its own rows; ``load_table`` shows which apply.

    Args:
        name: only the notes on this table; all by default.
    """
    records = [
        {"number": note["number"], "table": table, "text": note["text"]}
        for note in read_notes()
        for table in sorted({rows["table"] for rows in note["rows"]}) or [None]
    ]
    frame = pl.DataFrame(records, infer_schema_length=None)
    return frame if name is None else frame.filter(table=name)


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

_KEYS = ("model", "family", "backbone", "pretrain_dataset", "high_quality")


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
    return pl.concat([part.select(*_KEYS, "common", "counter", "drop", "note") for part in parts])
