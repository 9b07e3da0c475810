"""The rows of models for table and scatter: what `comparison` knows of each, and the lines of families."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from counterground.comparison import EffectiveRobustness, effective_robustness, model_points
from counterground.metrics import in_setting
from counterground.report._style import FAMILY_NAMES
from counterground.report.page.explorer._explorer import Trend
from counterground.results import Estimate, ModelScores

if TYPE_CHECKING:
    from counterground.results import Run


_ENDS = (0.001, 0.999)
BASELINE = "imagenet"


def run_points(runs: Sequence[Run]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return `model_points` of the runs with a column ``run`` (place in ``runs``), and the paper's rows.

    The paper's rows are those with as many names as the runs': 1 vs. 20 where all are confusable.
    """
    confusable = all(run.info.label_space.name == "confusable" for run in runs)
    setup: Literal["1v1000", "1v20"] = "1v20" if confusable else "1v1000"
    parts = [
        model_points([run], published=False, setup=setup).with_columns(run=pl.lit(place))
        for place, run in enumerate(runs)
    ]
    return pl.concat(parts), model_points(setup=setup)


def point_of(points: pl.DataFrame, run: int, model: ModelScores) -> dict[str, Any] | None:
    """The row of a model, None where it has no drop."""
    rows = points.filter(pl.col("run") == run, in_setting(model.setting._asdict()))
    return rows.row(0, named=True) if rows.height else None


def fit_lines(points: pl.DataFrame, published: pl.DataFrame) -> dict[str, EffectiveRobustness]:
    """Fit the line of each family, over the paper's models and over the runs' own where there are enough."""
    together = pl.concat([published, points.drop("run")])
    present = [family for family in FAMILY_NAMES if family in set(together["family"])]
    return {family: effective_robustness(together, baseline=family) for family in present}


def trends(fitted: dict[str, EffectiveRobustness]) -> list[Trend]:
    """Return the fitted lines as they are drawn and told."""
    found = []
    for family, fits in fitted.items():
        for line in fits.lines:
            paper = line.source == "paper"
            ends = [float(height) for height in line.fit.predict(_ENDS)]
            whose = f"{line.fit.n} of the paper’s models" if paper else f"{line.fit.n} models here"
            words = (
                f"{FAMILY_NAMES[family]}: slope {line.fit.slope:.2f} "
                f"[{line.fit.slope_low:.2f}, {line.fit.slope_high:.2f}], through {whose}"
            ).replace("-", "−")
            found.append(Trend(family, _ENDS, (ends[0], ends[1]), words, paper))
    return found


def residuals(fitted: dict[str, EffectiveRobustness], points: pl.DataFrame) -> list[Estimate | None]:
    """Return effective robustness against the line of the ImageNet models, for each row of ``points``."""
    if BASELINE not in fitted:
        return [None] * points.height
    # Residuals come in the order of the points, of which the runs' are the last.
    rows = fitted[BASELINE].residuals.tail(points.height)
    return [
        None if value is None else Estimate(value, low, high)
        for value, low, high in rows.select("residual", "low", "high").iter_rows()
    ]
