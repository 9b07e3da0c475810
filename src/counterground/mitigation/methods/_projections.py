"""Directions of backgrounds removed, from text embeddings or from image features."""

from __future__ import annotations

from functools import partial
from itertools import combinations

import numpy as np

from counterground.errors import UsageError
from counterground.mitigation._method import FitData, Input, MitigatedHead, Mitigation, Need
from counterground.mitigation.methods._fitted import groups_of
from counterground.mitigation.methods._texts import (
    CLASS_ON_BACKGROUND,
    encode_backgrounds,
    encode_classes_on_backgrounds,
    has_unit_rows,
    text_weight,
    unit,
)


def background_subtraction(data: FitData, *, alpha: float) -> MitigatedHead:
    """Subtract ``alpha`` times the features of the photo with its object removed.

    The head is linear, so this subtracts ``alpha`` times the scores that the background alone gets. The
    method is ours; Peng et al. 2025, "Representation-level counterfactual calibration for debiased zero-shot
    recognition" (arXiv 2510.26466), also subtract such scores, estimated from embeddings; ours are measured.
    """
    return _read(data, {"photo": 1.0, "background": -alpha})


def foreground(data: FitData, *, share: float) -> MitigatedHead:
    """Read ``share`` of the features from the object alone, masked or cropped, and the rest from the photo.

    With share 1 this is the "Only-FG" input of Xiao et al. 2021, "Noise or signal: the role of image
    backgrounds in object recognition".
    """
    return _read(data, {"photo": 1.0 - share, "foreground": share} if share < 1 else {"foreground": 1.0})


def _read(data: FitData, inputs: dict[Input, float]) -> MitigatedHead:
    return MitigatedHead(weight=(data.scale * data.head).astype(np.float32), inputs=inputs)


BACKGROUND_SUBTRACTION = Mitigation(
    name="background-subtraction",
    title="features of the background alone subtracted from each photo's",
    source="ours, close to Peng et al. 2025 (arXiv 2510.26466)",
    fit=background_subtraction,
    group_labels="choose",
    needs=("masks",),
    settings={"alpha": (0.25, 0.5, 0.75, 1.0)},
)
FOREGROUND = Mitigation(
    name="foreground",
    title="features of the object alone, masked or cropped",
    source="Xiao et al. 2021, Only-FG",
    fit=foreground,
    group_labels="choose",
    needs=("masks",),
    settings={"share": (0.5, 1.0)},
)


