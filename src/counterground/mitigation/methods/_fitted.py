"""Heads fitted on photos: class means, and the last layer fitted again with balance or weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from counterground.errors import UsageError, needs_extra
from counterground.mitigation._method import FitData, MitigatedHead, Mitigation
from counterground.text import and_more


def check_classes(data: FitData, method: str, present: np.ndarray | None = None) -> None:
    """Refuse to fit a head if a class has no photo.

    Args:
        data: the photos to fit on.
        method: name for the message.
        present: class indices of the photos that are used; those of all photos if None.

    Raises:
        UsageError: a class has none.
    """
    used = data.class_index if present is None else present
    absent = np.setdiff1d(np.arange(data.head.shape[1]), used).tolist()
    if absent:
        kind = "photo" if present is None else "photo with a labelled background"
        names = [data.class_names[each] for each in absent]
        raise UsageError(
            f"{method} has no {kind} of {and_more(names, 1)} to be fitted on: add photos, let only classes "
            "with pairs compete (--classes pairs --label-space benchmark), or use a method that works from "
            "texts."
        )


@dataclass(frozen=True)
class Groups:
    """Photos with a labelled background, by class and background: the groups of the literature.

    Attributes:
        rows: ``[m]``, which photos have a label.
        group: ``[m]``, from 0: the group of each of them.
        classes: ``[g]``, the class of each group.
        backgrounds: ``[g]``, the background of each group, from 0.
        background_names: names of the backgrounds.
    """

    rows: np.ndarray
    group: np.ndarray
    classes: np.ndarray
    backgrounds: np.ndarray
    background_names: tuple[str, ...]

    def means(self, features: np.ndarray) -> np.ndarray:
        """Return the mean features ``[g, d]`` of each group in float64."""
        labelled = features[self.rows].astype(np.float64)
        return np.stack([labelled[self.group == each].mean(axis=0) for each in range(len(self.classes))])


def groups_of(data: FitData, method: str) -> Groups:
    """Group the photos by class and background; those without a label are in no group.

    Raises:
        UsageError: fewer than two backgrounds are labelled, one of them in a single photo, or a class has no
            photo with a label.
    """
    rows = np.flatnonzero([label is not None for label in data.background])
    labels = data.background[rows].astype(str)
    names, background, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(names) < 2:
        found = f"{str(names[0])!r} alone" if len(names) else "none"
        raise UsageError(f"{method} needs photos on two labelled backgrounds or more, and there is {found}.")
    if (single := np.flatnonzero(counts == 1)).size:
        raise UsageError(
            f"{method} cannot learn the background {str(names[single[0]])!r} from a single photo: add photos "
            "of it, or give it the label of a similar background."
        )
    check_classes(data, method, data.class_index[rows])
    pairs = np.stack([data.class_index[rows], background], axis=1)
    groups, group = np.unique(pairs, axis=0, return_inverse=True)
    return Groups(rows, group.reshape(-1), groups[:, 0], groups[:, 1], tuple(names.tolist()))


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
    needs=("backgrounds",),
)


# For `group_dro`: full-batch steps, so fewer and larger ones than in the authors' minibatches.
_STEPS, _LEARNING_RATE, _MOMENTUM, _GROUP_STEP = 150, 2.0, 0.9, 0.01


def deep_feature_reweighting(data: FitData, *, c: float, draws: int = 5) -> MitigatedHead:
    """Fit a logistic regression with an L1 penalty on group-balanced photos, averaged over draws.

    Kirichenko et al. 2022, "Last layer re-training is sufficient for robustness to spurious correlations"
    (arXiv 2204.02937), as in the authors' code (PolinaKirichenko/deep_feature_reweighting,
    ``dfr_train_subset_eval``): features are standardised, each draw takes as many photos of each group as the
    smallest one has, and coefficients and intercepts are averaged. The solver is theirs, liblinear; their
    data sets have two classes, ours are fitted one against the rest. They draw ten times.

    A group is a class on a labelled background; a class that lacks a background has one group fewer.
    """
    with needs_extra("models"):
        from sklearn.linear_model import LogisticRegression
        from sklearn.multiclass import OneVsRestClassifier
        from sklearn.preprocessing import StandardScaler

    groups = groups_of(data, "dfr")
    features = data.features[groups.rows].astype(np.float64)
    labels = data.class_index[groups.rows]
    scaler = StandardScaler().fit(features)
    scaled, smallest = scaler.transform(features), np.bincount(groups.group).min()
    members = [np.flatnonzero(groups.group == each) for each in range(len(groups.classes))]
    random = np.random.default_rng(data.seed)
    coefficients, intercepts = [], []
    for _ in range(draws):
        rows = np.concatenate([random.choice(each, smallest, replace=False) for each in members])
        seed = int(random.integers(2**31))
        binary = LogisticRegression(l1_ratio=1, C=c, solver="liblinear", random_state=seed)
        fitted = OneVsRestClassifier(binary).fit(scaled[rows], labels[rows]).estimators_
        coefficients.append(np.concatenate([each.coef_ for each in fitted]))
        intercepts.append(np.concatenate([each.intercept_ for each in fitted]))
    weight, bias = np.mean(coefficients, axis=0), np.mean(intercepts, axis=0)
    if len(weight) == 1:  # of two classes, the second against the first
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    weight = weight / scaler.scale_
    return _linear(weight.T, bias - weight @ scaler.mean_)


def automatic_feature_reweighting(data: FitData, *, gamma: float, strength: float) -> MitigatedHead:
    """Refit the model's own head, with more weight on photos that it gets wrong; it needs no groups.

    Qiu et al. 2023, "Simple and fast group robustness by automatic feature reweighting" (arXiv 2306.11074),
    as in the authors' code (AndPotap/afr, ``train_embeddings.py``): a photo's weight is ``exp(-gamma * p)``,
    p the model's probability of its class, divided by the size of its class (an option of theirs); weights
    sum to 1. The objective is the weighted cross-entropy plus ``strength`` times the squared distance of the
    head from the model's own. The authors take steps of gradient descent; the minimum is unique, and L-BFGS
    finds it.
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax, softmax

    check_classes(data, "afr")
    inputs = data.scale * data.features.astype(np.float64)
    own = data.head.astype(np.float64)
    d, k = own.shape
    true = np.eye(k)[data.class_index]
    weights = np.exp(-gamma * (softmax(inputs @ own, axis=1) * true).sum(axis=1)) / (true @ true.sum(axis=0))
    weights /= weights.sum()

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        change, bias = flat[: d * k].reshape(d, k), flat[d * k :]
        logits = inputs @ (own + change) + bias
        loss = -weights @ (log_softmax(logits, axis=1) * true).sum(axis=1) + strength * (flat @ flat)
        slope = (softmax(logits, axis=1) - true) * weights[:, None]
        gradient = np.concatenate([(inputs.T @ slope).ravel(), slope.sum(axis=0)])
        return float(loss), gradient + 2 * strength * flat

    found = minimize(objective, np.zeros(d * k + k), jac=True, method="L-BFGS-B").x
    return _linear(data.scale * (own + found[: d * k].reshape(d, k)), found[d * k :])


