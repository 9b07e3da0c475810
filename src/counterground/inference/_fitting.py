"""What a head is fitted on: planned and checked before any photo is read, then done.

No head predicts a photo whose cluster, or whose copy, it was fitted on; nor was such a photo used to choose
its number.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np

from counterground.errors import UsageError
from counterground.inference._request import Request
from counterground.inference._store import Features
from counterground.metrics import GROUPS, independent_clusters
from counterground.models import Encoder, HeadSpec
from counterground.photos import Benchmark, LabelSpace
from counterground.predictions import listed_classes, match_classes
from counterground.progress import progress_bar
from counterground.text import counted

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


# Parts of the benchmark for cross-fitting, and of training photos for choosing a number.
_PARTS, _CHOOSING_PARTS = 5, 3


@dataclass(frozen=True)
class FittedHeads:
    """The head of each photo: one for all, or for each part of the benchmark one fitted on the others.

    Attributes:
        heads: one, or one for each part.
        parts: the part of each photo of the benchmark; None if one head predicts all.
        account: JSON-ready, for ``run.json``: what was fitted on what.
        warnings: sentences.
    """

    heads: tuple[FittedHead, ...]
    parts: np.ndarray | None
    account: dict[str, Any]
    warnings: tuple[str, ...]

    def assigned(self, rows: np.ndarray) -> list[tuple[np.ndarray, FittedHead]]:
        """Return which of these rows of the benchmark's manifest each head predicts."""
        if self.parts is None:
            return [(rows, self.heads[0])]
        parts = self.parts[rows]
        return [(rows[parts == number], self.heads[number]) for number in np.unique(parts).tolist()]


