"""Two models on the same photos, as columns: the tests that tables of comparisons hold."""

import numpy as np
import polars as pl

from counterground.metrics import (
    ALPHA,
    DROP,
    Answers,
    Estimate,
    Stratification,
    contrast_change,
    paired_tests,
)

QUANTITIES = {"accuracy": "accuracy", "common": "left", "counter": "right", "drop": "difference"}


def _models(first, second, class_index, group, cluster, crossed):
    photos = Stratification(class_index, group, cluster, crossed=crossed)
    return [Answers.of(pl.DataFrame({"correct": np.asarray(of, bool)}), photos) for of in (first, second)]


def paired_test(
    first, second, class_index, group=None, cluster=None, *, crossed=None, quantity="accuracy", alpha=ALPHA
):
    models = _models(first, second, class_index, group, cluster, crossed)
    tests = paired_tests(models, [(0, 1)], QUANTITIES[quantity], DROP, alpha)
    return Estimate(**{name: values[0] for name, values in tests.items()}, confidence=1 - alpha)


def drop_change_interval(first, second, class_index, group, cluster=None, *, crossed=None, alpha=ALPHA):
    models = _models(first, second, class_index, group, cluster, crossed)
    return contrast_change(*models, DROP, alpha)[0]
