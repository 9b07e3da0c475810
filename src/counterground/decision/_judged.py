"""What is decided about a run: its drop or, for composites, what the background causes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import polars as pl

from counterground.errors import UsageError
from counterground.metrics import score_predictions
from counterground.results import NO_GROUPS, Run
from counterground.text import counted


@dataclass(frozen=True)
class Judged:
    """Predictions of a run whose drop is to be decided on.

    ``noun`` is what that drop is called, ``rows`` what the predictions are for. For composites, only those on
    the backgrounds of other photos count: the same objects on common and on counter backgrounds, so the drop
    is the background effect. ``photos_per_row``: how many photos were labelled for each of the rows.
    """

    run: Run
    noun: str = "drop"
    rows: str = "photo"
    photos_per_row: float = 1.0

    @classmethod
    def of(cls, run: Run) -> Judged:
        """Choose the predictions.

        Raises:
            UsageError: the same objects are not on their own label and on others.
        """
        if run.info.intervention is None:
            return cls(run)
        swapped = run.predictions.filter(pl.col("swap").is_in(["other", "same"]))
        if swapped["swap"].n_unique() < 2:  # each background would have objects of its own
            raise UsageError(
                f"{run.path} has no background effect to decide about: swap with the kinds same and other."
            )
        grouped = swapped.drop_nulls("group")
        photos = pl.concat([grouped["foreground"], grouped["background_photo"]]).n_unique()
        share = photos / max(1, grouped["path"].n_unique())
        scores = score_predictions(swapped, by_class=False, design=run.design)
        chosen = replace(run, predictions=swapped, scores=scores)
        return cls(chosen, "background effect", "composite", share)

    @property
    def is_of_composites(self) -> bool:
        """Whether the rows are composites, whose objects and backgrounds are two ways of clustering."""
        return self.rows == "composite"

    @property
    def absent(self) -> str:
        """Why no model has anything to decide on."""
        return "no class is on both common and counter backgrounds" if self.is_of_composites else NO_GROUPS

    def enough(self, needed: int, now: int, clusters: int) -> str:
        """Say how many rows would be enough, given ``now`` rows in ``clusters`` clusters."""
        needed = max(needed, now + 1)
        if self.is_of_composites:
            return f"{math.ceil(10 * needed / now) / 10:.1f} times as many objects and background photographs"
        return f"{counted(needed, 'photo')} in {counted(-(-clusters * needed // now), 'cluster')}"
