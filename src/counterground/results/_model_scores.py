"""Scores regrouped for reading: one `ModelScores` per model and setting, one `Estimate` per figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from counterground.errors import UsageError
from counterground.metrics import DROP, KEYS, Contrast, Estimate, ScoreKey
from counterground.text import NOTHING

TITLES = {
    "names": "Names",
    "prompts": "Prompts",
    "protocol": "Protocol",
    "answer_score": "Answer score",
    "label_space": "Label space",
    "run": "Run",
}
"""What the columns of a setting are called."""


def setting_text(value: object) -> str:
    """Write one value of a setting for a reader, null in words."""
    return NOTHING if value is None else str(value)


class Setting(NamedTuple):
    """What distinguishes one row of results from another; ``run`` only if several runs are shown together."""

    model: str
    names: str | None
    prompts: str | None
    protocol: str | None
    answer_score: str | None
    label_space: str | None
    run: str | None = None

    def text(self, name: str) -> str:
        """One field for a reader, null in words."""
        return setting_text(getattr(self, name))


MISSING = Estimate()
ROOM_FOR_A_DROP = 0.05
NO_GROUPS = "no class has both common and counter photos"


class ContrastFigures(NamedTuple):
    """The figures of a contrast: the accuracies of left and right, and left minus right."""

    left: Estimate
    right: Estimate
    difference: Estimate


_Figures = dict[ScoreKey, Estimate]


@dataclass(frozen=True)
class ModelScores:
    """All figures of one model in one setting; ``label`` is unique within its table."""

    setting: Setting
    label: str
    overall: _Figures = field(default_factory=dict)
    classes: dict[int, _Figures] = field(default_factory=dict)

    def get(
        self, metric: str | ScoreKey, group: str | None = None, class_index: int | None = None
    ) -> Estimate:
        """Return an estimate by its key, or by its metric and group; `MISSING` if there is none, never 0."""
        figures = self.overall if class_index is None else self.classes.get(class_index, {})
        if isinstance(metric, str):
            metric = DROP.difference_key if metric == DROP.name else ScoreKey.of_group(group, metric)
        return figures.get(metric, MISSING)

    def of(self, contrast: Contrast, class_index: int | None = None) -> ContrastFigures:
        """Return the accuracies of a contrast's sides and their difference, over all classes or in one."""
        keys = (*contrast.side_keys, contrast.difference_key)
        return ContrastFigures(*(self.get(key, None, class_index) for key in keys))

    @property
    def has_groups(self) -> bool:
        """Whether a drop could be computed."""
        return self.get("drop").value is not None

    @property
    def unequal_classes(self) -> bool:
        """Whether classes differ in size, so that accuracy over photos is not that over classes."""
        every = ScoreKey("accuracy")  # which some rows of a table may lack
        return len({figures[every].n for figures in self.classes.values() if every in figures}) > 1

    @property
    def photos(self) -> Estimate:
        """The estimate that carries the number of photos and clusters behind the row."""
        return self.get("accuracy")


def regroup(scores: pl.DataFrame) -> list[ModelScores]:
    """Regroup a scores frame by model and setting, in order of first appearance.

    Args:
        scores: columns of ``scores.parquet``; values are fractions. A column ``run`` tells runs apart.

    Raises:
        UsageError: a figure occurs twice, as when runs were joined without a column ``run``.
    """
    columns = (*KEYS, "run") if "run" in scores.columns else KEYS
    found: dict[Setting, ModelScores] = {}
    for row in scores.iter_rows(named=True):
        setting = Setting(*(row[column] for column in columns))
        entry = found.setdefault(setting, ModelScores(setting, setting.model))
        index = row["class_index"]
        figures = entry.overall if index is None else entry.classes.setdefault(index, {})
        figure = ScoreKey.of(row)
        if figure in figures:
            raise UsageError(
                f"The scores hold the {row['metric']} of {setting.model!r} twice in the same setting; "
                "name the run of each row in a column 'run'."
            )
        figures[figure] = Estimate.of(row)
    return _labelled(list(found.values()))


def near_chance(accuracy: Estimate, chance: float) -> bool:
    """Return whether a model is so close to guessing that a small drop says nothing.

    Such a model has little accuracy to lose. Either its accuracy is less than 5 points above chance: a drop,
    at most about what lies above chance, could not be larger. Or the interval of its accuracy reaches chance,
    and it is closer to chance than to 100 % (with few photos, the interval of a good model reaches that far,
    too).

    Args:
        accuracy: accuracy on common photos, from which a model drops.
        chance: accuracy (fraction) of guessing one name among all that compete (``CandidatesRecord.chance``).
    """
    if accuracy.value is None:
        return False
    may_guess = accuracy.low is not None and accuracy.low <= chance and accuracy.value < (1 + chance) / 2
    return may_guess or accuracy.value < chance + ROOM_FOR_A_DROP


def short_name(spec: str) -> str:
    """Return a model's specification without its library, which tables and charts have no room for.

    An address stays whole. The paper's CLIPs are named by data set and backbone: ``LAION2B ViT/B/32``.
    """
    if spec.startswith("CLIP-"):
        return spec.removeprefix("CLIP-").replace("-", " ", 1)
    library, colon, rest = spec.partition(":")
    return rest if colon and library not in {"http", "https"} else spec


def vary(models: Sequence[ModelScores]) -> list[str]:
    """Return the names of the settings, apart from the model, in which the rows differ."""
    return [column for column in Setting._fields[1:] if len({getattr(m.setting, column) for m in models}) > 1]


def _labelled(models: list[ModelScores]) -> list[ModelScores]:
    columns = vary(models)
    repeated = {
        m.setting.model for m in models if sum(o.setting.model == m.setting.model for o in models) > 1
    }
    labelled = []
    for model in models:
        parts = [model.setting.text(column) for column in columns]
        extra = f" ({', '.join(parts)})" if model.setting.model in repeated else ""
        label = f"{model.setting.model}{extra}"
        labelled.append(ModelScores(model.setting, label, model.overall, model.classes))
    return labelled
