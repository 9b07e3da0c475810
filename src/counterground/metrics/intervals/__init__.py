"""How far an estimate may be from the truth: strata, influences, quantiles and intervals."""

from __future__ import annotations

from counterground.metrics.intervals._confidence import CONFIDENCE, LEVEL, Confidence
from counterground.metrics.intervals._distributions import (
    logistic_cdf,
    logistic_quantile,
    noncentral_t_sf,
    normal_cdf,
    normal_quantile,
    t_cdf,
    t_quantile,
)
from counterground.metrics.intervals._intervals import (
    UNKNOWN,
    Interval,
    balanced_interval,
    critical,
    difference_interval,
    difference_limits,
    drop_interval,
    half_width,
    plain_interval,
    proportion_interval,
    random_classes_limits,
    ratio_limits,
    share_interval,
    t_of_zero,
)
from counterground.metrics.intervals._sampling import (
    Average,
    InfluenceEstimate,
    Partition,
    Sampling,
    StratumMeans,
    effective_clusters,
    sum_by_code,
)
from counterground.metrics.intervals._single import SingleStrata, cell_intervals
from counterground.metrics.intervals._stratification import (
    IDENTITY,
    Sides,
    Stratification,
    Stratifications,
    cluster_columns,
)

__all__ = [
    "CONFIDENCE",
    "IDENTITY",
    "LEVEL",
    "UNKNOWN",
    "Average",
    "Confidence",
    "InfluenceEstimate",
    "Interval",
    "Partition",
    "Sampling",
    "Sides",
    "SingleStrata",
    "Stratification",
    "Stratifications",
    "StratumMeans",
    "balanced_interval",
    "cell_intervals",
    "cluster_columns",
    "critical",
    "difference_interval",
    "difference_limits",
    "drop_interval",
    "effective_clusters",
    "half_width",
    "logistic_cdf",
    "logistic_quantile",
    "noncentral_t_sf",
    "normal_cdf",
    "normal_quantile",
    "plain_interval",
    "proportion_interval",
    "random_classes_limits",
    "ratio_limits",
    "share_interval",
    "sum_by_code",
    "t_cdf",
    "t_of_zero",
    "t_quantile",
]