def basis(directions: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis ``[d, r]`` of the span of the rows ``[m, d]``; r is its dimension."""
    from scipy.linalg import orth

    return np.asarray(orth(np.asarray(directions, dtype=np.float64).T, rcond=1e-6))


def rejection(directions: np.ndarray) -> np.ndarray:
    """Return the projection ``[d, d]`` onto what is orthogonal to all rows ``[m, d]``; it is symmetric."""
    q = basis(directions)
    return np.asarray(np.eye(len(q)) - q @ q.T)


def increase(directions: np.ndarray) -> np.ndarray:
    """Return the matrix ``[d, d]`` that doubles the part in the span of the rows ``[m, d]``."""
    q = basis(directions)
    return np.asarray(np.eye(len(q)) + q @ q.T)


def background_prompts(data: FitData, *, prompt: str) -> MitigatedHead:
    """Average the unit text embeddings of "class on background" over all backgrounds.

    An ensemble in embedding space (Radford et al. 2021, section 3.1.4) over backgrounds in place of
    templates: no class is then on one background more than another.
    """
    embeddings = encode_classes_on_backgrounds(data, prompt)
    return MitigatedHead(weight=text_weight(data, embeddings.mean(axis=0)))


def text_projection(data: FitData) -> MitigatedHead:
    """Project the span of the background prompts out of the class embeddings.

    Chuang et al. 2023, "Debiasing vision-language models via biased prompts" (arXiv 2302.00070), orthogonal
    projection: ``P0 = I - A (A' A)^-1 A'``, where the columns of A are embeddings of backgrounds.
    """
    backgrounds = encode_backgrounds(data)
    return MitigatedHead(weight=text_weight(data, data.head.T.astype(np.float64) @ rejection(backgrounds)))


def text_calibration(data: FitData, *, strength: float) -> MitigatedHead:
    """Project backgrounds out of the class embeddings, and pull pairs that differ by background together.

    Chuang et al. 2023 (see `text_projection`), calibrated projection: of all P the one that minimises
    ``|P - P0|^2 + strength / |S| * sum of |P z_i - P z_j|^2`` over pairs S of prompts for one class on two
    backgrounds, ``P = P0 (I + strength / |S| * sum of (z_i - z_j) (z_i - z_j)')^-1``. Written as in the
    authors' code (chingyaoc/debias_vl, ``discriminative/main.py``), whose strength is 1000.
    """
    p0 = rejection(encode_backgrounds(data))
    prompts = encode_classes_on_backgrounds(data, CLASS_ON_BACKGROUND)
    differences = np.concatenate([one - other for one, other in combinations(prompts, 2)])
    g = np.eye(len(p0)) + strength * differences.T @ differences / len(differences)
    # Rows z become z P' = z g^-1 P0, since g and P0 are symmetric.
    return MitigatedHead(weight=text_weight(data, data.head.T.astype(np.float64) @ np.linalg.solve(g, p0)))


_CHUANG = "Chuang et al. 2023 (arXiv 2302.00070)"
_NEEDS: tuple[Need, ...] = ("texts", "backgrounds")

BACKGROUND_PROMPTS = Mitigation(
    name="background-prompts",
    title='prompts "class on background", averaged over backgrounds',
    source="Radford et al. 2021, section 3.1.4, over backgrounds",
    fit=background_prompts,
    group_labels="choose",
    needs=_NEEDS,
    settings={"prompt": (CLASS_ON_BACKGROUND, "A photo of {class} with {background} in the background.")},
)
TEXT_PROJECTION = Mitigation(
    name="text-projection",
    title="backgrounds projected out of the text embeddings",
    source=f"{_CHUANG}, orthogonal projection",
    fit=text_projection,
    needs=_NEEDS,
)
TEXT_CALIBRATION = Mitigation(
    name="text-calibration",
    title="backgrounds projected out of the text embeddings, calibrated on prompts that differ by background",
    source=f"{_CHUANG}, calibrated projection",
    fit=text_calibration,
    group_labels="choose",
    needs=_NEEDS,
    settings={"strength": (1.0, 10.0, 100.0, 1000.0)},
)


def roboshot(data: FitData, *, boost: bool) -> MitigatedHead:
    """Remove differences between backgrounds from image features and, with ``boost``, increase classes'.

    Adila et al. 2024, "Zero-shot robustification of zero-shot models" (arXiv 2309.04344): features lose their
    projections onto an orthonormal basis of harmful directions, and gain those onto one of helpful directions
    once more, as in the authors' code (SprocketLab/roboshot, ``run.py``). There, each step is followed by
    division by the length; since a positive factor passes through all steps, one matrix and one division do
    the same.

    Harmful directions are differences between the texts of two backgrounds, helpful ones between those of two
    classes. The authors ask a language model for both; we have labels.
    """
    backgrounds = encode_backgrounds(data)
    return _project(data, _differences(backgrounds), _differences(data.head.T) if boost else None)


def image_projection(data: FitData, *, boost: bool) -> MitigatedHead:
    """Remove mean differences between backgrounds from image features; ``boost`` as in `roboshot`.

    The means of all groups of photos, ``m[class, background]``, are fitted by least squares with
    ``a[class] + b[background]``: differences of b are mean differences between backgrounds with the class
    held fixed, differences of a those between classes with the background held fixed. With equally many
    backgrounds in each class, b is the plain mean over classes. Where classes and backgrounds fall into sets
    that no photo connects, only differences within a set are known, so only these are removed.

    Removing the mean difference of two groups is the mean projection of Haghighatkhah et al. 2022, "Better
    hit the nail on the head than beat around the bush" (arXiv 2212.04273); several backgrounds and holding
    the classes fixed are our extension.

    Raises:
        UsageError: no class was seen on two backgrounds.
    """
    from scipy.sparse.csgraph import connected_components

    method = "image-projection"
    groups = groups_of(data, method)
    if np.bincount(groups.classes).max() < 2:
        raise UsageError(
            f"{method} needs a class with photos on two labelled backgrounds: a background that comes with "
            "one class alone cannot be separated from that class."
        )
    k, b = data.head.shape[1], len(groups.background_names)
    design = np.hstack([np.eye(k)[groups.classes], np.eye(b)[groups.backgrounds]])
    effects = np.linalg.lstsq(design, groups.means(data.features), rcond=None)[0]
    linked = connected_components(design.T @ design, directed=False)[1]
    harmful, helpful = _differences(effects[k:], linked[k:]), _differences(effects[:k], linked[:k])
    return _project(data, harmful, helpful if boost else None)


def text_subtraction(data: FitData, *, alpha: float) -> MitigatedHead:
    """Subtract from each photo ``alpha`` times its part along the background that its features show most.

    A photo's background is the one whose text is most similar to it; its direction is that text minus the
    mean over backgrounds, of unit length. With alpha 1 the part is removed. The method is ours: it stands in
    for `background_subtraction` if there are no masks.
    """
    backgrounds = encode_backgrounds(data)
    directions = unit(backgrounds - backgrounds.mean(axis=0)).astype(np.float32)
    return MitigatedHead(
        weight=(data.scale * data.head).astype(np.float32),
        normalise=True,
        feature_hook=partial(
            _subtract, texts=backgrounds.astype(np.float32), directions=directions, alpha=alpha
        ),
    )


def _subtract(features: np.ndarray, *, texts: np.ndarray, directions: np.ndarray, alpha: float) -> np.ndarray:
    own = directions[(features @ texts.T).argmax(axis=1)]
    return np.asarray(features - alpha * (features * own).sum(axis=1, keepdims=True) * own)


def _differences(rows: np.ndarray, sets: np.ndarray | None = None) -> np.ndarray:
    """Return ``[r, d]`` differences from the first row of each set; they span the differences of all pairs.

    1,000 names have half a million pairs: gigabytes, and minutes for each fit.

    Args:
        rows: ``[r, d]``.
        sets: ``[r]``, the set of each row; None for one set.
    """
    if sets is None:
        return np.asarray(rows - rows[0])
    _, first, place = np.unique(sets, return_index=True, return_inverse=True)
    return np.asarray(rows - rows[first[place]])


def _project(data: FitData, harmful: np.ndarray, helpful: np.ndarray | None) -> MitigatedHead:
    matrix = rejection(harmful)
    if helpful is not None:
        matrix = matrix @ increase(helpful)
    return MitigatedHead(
        weight=(data.scale * data.head).astype(np.float32),
        projection=matrix.astype(np.float32),
        normalise=has_unit_rows(data.features),
    )


ROBOSHOT = Mitigation(
    name="roboshot",
    title="differences between background texts removed from image features",
    source="Adila et al. 2024, RoboShot (arXiv 2309.04344), with our labels instead of its language model",
    fit=roboshot,
    group_labels="choose",
    needs=_NEEDS,
    settings={"boost": (False, True)},
)
IMAGE_PROJECTION = Mitigation(
    name="image-projection",
    title="mean differences between backgrounds removed from image features",
    source="Haghighatkhah et al. 2022 (arXiv 2212.04273), with classes held fixed",
    fit=image_projection,
    group_labels="fit",
    needs=("backgrounds",),
    settings={"boost": (False, True)},
)
TEXT_SUBTRACTION = Mitigation(
    name="text-subtraction",
    title="the direction of the most similar background text subtracted from each photo",
    source="ours",
    fit=text_subtraction,
    group_labels="choose",
    needs=_NEEDS,
    settings={"alpha": (0.5, 1.0)},
)
