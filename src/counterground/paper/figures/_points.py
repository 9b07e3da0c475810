"""Models as points: the paper's and the runs', from the room that compares them."""

from __future__ import annotations

import polars as pl

from counterground.metrics import SETTING
from counterground.paper.figures._material import Material
from counterground.paper.figures._style import shorten
from counterground.published import SettingName

_DIFFERING = (*SETTING, "source")
_LONGEST = 40
PHOTOS = ("benchmark_version", "label_space", "comparable")
"""Models that agree in these columns may be drawn in one figure."""


def paper_points(setting: SettingName) -> pl.DataFrame:
    """Return the paper's `counterground.comparison.model_points` (fractions), with ``shown``."""
    from counterground.comparison import model_points

    return _shown(model_points((), published=True, setting=setting))


def own_points(material: Material, setting: SettingName = "one-prompt") -> pl.DataFrame:
    """Return the runs' models that have a drop, with intervals and ``shown``, a name that no other has.

    ``benchmark`` includes the version if runs were made on several versions.
    """
    from counterground.comparison import model_points

    points = model_points(material.runs, published=False, setting=setting, contrast=material.words.contrast)
    places = {run.info.benchmark.version: material.place(run) for run in material.runs}
    named = pl.col("benchmark_version").replace_strict(places, return_dtype=pl.String)
    return _shown(points.with_columns(benchmark=named))


def families(material: Material) -> dict[str, str]:
    """Return the family of each model of the runs, by its specification."""
    points = own_points(material)
    return dict(zip(points["model"], points["family"], strict=True))


def _shown(points: pl.DataFrame) -> pl.DataFrame:
    """Add ``shown``: the label and, if several models share it, the settings in which they differ."""
    shown = []
    for row in points.iter_rows(named=True):
        alike = points.filter(pl.col("label") == row["label"])
        names = [name for name in _DIFFERING if alike[name].n_unique() > 1]
        differ = [row[name] for name in names or ["model"] if alike[name].n_unique() > 1]
        extra = f" ({', '.join(str(value) for value in differ if value is not None)})" if differ else ""
        shown.append(shorten(f"{row['label']}{extra}", _LONGEST))
    return points.with_columns(shown=pl.Series(shown, dtype=pl.String))