def group_dro(data: FitData, *, l2: float) -> MitigatedHead:
    """Refit the model's own head for the group with the highest loss.

    Sagawa et al. 2020, "Distributionally robust neural networks" (arXiv 1911.08731), algorithm 1, as in the
    authors' code (kohpangwei/group_DRO, ``loss.py``): in each step the weight of a group is multiplied by
    ``exp(0.01 * loss of the group)``, weights are divided by their sum, and the head takes a step of SGD with
    momentum 0.9 on the weighted sum of the group losses, with weight decay ``l2``. They train a whole network
    from pretrained weights, in minibatches; we start from the model's head and take 150 steps at rate 2 on
    all photos at once. Inputs are ``scale`` times the features, centred and divided by the root of their mean
    squared length, and the head is scaled to match. The authors' options to adjust losses by the size of a
    group are not implemented.

    A group is a class on a labelled background.
    """
    import torch
    from torch.nn.functional import cross_entropy

    groups = groups_of(data, "group-dro")
    features = data.scale * data.features[groups.rows].astype(np.float64)
    mean = features.mean(axis=0)
    spread = np.sqrt(((features - mean) ** 2).sum(axis=1).mean())
    inputs = torch.from_numpy(((features - mean) / spread).astype(np.float32))
    labels = torch.from_numpy(data.class_index[groups.rows])
    group = torch.from_numpy(groups.group)
    sizes = torch.bincount(group)
    weight = torch.from_numpy((spread * data.head).astype(np.float32)).requires_grad_()
    bias = torch.from_numpy((mean @ data.head).astype(np.float32)).requires_grad_()
    optimiser = torch.optim.SGD([weight, bias], lr=_LEARNING_RATE, momentum=_MOMENTUM, weight_decay=l2)
    share = inputs.new_full((len(sizes),), 1 / len(sizes))
    for _ in range(_STEPS):
        losses = cross_entropy(inputs @ weight + bias, labels, reduction="none")
        of_groups = losses.new_zeros(len(sizes)).index_add(0, group, losses) / sizes
        share = torch.softmax(torch.log(share) + _GROUP_STEP * of_groups.detach(), dim=0)
        optimiser.zero_grad()
        (share @ of_groups).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    fitted = weight.detach().numpy().astype(np.float64) / spread
    return _linear(data.scale * fitted, bias.detach().numpy() - mean @ fitted)


def _linear(weight: np.ndarray, bias: np.ndarray) -> MitigatedHead:
    return MitigatedHead(np.ascontiguousarray(weight, dtype=np.float32), bias.astype(np.float32))


DFR = Mitigation(
    name="dfr",
    title="last layer refitted on group-balanced photos, with an L1 penalty",
    source="Kirichenko et al. 2022, DFR (arXiv 2204.02937)",
    fit=deep_feature_reweighting,
    group_labels="fit",
    needs=("backgrounds",),
    settings={"c": (1.0, 0.3, 0.1)},
)
AFR = Mitigation(
    name="afr",
    title="last layer refitted with more weight on photos that the model gets wrong",
    source="Qiu et al. 2023, AFR (arXiv 2306.11074)",
    fit=automatic_feature_reweighting,
    group_labels="choose",
    settings={"gamma": (1.0, 2.0, 4.0, 8.0), "strength": (0.01, 0.1)},
)
GROUP_DRO = Mitigation(
    name="group-dro",
    title="last layer refitted for the group with the highest loss",
    source="Sagawa et al. 2020, group DRO (arXiv 1911.08731), algorithm 1",
    fit=group_dro,
    group_labels="fit",
    needs=("backgrounds",),
    settings={"l2": (1e-5, 1e-4, 1e-3)},
)
