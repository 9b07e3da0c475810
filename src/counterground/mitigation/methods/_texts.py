"""Heads made of texts: OpenAI's templates, or those that separate the classes most (SAGE)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from counterground.mitigation._method import FitData, MitigatedHead, Mitigation
from counterground.photos import prompt_templates

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


def template_ensemble(data: FitData) -> MitigatedHead:
    """Average the unit text embeddings of a class over OpenAI's 80 templates, and normalise again.

    Radford et al. 2021, "Learning transferable visual models from natural language supervision", section
    3.1.4: ensembles are made in embedding space.
    """
    embeddings = encode_classes(data, prompt_templates("openai"))
    return MitigatedHead(weight=text_weight(data, embeddings.mean(axis=0)))


def sage(data: FitData, *, templates: int) -> MitigatedHead:
    """Classify each photo with the templates under which its classes are furthest apart.

    Ye et al. 2025, "SAGE: spuriousness-aware guided prompt exploration" (arXiv 2511.13005), as in class
    ``SAGE`` of the authors' code (wenqian-ye/spurious_vlm): of OpenAI's 80 templates, a photo gets the
    ``templates`` ones with the largest difference between its highest and its lowest cosine similarity with
    the classes. Their embeddings are averaged for each class and normalised.

    The weight is ``[d, t * k]``, one column for each template and class; a hook chooses among them for each
    photo, so this head is not linear and cannot be exported.
    """
    embeddings = encode_classes(data, prompt_templates("openai"))
    t, k, d = embeddings.shape
    products = np.einsum("tkd,skd->kts", embeddings, embeddings).astype(np.float32)
    return MitigatedHead(
        weight=np.ascontiguousarray(embeddings.reshape(t * k, d).T, dtype=np.float32),
        logit_hook=partial(_best_templates, products=products, number=templates, scale=data.scale),
    )


def _best_templates(
    similarities: np.ndarray, *, products: np.ndarray, number: int, scale: float
) -> np.ndarray:
    """Return ``[n, k]`` logits of the best templates of each photo.

    Args:
        similarities: ``[n, t * k]``, of photos with every class in every template.
        products: ``[k, t, t]``, between the embeddings of one class in two templates; they give the length of
            the mean of any of them.
        number: how many templates a photo gets.
        scale: scale of the logits.
    """
    k, t, _ = products.shape
    similarities = similarities.reshape(-1, t, k)
    separation = similarities.max(axis=2) - similarities.min(axis=2)
    best = np.argsort(-separation, axis=1, kind="stable")[:, :number]
    chosen = np.zeros(separation.shape, dtype=np.float32)
    np.put_along_axis(chosen, best, 1 / number, axis=1)
    means = np.einsum("nt,ntk->nk", chosen, similarities)
    lengths = np.stack([((chosen @ each) * chosen).sum(axis=1) for each in products], axis=1)
    return np.asarray(scale * means / np.sqrt(lengths))


def sage_set(data: FitData, *, templates: int) -> MitigatedHead:
    """Choose templates as SAGE does, but the same for all photos: by the mean separation on these photos.

    Our variant of Ye et al. 2025 (see `sage`), so that the head stays linear and can be exported.
    """
    embeddings = encode_classes(data, prompt_templates("openai"))
    t, k, d = embeddings.shape
    weight = embeddings.reshape(t * k, d).T.astype(data.features.dtype)
    separation = np.ptp((data.features @ weight).reshape(-1, t, k), axis=2).mean(axis=0)
    best = np.argsort(-separation, kind="stable")[:templates]
    return MitigatedHead(weight=text_weight(data, embeddings[best].mean(axis=0)))


_SOURCE = "Ye et al. 2025, SAGE (arXiv 2511.13005)"

TEMPLATE_ENSEMBLE = Mitigation(
    name="template-ensemble",
    title="OpenAI's 80 prompt templates, averaged",
    source="Radford et al. 2021, section 3.1.4",
    fit=template_ensemble,
    needs=("texts",),
)
SAGE = Mitigation(
    name="sage",
    title="for each photo the templates that separate its classes most",
    source=_SOURCE,
    fit=sage,
    needs=("texts",),
    settings={"templates": (1, 5, 10)},
)
SAGE_SET = Mitigation(
    name="sage-set",
    title="the templates that separate the classes most on average",
    source=f"a variant of {_SOURCE}",
    fit=sage_set,
    needs=("texts",),
    settings={"templates": (1, 5, 10)},
)
