"""What several methods need: text heads, photos by class and background, and one-line refusals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from counterground.errors import UsageError
from counterground.mitigation._method import FitData
from counterground.text import and_more

# Articles are left out, as in "A photo of {}."
BACKGROUND_PROMPT = "A photo of {background}."
CLASS_ON_BACKGROUND = "A photo of {class} on {background}."


def unit(rows: np.ndarray) -> np.ndarray:
    """Divide by the length along the last axis."""
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(length, np.finfo(rows.dtype).tiny))


def has_unit_rows(features: np.ndarray) -> bool:
    """Return whether features are embeddings of unit length, not the logits of a classifier."""
    return bool(np.allclose(np.linalg.norm(features, axis=1), 1, atol=1e-3))


def encode(data: FitData, texts: Sequence[str]) -> np.ndarray:
    """Return embeddings ``[t, d]`` of texts in float64, of unit length."""
    assert data.encode_texts is not None, "the method needs texts"
    return unit(np.asarray(data.encode_texts(list(texts)), dtype=np.float64))


def encode_classes(data: FitData, templates: Sequence[str]) -> np.ndarray:
    """Return embeddings ``[t, k, d]`` of every class in every template."""
    texts = [template.replace("{}", name) for template in templates for name in data.class_names]
    return encode(data, texts).reshape(len(templates), len(data.class_names), -1)


def encode_backgrounds(data: FitData) -> np.ndarray:
    """Return embeddings ``[b, d]`` of the names of the backgrounds."""
    return encode(data, [BACKGROUND_PROMPT.replace("{background}", name) for name in data.background_names])


def encode_classes_on_backgrounds(data: FitData, prompt: str) -> np.ndarray:
    """Return embeddings ``[b, k, d]`` of every class on every background."""
    prompts = (prompt.replace("{background}", name) for name in data.background_names)
    return encode_classes(data, [each.replace("{class}", "{}") for each in prompts])


def text_weight(data: FitData, embeddings: np.ndarray) -> np.ndarray:
    """Return the ``weight`` ``[d, k]`` of a `MitigatedHead` from one vector ``[k, d]`` for each class."""
    return np.ascontiguousarray((data.scale * unit(embeddings)).T, dtype=np.float32)


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
