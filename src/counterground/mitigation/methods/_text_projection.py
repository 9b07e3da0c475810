"""Text embeddings without the background: averaged over backgrounds, or projected."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from counterground.mitigation._method import FitData, MitigatedHead, Mitigation, Need
from counterground.mitigation.methods._projection import rejection
from counterground.mitigation.methods._shared import (
    CLASS_ON_BACKGROUND,
    encode_backgrounds,
    encode_classes_on_backgrounds,
    text_weight,
)


def background_prompts(data: FitData, *, prompt: str) -> MitigatedHead:
    """Average the unit text embeddings of "class on background" over all backgrounds.

    An ensemble in embedding space (Radford et al. 2021, section 3.1.4) over backgrounds in place of
    templates: no class is then on one background more than another.
    """
    embeddings = encode_classes_on_backgrounds(data, "background-prompts", prompt)
    return MitigatedHead(weight=text_weight(data, embeddings.mean(axis=0)))


def text_projection(data: FitData) -> MitigatedHead:
    """Project the span of the background prompts out of the class embeddings.

    Chuang et al. 2023, "Debiasing vision-language models via biased prompts" (arXiv 2302.00070), orthogonal
    projection: ``P0 = I - A (A' A)^-1 A'``, where the columns of A are embeddings of backgrounds.
    """
    backgrounds = encode_backgrounds(data, "text-projection")
    return MitigatedHead(weight=text_weight(data, data.head.T.astype(np.float64) @ rejection(backgrounds)))


def text_calibration(data: FitData, *, strength: float) -> MitigatedHead:
    """Project backgrounds out of the class embeddings, and pull pairs that differ by background together.

    Chuang et al. 2023 (see `text_projection`), calibrated projection: of all P the one that minimises
    ``|P - P0|^2 + strength / |S| * sum of |P z_i - P z_j|^2`` over pairs S of prompts for one class on two
    backgrounds, ``P = P0 (I + strength / |S| * sum of (z_i - z_j) (z_i - z_j)')^-1``. Written as in the
    authors' code (chingyaoc/debias_vl, ``discriminative/main.py``), whose strength is 1000.
    """
    p0 = rejection(encode_backgrounds(data, "text-calibration"))
    prompts = encode_classes_on_backgrounds(data, "text-calibration", CLASS_ON_BACKGROUND, at_least=2)
    differences = np.concatenate([one - other for one, other in combinations(prompts, 2)])
    g = np.eye(len(p0)) + strength * differences.T @ differences / len(differences)
    # Rows z become z P' = z g^-1 P0, since g and P0 are symmetric.
    return MitigatedHead(weight=text_weight(data, data.head.T.astype(np.float64) @ np.linalg.solve(g, p0)))


_CHUANG = "Chuang et al. 2023 (arXiv 2302.00070)"
_NEEDS: frozenset[Need] = frozenset({"texts", "backgrounds"})

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
