"""Tables of predictions for metrics, of which a test gives the columns that matter to it."""

import polars as pl

from counterground.metrics import SETTING_SCHEMA

KINDS = {"true_rank": pl.Int32, "confidence": pl.Float32, "top2_gap": pl.Float32}


def completed(frame: pl.DataFrame) -> pl.DataFrame:
    """Add what a frame lacks of groups, clusters, settings, ranks and confidences: all unknown."""
    kinds = {"group": pl.String, "cluster": pl.String, **KINDS, **SETTING_SCHEMA}
    return frame.with_columns(
        pl.lit(None, kind).alias(name) for name, kind in kinds.items() if name not in frame.columns
    )
