"""The classifiers of scikit-learn behind ``?head=``, and their scores."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from counterground.models import HeadSpec

# Numbers to choose from; of equally good ones the first is taken.
CHOICES: dict[str, tuple[float, ...]] = {
    "knn": (1, 5, 10, 20, 50, 100, 200),
    "logistic": (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0),
    "linear": (1e4, 1e3, 1e2, 10.0, 1.0, 0.1),
}
# As in DINO's evaluation (its eval_knn.py): a neighbour's vote is exp(cosine / 0.07).
_TEMPERATURE = 0.07

Split = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class FittedHead:
    """A fitted classifier of scikit-learn, whose classes are indices among ``size`` candidates.

    ``number`` is its k, C or alpha; ``unfinished`` counts fits that did not converge.
    """

    estimator: Any
    size: int
    number: float | None
    unfinished: int
    scale: float = 1.0

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Return ``[n, size]`` float32, -inf for candidates that it was not fitted on.

        The highest score is scikit-learn's prediction. The softmax of the scores gives its probabilities for
        ``knn`` (shares of the votes) and ``logistic``; for ``linear`` (decision function) and ``prototypes``
        (half the negative squared distance) it is not a probability.
        """
        found = np.full((len(features), self.size), -np.inf, dtype=np.float32)
        found[:, self.estimator.classes_] = _scores(self.estimator, features)
        return found


def fit_head(
    head: HeadSpec, features: np.ndarray, labels: np.ndarray, size: int, splits: Sequence[Split]
) -> FittedHead:
    """Fit a head on features ``[n, d]`` of photos of the candidates ``labels`` ``[n]``.

    A number that is not given is the one with the highest mean accuracy over ``splits``; no more neighbours
    are tried than the smallest training side of a split has photos.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import GridSearchCV

    estimator, parameter = _unfitted(head)
    number = head.value
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        if head.is_chosen:
            fewest = min(len(training) for training, _ in splits)
            choices = [each for each in CHOICES[head.kind] if head.kind != "knn" or each <= fewest]
            search = GridSearchCV(
                estimator, {parameter: choices}, scoring="accuracy", cv=splits, error_score="raise"
            )
            search.fit(features, labels)
            estimator, number = search.best_estimator_, search.best_params_[parameter]
        else:
            estimator.fit(features, labels)
    unfinished = sum(issubclass(each.category, ConvergenceWarning) for each in caught)
    return FittedHead(estimator, size, number, unfinished)


def _unfitted(head: HeadSpec) -> tuple[Any, str]:
    """Return the classifier, with its number if one is given, and what scikit-learn calls that number."""
    from sklearn.linear_model import LogisticRegression, RidgeClassifier
    from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer, StandardScaler

    estimator, parameter = {
        "knn": (KNeighborsClassifier(metric="cosine", weights=_votes), "n_neighbors"),
        "logistic": (
            make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
            "logisticregression__C",
        ),
        "linear": (make_pipeline(StandardScaler(), RidgeClassifier()), "ridgeclassifier__alpha"),
        "prototypes": (make_pipeline(Normalizer(), NearestCentroid()), ""),
    }[head.kind]
    if head.value is not None:
        estimator.set_params(**{parameter: int(head.value) if head.kind == "knn" else head.value})
    if head.kind != "knn":  # a program may have asked for frames
        estimator.set_output(transform="default")
    return estimator, parameter


def _votes(distances: np.ndarray) -> np.ndarray:
    votes: np.ndarray = np.exp((1 - distances) / _TEMPERATURE)
    return votes


def _scores(estimator: Any, features: np.ndarray) -> np.ndarray:
    """Return scores ``[n, classes]`` whose highest is what ``estimator`` predicts."""
    from sklearn.metrics.pairwise import euclidean_distances
    from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

    if isinstance(estimator, KNeighborsClassifier):
        shares = np.asarray(estimator.predict_proba(features), dtype=np.float32)
        return np.log(np.maximum(shares, np.finfo(np.float32).tiny))
    if isinstance(estimator[-1], NearestCentroid):
        centroids = estimator[-1].centroids_
        squares = euclidean_distances(estimator[:-1].transform(features), centroids, squared=True)
        return np.asarray(-squares / 2)
    scores = np.asarray(estimator.decision_function(features))
    return np.stack([-scores / 2, scores / 2], axis=1) if scores.ndim == 1 else scores
