"""The paper's 43 models as points of the scatter."""

from __future__ import annotations

from typing import NamedTuple

from counterground.published import published_models


class PaperPoint(NamedTuple):
    """Balanced accuracies (fractions) of a published model on CounterAnimal; ``clip`` or ``imagenet``."""

    name: str
    family: str
    common: float
    counter: float
    title: str


def paper_points() -> list[PaperPoint]:
    """The 28 CLIPs of Table 3 and the 15 ImageNet models of Table 4, 1 vs. 1000."""
    points = []
    for row in published_models("1v1000").iter_rows(named=True):
        table = 3 if row["family"] == "clip" else 4
        star = "*" if row["high_quality"] else ""
        title = (
            f"{row['model']}{star} (paper, Table {table}): "
            f"common {row['common']:.1f}, counter {row['counter']:.1f}, drop {row['drop']:.1f}"
        )
        note = f". Note: {row['note']}" if row["note"] else ""
        points.append(
            PaperPoint(row["model"], row["family"], row["common"] / 100, row["counter"] / 100, title + note)
        )
    return points
