"""The zero-shot classifier of a dual encoder, and the columns of a classifier, for one list of names."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from counterground.errors import UsageError, did_you_mean
from counterground.files import write_bytes
from counterground.photos import LabelSpace

if TYPE_CHECKING:
    from counterground.models import Classifier, DualEncoder, Model


@dataclass(frozen=True)
class Head:
    """Turns features into scores of ``k`` names; ``scale`` makes them logits.

    ``weights`` is ``[d, u]``, None where features are logits already; ``columns`` ``[k]`` picks each name's
    column, so names with the same text get scores that are equal to the last bit.
    """

    weights: np.ndarray | None
    columns: np.ndarray
    scale: float

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Return ``[n, k]`` float32 scores (cosine similarities, or logits)."""
        features = features.astype(np.float32, copy=False)
        scores = features if self.weights is None else features @ self.weights
        return scores[:, self.columns]


def build_head(
    model: Model, space: LabelSpace, texts: Sequence[str], templates: Sequence[str], cache: Path
) -> Head:
    """Return the head of ``model`` over the names of ``space``, written as ``texts``.

    Dual encoders: per name, the mean over templates of the unit-norm text embeddings, normalised again
    (paper section 4 with one template, table 10 with 80). Classifiers: the logits of the names.

    Raises:
        UsageError: a classifier has no output for a name.
    """
    if model.kind == "classifier":
        return Head(None, _columns(model, space), 1.0)  # type: ignore[arg-type]
    column_of = {text: column for column, text in enumerate(dict.fromkeys(texts))}
    columns = np.array([column_of[text] for text in texts])
    return Head(_text_head(model, list(column_of), templates, cache), columns, model.logit_scale)  # type: ignore[arg-type, attr-defined]


def _text_head(model: DualEncoder, texts: Sequence[str], templates: Sequence[str], cache: Path) -> np.ndarray:
    prompts = [template.replace("{}", text) for text in texts for template in templates]
    key = hashlib.sha256(
        "\n".join([model.text_fingerprint, model.device, str(len(templates)), *prompts]).encode()
    )
    path = cache / f"{key.hexdigest()[:32]}.safetensors"
    try:
        return np.asarray(safetensors.numpy.load_file(path)["head"])
    except (OSError, SafetensorError, KeyError):
        pass  # absent or damaged: it is built again
    embeddings = model.encode_texts(prompts).reshape(len(texts), len(templates), -1)
    mean = embeddings.mean(axis=1, dtype=np.float32)
    head = np.ascontiguousarray((mean / np.linalg.norm(mean, axis=1, keepdims=True)).T)
    write_bytes(path, safetensors.numpy.save({"head": head}))
    return head


def _columns(model: Classifier, space: LabelSpace) -> np.ndarray:
    by_index = {index: column for column, index in enumerate(model.imagenet_columns) if index is not None}
    by_name = {name: column for column, name in enumerate(model.class_names)}
    columns = []
    for name, index in zip(space.names, space.imagenet, strict=True):
        column = by_index.get(index) if index is not None else by_name.get(name)
        if column is None:
            remedy = "Rename the class, or use a CLIP or a model trained on it."
            if space.name == "imagenet":
                remedy = (
                    "If it knows the benchmark's classes, let only those compete: --label-space benchmark."
                )
            raise UsageError(
                f"{model.display_name} has no output for class {name!r}.{did_you_mean(name, by_name)} "
                f"{remedy}"
            )
        columns.append(column)
    return np.array(columns)