@dataclass(frozen=True)
class Fitting:
    """What a head will be fitted on.

    Attributes:
        name: name of the model, for messages.
        head: head to be fitted.
        source: the benchmark with the training photos, those of ``rows``.
        space: the candidates.
        rows: ``[n]``, rows of the manifest of ``source``.
        labels: ``[n]``, the candidate that each is a photo of.
        clusters: ``[n]``, see `independent_clusters`.
        parts: the part of every photo of ``source``; None if other photos are evaluated.
    """

    name: str
    head: HeadSpec
    source: Benchmark
    space: LabelSpace
    rows: np.ndarray
    labels: np.ndarray
    clusters: np.ndarray
    parts: np.ndarray | None

    @classmethod
    def plan(cls, request: Request, model: Encoder) -> Fitting:
        """Choose the training photos of a model's head.

        Composites are never among them: their backgrounds are drawn, and a head would learn to ignore them.

        Raises:
            UsageError: a class that competes has no training photo, or all are of one class; a class with
                too few clusters to be cross-fitted, or for a number to be chosen; more neighbours than
                training photos; composites alone.
        """
        assert model.head is not None
        training, candidates = request.training, request.candidates
        source = training.photos if training else request.benchmark
        known = match_classes(source.classes, candidates.space) if training else candidates.true_index
        target = np.array(
            [-1 if (at := known[index]) is None else at for index in source.photos["class_index"]]
        )
        rows = np.flatnonzero((target >= 0) & ~source.photos["path"].is_in(list(source.made)).to_numpy())
        if source.made and not len(rows):
            raise UsageError(
                f"{model.display_name}: a head is fitted on photos as they are, not on composites: add "
                "original to --kinds."
            )
        clusters = independent_clusters(source.photos, source.design.clusters[0])
        _check_classes(model.display_name, request, source, set(target[rows].tolist()))
        plan = cls(
            model.display_name,
            model.head,
            source,
            candidates.space,
            rows,
            target[rows],
            clusters[rows],
            _parts_of(target, clusters, _PARTS) if training is None else None,
        )
        for each in plan.training:
            plan.check(each)
        return plan

    @cached_property
    def training(self) -> list[np.ndarray]:
        """What each head is fitted on: indices into ``rows``."""
        if self.parts is None:
            return [np.arange(len(self.rows))]
        own = self.parts[self.rows]
        return [np.flatnonzero(own != part) for part in range(self.parts.max() + 1)]

    def check(self, training: np.ndarray) -> None:
        """Refuse training photos that lack a class, are too few for ``knn``, or allow no choice of a number.

        Raises:
            UsageError: one of these is the case.
        """
        lacking = np.setdiff1d(self.labels, self.labels[training])
        if len(lacking):
            listed = listed_classes([self.space.names[at] for at in lacking])
            raise UsageError(
                f"{self.name}: a head is fitted without the clusters that it predicts, and then no photo of "
                f"{listed} is left: add photos of more clusters, or other training photos: "
                "-X train=BENCHMARK."
            )
        if self.head.kind == "knn" and (self.head.value or 0) > len(training):
            raise UsageError(
                f"{self.name}: k={self.head.value:g} is more than the {counted(len(training), 'photo')} that "
                "the head is fitted on."
            )
        if self.head.is_chosen and not self.splits(training):
            raise UsageError(
                f"{self.name}: {self.head.parameter} cannot be chosen by leaving out clusters, since each "
                f"time a class is lost: give it, as in ?head={self.head.kind}&{self.head.parameter}="
                f"{CHOICES[self.head.kind][1]:g}."
            )

    def fit(self, features: Features, *, show_progress: bool) -> FittedHeads:
        """Fit the heads on features of the photos of ``source`` that could be read.

        Raises:
            UsageError: they are too few, see `plan`.
        """
        kept = features.readable[self.rows]
        read = replace(self, rows=self.rows[kept], labels=self.labels[kept], clusters=self.clusters[kept])
        self._check_read(read.labels)
        heads = []
        with progress_bar(f"{self.name}, head", total=len(read.training), shown=show_progress) as bar:
            for training in read.training:
                read.check(training)
                splits = read.splits(training) if self.head.is_chosen else []
                matrix = features.rows(read.rows[training])
                heads.append(fit_head(self.head, matrix, read.labels[training], len(self.space), splits))
                bar.advance(1)
        warned = list(read.warnings(heads))
        if self.parts is None and (
            lost := len(self.rows) - len(read.rows)
        ):  # unreadable.csv has those evaluated
            warned.append(f"{counted(lost, 'training photo')} could not be read.")
        return FittedHeads(tuple(heads), self.parts, read.account(heads), tuple(warned))

    def _check_read(self, labels: np.ndarray) -> None:
        """Refuse to go on with the ``labels`` of photos that could be read, if a class is lost without them.

        Without other photos for training, none of such a class is predicted either: two classes must be left.

        Raises:
            UsageError: a class of other photos is lost, or all that are left are of one class.
        """
        lost = np.setdiff1d(self.labels, labels)
        if len(lost) and (self.parts is None or len(np.unique(labels)) < 2):
            listed = listed_classes([self.space.names[at] for at in lost])
            raise UsageError(
                f"{self.name}: no photo of {listed} in {self.source.name}, which a head needs to be fitted "
                "on, can be read: replace these files."
            )

    def splits(self, training: np.ndarray) -> list[Split]:
        """Return splits of training photos by cluster, only those whose training side has every class."""
        labels, clusters = self.labels[training], self.clusters[training]
        parts = _parts_of(labels, clusters, _CHOOSING_PARTS)
        splits = [(np.flatnonzero(parts != part), np.flatnonzero(parts == part)) for part in np.unique(parts)]
        return [split for split in splits if len(np.unique(labels[split[0]])) == len(np.unique(labels))]

    def account(self, heads: Sequence[FittedHead]) -> dict[str, Any]:
        """Return what was fitted on what, for ``run.json``."""
        numbers = [head.number for head in heads]
        account: dict[str, Any] = {
            "kind": self.head.kind,
            "library": f"scikit-learn {version('scikit-learn')}",
            "fitted_on": self.source.name,
            "version": self.source.version,
            "photos": len(self.rows),
            **self._groups,
            "classes": len(np.unique(self.labels)),
            "clusters": len(np.unique(self.clusters)),
            "cross_fitted_parts": None if self.parts is None else len(heads),
        }
        if self.head.parameter:
            account[self.head.parameter] = numbers[0] if self.parts is None else numbers
        if self.head.is_chosen:
            account["chosen_from"] = list(CHOICES[self.head.kind])
        return account

    def warnings(self, heads: Sequence[FittedHead]) -> Iterator[str]:
        """Yield what readers must know about the training photos."""
        groups = " and ".join(f"{count:,} {group}" for group, count in self._groups.items() if count)
        on = f"{counted(len(self.rows), 'photo')} of {self.source.name}{f' ({groups})' if groups else ''}"
        apart = "" if self.parts is None else ", each photo predicted by one that saw none of its cluster"
        yield (
            f"Its {self.head.kind} head was fitted on {on}{apart}: it can learn what occurs "
            "together in them, such as a class and its background."
        )
        first, *others = self.source.design.clusters
        if others and self.parts is not None:
            yield (
                f"Its parts are divided by the column {first} alone: when it predicted a photo, it may "
                f"have seen others of the same {others[0]}."
            )
        if absent := len(self.space) - len(np.unique(self.labels)):
            yield f"It cannot predict {counted(absent, 'class')} for lack of training photos."
        if unfinished := sum(head.unfinished for head in heads):
            yield f"Logistic regression did not converge in {counted(unfinished, 'fit')}."

    @property
    def _groups(self) -> dict[str, int]:
        group = self.source.photos["group"].gather(self.rows)
        return {name: int((group == name).sum()) for name in GROUPS}


