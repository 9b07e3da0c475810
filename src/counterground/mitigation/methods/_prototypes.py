"""Image prototypes: class means of features in place of texts."""

from __future__ import annotations

import numpy as np

from counterground.mitigation._method import FitData, MitigatedHead, Mitigation
from counterground.mitigation.methods._shared import check_classes, groups_of


def prototypes(data: FitData) -> MitigatedHead:
    """Classify by the nearest class mean.

    Snell et al. 2017, "Prototypical networks for few-shot learning", equations 1 and 2 with squared Euclidean
    distance: ``-|x - c|^2 / 2`` is ``x c - |c|^2 / 2`` and a term that all classes share.
    """
    check_classes(data, "prototypes")
    features = data.features.astype(np.float64)
    k = data.head.shape[1]
    return _nearest(data, np.stack([features[data.class_index == each].mean(axis=0) for each in range(k)]))


def balanced_prototypes(data: FitData) -> MitigatedHead:
    """Classify by the nearest class mean, where each background of a class counts the same.

    As `prototypes`; a class's mean is the mean of the means on each of its labelled backgrounds.
    """
    groups = groups_of(data, "balanced-prototypes")
    check_classes(data, "balanced-prototypes", groups.classes)
    means, k = groups.means(data.features), data.head.shape[1]
    return _nearest(data, np.stack([means[groups.classes == each].mean(axis=0) for each in range(k)]))


def _nearest(data: FitData, means: np.ndarray) -> MitigatedHead:
    return MitigatedHead(
        weight=np.ascontiguousarray(data.scale * means.T, dtype=np.float32),
        bias=(-data.scale / 2 * (means**2).sum(axis=1)).astype(np.float32),
    )


PROTOTYPES = Mitigation(
    name="prototypes",
    title="class means of image features",
    source="Snell et al. 2017, equations 1 and 2",
    fit=prototypes,
)
BALANCED_PROTOTYPES = Mitigation(
    name="balanced-prototypes",
    title="class means in which each background counts the same",
    source="Snell et al. 2017, on means of groups",
    fit=balanced_prototypes,
    group_labels="fit",
    needs=frozenset({"backgrounds"}),
)
