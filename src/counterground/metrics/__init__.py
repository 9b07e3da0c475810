"""Room: metrics. Accuracies, drop, calibration, agreement as pure functions, with intervals and tests."""

from __future__ import annotations

from counterground.metrics._accuracy import (
    ClassAccuracies,
    ClassDrops,
    balanced_accuracy,
    balanced_mean,
    class_accuracy,
    class_drops,
    expected_calibration_error,
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
from counterground.metrics._codes import GROUPS
from counterground.metrics._confidence import LEVEL, Confidence
from counterground.metrics._intervals import (
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
    corrected,
    holm,
    paired_test,
    tests_against,
)
from counterground.metrics._power import DropError, drop_error
from counterground.metrics._registry import Answers, Metric, TableColumn, registered_metrics
from counterground.metrics._regression import (
    INTERCEPT,
    Coefficient,
    Correlation,
    Regression,
    ordinary_least_squares,
    rank_correlation,
)
from counterground.metrics._scores import (
    BACKGROUNDS_SCHEMA,
    SCORES_SCHEMA,
    score_backgrounds,
    score_predictions,
)
from counterground.metrics._settings import (
    BY_SIDE,
    CLASSIFICATION,
    KEY_SCHEMA,
    KEYS,
    SETTING,
    SETTING_SCHEMA,
    comparable,
    in_setting,
)
from counterground.metrics._york import MOST_NOISE, LineWithErrors, fit_line_with_errors

__all__ = [
    "AGREEMENT_SCHEMA",
    "BACKGROUNDS_SCHEMA",
    "BY_SIDE",
    "CLASSIFICATION",
    "COMPARISON_SCHEMA",
    "EDGE",
    "FEWEST",
    "GROUPS",
    "INTERCEPT",
    "KEYS",
    "KEY_SCHEMA",
    "LEVEL",
    "MOST_NOISE",
    "SCORES_SCHEMA",
    "SETTING",
    "SETTING_SCHEMA",
    "Answers",
    "ClassAccuracies",
    "ClassDrops",
    "Coefficient",
    "Confidence",
    "Correlation",
    "DropError",
    "Interval",
    "LineFit",
    "LineWithErrors",
    "Metric",
    "PairedTest",
    "Regression",
    "Scale",
    "TableColumn",
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
    "corrected",
    "drop_error",
    "drop_interval",
    "expected_calibration_error",
    "fit_line",
    "fit_line_with_errors",
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
    "registered_metrics",
    "score_backgrounds",
    "score_predictions",
    "tests_against",
    "tie_rate",
    "to_scale",
    "top_k_accuracy",
    "worst_group_accuracy",
]
