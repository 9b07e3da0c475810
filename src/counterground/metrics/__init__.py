"""Room: metrics. Accuracies, drop, calibration, agreement as pure functions, with intervals and tests."""

from __future__ import annotations

from counterground.metrics._accuracy import (
    ClassAccuracies,
    ClassDrops,
    balanced_accuracy,
    balanced_mean,
    class_accuracy,
    class_drops,
    mean_drop,
    plain_accuracy,
    tie_rate,
    top_k_accuracy,
    worst_group_accuracy,
)
from counterground.metrics._agreement import (
    AGREEMENT_SCHEMA,
    agreement,
    alpha_interval,
    cohen_kappa,
    krippendorff_alpha,
)
from counterground.metrics._calibration import expected_calibration_error
from counterground.metrics._codes import GROUPS
from counterground.metrics._correlation import Correlation, rank_correlation
from counterground.metrics._intervals import (
    LEVEL,
    Interval,
    balanced_interval,
    drop_interval,
    proportion_interval,
)
from counterground.metrics._line import EDGE, FEWEST, LineFit, Scale, fit_line, from_scale, outside, to_scale
from counterground.metrics._paired import (
    COMPARISON_SCHEMA,
    PairedTest,
    compare_models,
    holm,
    paired_test,
)
from counterground.metrics._regression import INTERCEPT, Coefficient, Regression, ordinary_least_squares
from counterground.metrics._scores import SCORES_SCHEMA, score_predictions
from counterground.metrics._settings import (
    CLASSIFICATION,
    KEY_SCHEMA,
    KEYS,
    SETTING,
    SETTING_SCHEMA,
    comparable,
    in_setting,
)

__all__ = [
    "AGREEMENT_SCHEMA",
    "CLASSIFICATION",
    "COMPARISON_SCHEMA",
    "EDGE",
    "FEWEST",
    "GROUPS",
    "INTERCEPT",
    "KEYS",
    "KEY_SCHEMA",
    "LEVEL",
    "SCORES_SCHEMA",
    "SETTING",
    "SETTING_SCHEMA",
    "ClassAccuracies",
    "ClassDrops",
    "Coefficient",
    "Correlation",
    "Interval",
    "LineFit",
    "PairedTest",
    "Regression",
    "Scale",
    "agreement",
    "alpha_interval",
    "balanced_accuracy",
    "balanced_interval",
    "balanced_mean",
    "class_accuracy",
    "class_drops",
    "cohen_kappa",
    "comparable",
    "compare_models",
    "drop_interval",
    "expected_calibration_error",
    "fit_line",
    "from_scale",
    "holm",
    "in_setting",
    "krippendorff_alpha",
    "mean_drop",
    "ordinary_least_squares",
    "outside",
    "paired_test",
    "plain_accuracy",
    "proportion_interval",
    "rank_correlation",
    "score_predictions",
    "tie_rate",
    "to_scale",
    "top_k_accuracy",
    "worst_group_accuracy",
]