def _check_classes(name: str, request: Request, source: Benchmark, present: set[int]) -> None:
    """Refuse candidates without a training photo; a class of the benchmark itself may have no photo at all.

    Raises:
        UsageError: a candidate has none, or all photos are of one class.
    """
    space = request.candidates.space
    missing = [at for at in range(len(space)) if at not in present]
    if missing and space.name != "benchmark":
        raise UsageError(
            f"{name}: {source.name} has photos of {len(present):,} of the {len(space):,} names that compete, "
            "and a head knows only what it was fitted on. Let the benchmark's classes compete: --label-space "
            "benchmark."
        )
    evaluated = {request.candidates.true_index[at] for at in request.benchmark.photos["class_index"].unique()}
    if missing := [at for at in missing if at in evaluated]:
        names, known = [space.names[at] for at in missing], source.classes.names
        listed = listed_classes(names, [name for name in known if name not in names])
        besides = ", besides those that are evaluated," if set(names) & set(known) else ""
        raise UsageError(f"{name}: {source.name} has no photo of {listed}{besides} to fit a head on.")
    if len(present) < 2:
        raise UsageError(
            f"{name}: all photos that a head can be fitted on are of "
            f"{listed_classes([space.names[at] for at in present])}; it needs two classes: add photos of "
            "another class, or give other photos with -X train=BENCHMARK."
        )


def _parts_of(labels: np.ndarray, clusters: np.ndarray, parts: int) -> np.ndarray:
    """Return a part, from 0, for each photo: clusters stay whole, and classes are spread over the parts.

    There are ``parts`` of them, or fewer: as many as clusters, or as photos of the most frequent class.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    number = min(parts, len(np.unique(clusters)), int(np.unique(labels, return_counts=True)[1].max()))
    found = np.zeros(len(labels), dtype=int)
    if number < 2:
        return found
    with warnings.catch_warnings():
        # It warns about a class with fewer photos than there are parts.
        warnings.simplefilter("ignore", UserWarning)
        splits = StratifiedGroupKFold(number).split(labels[:, None], labels, clusters)
        for part, (_, rows) in enumerate(splits):
            found[rows] = part
    return found
