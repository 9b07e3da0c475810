"""What is known of the sampling error of a point, the same for ranks and for distances from a line."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy.special import ndtri

from counterground.comparison._published_points import PUBLISHED
from counterground.metrics import LEVEL
from counterground.published import load_table

Figure = Literal["common", "counter", "drop"]
NORMAL = float(ndtri((1 + LEVEL) / 2))
"""Half a 95 % interval in standard errors, where the normal distribution is taken."""


def standard_error(point: dict[str, Any], figure: Figure) -> float:
    """Return the standard error (fraction) of an accuracy or a drop, NaN where nothing is known of it.

    A point with an interval has half its width over 1.96. The paper prints none: for its rows (and the
    reproduction's) it is binomial from the group sizes of figure 3, with one accuracy for all classes, an
    approximation; common and counter photos are different ones, so their errors are independent.
    """
    low, high = point[f"{figure}_low"], point[f"{figure}_high"]
    if low is not None and high is not None:
        return float((high - low) / (2 * NORMAL))
    if point["source"] not in PUBLISHED:
        return float("nan")
    groups = ("common", "counter") if figure == "drop" else (figure,)
    return float(np.sqrt(sum(_binomial(point[group], group) for group in groups)))


def _binomial(accuracy: float, group: str) -> float:
    """Variance of a balanced accuracy over the paper's classes, each with this accuracy."""
    sizes = load_table("group_sizes")[f"n_{group}_implied"].to_numpy()
    return float(accuracy * (1 - accuracy) * (1 / sizes).sum() / len(sizes) ** 2)
