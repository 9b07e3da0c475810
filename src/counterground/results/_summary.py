"""Scores regrouped for reading: one `ModelScores` per model and setting, one `Estimate` per figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import polars as pl

from counterground.errors import UsageError
from counterground.metrics import KEYS
from counterground.results._numbers import NOTHING, bounds, percent


class Measure(NamedTuple):
    """One figure of the overall table: which rows of the scores it comes from and what it is called."""

    metric: str
    group: str | None
    title: str
    meaning: str


MEASURES = (
    Measure("accuracy", "common", "Common", "Class-wise accuracy on common photos, averaged over classes."),
    Measure(
        "accuracy", "counter", "Counter", "Class-wise accuracy on counter photos, averaged over classes."
    ),
    Measure("drop", None, "Drop", "Mean over classes of common minus counter accuracy, in points."),
    Measure("accuracy", None, "Balanced", "Class-wise accuracy on all photos, averaged over classes."),
    Measure(
        "worst_group_accuracy",
        None,
        "Worst group",
        "Accuracy in the class and group where it is lowest; with few photos in each, 0 is common.",
    ),
    Measure("top5_accuracy", None, "Top-5", "Share of photos whose true class is among the five highest."),
    Measure(
        "ece",
        None,
        "ECE",
        "Expected calibration error: how far confidence lies from accuracy, 15 bins. Less is better.",
    ),
)
COMMON, COUNTER, DROP, BALANCED, WORST_GROUP = MEASURES[:5]


def setting_text(name: str, value: object) -> str:
    """Write one value of a setting for a reader: a Boolean and null in words."""
    if name == "as_published":
        return "as published" if value else "as trained"
    return NOTHING if value is None else str(value)


class Setting(NamedTuple):
    """What tells one row of results from another; ``run`` only where several runs stand together."""

    model: str
    names: str | None
    prompts: str | None
    protocol: str | None
    as_published: bool | None
    answer_score: str | None
    label_space: str | None
    run: str | None = None

    def text(self, name: str) -> str:
        """One field for a reader: a Boolean and null in words."""
        return setting_text(name, getattr(self, name))


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval (fractions), the photos and the clusters behind it."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    clusters: int | None = None

    @property
    def text(self) -> str:
        """Percent with one decimal, or an en dash."""
        return percent(self.value)

    @property
    def interval(self) -> str:
        """``[low, high]`` in percent, or empty."""
        return bounds(self.low, self.high) if self.value is not None else ""


MISSING = Estimate()
_Figures = dict[tuple[str, str | None], Estimate]


@dataclass(frozen=True)
class ModelScores:
    """All figures of one model in one setting; ``label`` is unique within its table."""

    setting: Setting
    label: str
    overall: _Figures = field(default_factory=dict)
    classes: dict[int, _Figures] = field(default_factory=dict)

    def get(self, metric: str, group: str | None = None, class_index: int | None = None) -> Estimate:
        """The figure asked for; `MISSING` where there is none, never 0."""
        figures = self.overall if class_index is None else self.classes.get(class_index, {})
        return figures.get((metric, group), MISSING)

    @property
    def has_groups(self) -> bool:
        """Whether a drop could be computed."""
        return self.get("drop").value is not None

    @property
    def photos(self) -> Estimate:
        """The estimate that carries the number of photos and clusters behind the row."""
        return self.get("accuracy")


def regroup(scores: pl.DataFrame, *, suffix: str = "") -> list[ModelScores]:
    """Regroup a scores frame by model and setting, in order of first appearance.

    Args:
        scores: columns of ``scores.parquet``; values are fractions. A column ``run`` tells runs apart.
        suffix: appended to every label, to tell runs apart.

    Raises:
        UsageError: a figure stands twice, as when runs were joined without a column ``run``.
    """
    columns = (*KEYS, "run") if "run" in scores.columns else KEYS
    found: dict[Setting, ModelScores] = {}
    for row in scores.iter_rows(named=True):
        setting = Setting(*(row[column] for column in columns))
        entry = found.setdefault(setting, ModelScores(setting, setting.model))
        index = row["class_index"]
        figures = entry.overall if index is None else entry.classes.setdefault(index, {})
        figure = (row["metric"], row["group"])
        if figure in figures:
            raise UsageError(
                f"The scores hold the {row['metric']} of {setting.model!r} twice in the same setting; "
                "name the run of each row in a column 'run'."
            )
        figures[figure] = _estimate(row)
    return _labelled(list(found.values()), suffix)


def mean_drop(models: Sequence[ModelScores], class_index: int) -> float | None:
    """The mean over models of their drops in a class (fraction); None where none has one."""
    drops = [model.get("drop", None, class_index).value for model in models]
    known = [drop for drop in drops if drop is not None]
    return sum(known) / len(known) if known else None


def headline(model: ModelScores) -> str:
    """Say the drop in one plain sentence: points with one decimal and the 95 % interval."""
    drop = model.get("drop")
    if drop.value is None:
        accuracy = model.get("accuracy")
        level = (
            f"{accuracy.text} % {accuracy.interval}".rstrip() if accuracy.value is not None else "no photos"
        )
        return f"{model.label} has no drop: no class has both common and counter photos (accuracy {level})"
    verb = "gains" if drop.value < 0 else "loses"
    size = percent(abs(drop.value))
    edges = (drop.low, drop.high) if drop.value >= 0 else (_negative(drop.high), _negative(drop.low))
    interval = bounds(*edges)
    sentence = f"{model.label} {verb} {size} points {interval}".rstrip()
    sentence += " when the background changes from common to counter"
    if drop.low is not None and drop.high is not None and drop.low <= 0 <= drop.high:
        sentence += ", which these photos cannot tell from no change"
    return sentence


def vary(models: Sequence[ModelScores]) -> list[str]:
    """Names of the settings, apart from the model, in which the rows differ."""
    return [column for column in Setting._fields[1:] if len({getattr(m.setting, column) for m in models}) > 1]


def _labelled(models: list[ModelScores], suffix: str) -> list[ModelScores]:
    columns = vary(models)
    repeated = {
        m.setting.model for m in models if sum(o.setting.model == m.setting.model for o in models) > 1
    }
    labelled = []
    for model in models:
        parts = [model.setting.text(column) for column in columns]
        extra = f" ({', '.join(parts)})" if model.setting.model in repeated else ""
        label = f"{model.setting.model}{extra}{suffix}"
        labelled.append(ModelScores(model.setting, label, model.overall, model.classes))
    return labelled


def _estimate(row: dict[str, Any]) -> Estimate:
    return Estimate(
        _finite(row["value"]), _finite(row["low"]), _finite(row["high"]), row["n"] or 0, row["clusters"]
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _negative(value: float | None) -> float | None:
    return None if value is None else -value
