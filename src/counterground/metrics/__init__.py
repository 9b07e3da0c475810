"""Room: metrics. Accuracies, drop, calibration, agreement as pure functions, with intervals and tests."""

from __future__ import annotations

from counterground.metrics._accuracy import (
    ClassAccuracies,
    balanced_accuracy,
    balanced_mean,
    class_accuracy,
    plain_accuracy,
    tie_rate,
    top_k_accuracy,
)
from counterground.metrics._agreement import (
    AGREEMENT_SCHEMA,
    agreement,
    alpha_interval,
    cohen_kappa,
    krippendorff_alpha,
)
from counterground.metrics._calibration import expected_calibration_error
from counterground.metrics._compare import COMPARISON_SCHEMA, comparable, compare_models
from counterground.metrics._drop import ClassDrops, class_drops, mean_drop, worst_group_accuracy
from counterground.metrics._intervals import Interval, balanced_interval, drop_interval, proportion_interval
from counterground.metrics._paired import PairedTest, holm, paired_test
from counterground.metrics._scores import SCORES_SCHEMA, score_predictions

__all__ = [
    "AGREEMENT_SCHEMA",
    "COMPARISON_SCHEMA",
    "SCORES_SCHEMA",
    "ClassAccuracies",
    "ClassDrops",
    "Interval",
    "PairedTest",
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
    "holm",
    "krippendorff_alpha",
    "mean_drop",
    "paired_test",
    "plain_accuracy",
    "proportion_interval",
    "score_predictions",
    "tie_rate",
    "top_k_accuracy",
    "worst_group_accuracy",
]
