"""Template ensembles and SAGE, against loops over photos and templates."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.preprocessing import normalize
from toy_world import World, fit

from counterground.photos import prompt_templates

WORLD = World(d=24)
PHOTOS = WORLD.photos(40, 0.9)
DATA = WORLD.data(PHOTOS)
TEMPLATES = prompt_templates("openai")


def embedded(name):
    return WORLD.encode_texts([template.replace("{}", name) for template in TEMPLATES]).astype(float)


BY_CLASS = [embedded(name) for name in WORLD.classes]


def authors_sage(photo, number):
    """Class SAGE of the authors' code for one photo: templates by max minus min over classes; their mean."""
    similarity = np.array([[photo @ own[t] for own in BY_CLASS] for t in range(len(TEMPLATES))])
    best = sorted(range(len(TEMPLATES)), key=lambda t: similarity[t].min() - similarity[t].max())[:number]
    return photo @ normalize([own[best].mean(axis=0) for own in BY_CLASS]).T


def test_an_ensemble_is_the_normalised_mean_of_80_unit_embeddings():
    expected = normalize([own.mean(axis=0) for own in BY_CLASS])
    weight = fit("template-ensemble", DATA).weight
    assert weight.dtype == np.float32
    np.testing.assert_allclose(weight.T / DATA.scale, expected, atol=1e-6)


@pytest.mark.parametrize("number", [1, 4])
def test_sage_is_the_authors_choice_for_each_photo(number):
    found = fit("sage", DATA, templates=number).logits(PHOTOS.features)
    expected = [authors_sage(photo.astype(float), number) for photo in PHOTOS.features]
    np.testing.assert_allclose(found / DATA.scale, expected, atol=1e-5)


def test_a_photo_gets_the_same_scores_alone_as_among_others():
    head = fit("sage", DATA, templates=3)
    alone = np.concatenate([head.logits(PHOTOS.features[row : row + 1]) for row in range(5)])
    np.testing.assert_allclose(alone, head.logits(PHOTOS.features)[:5], atol=1e-3)


def test_one_choice_for_all_photos_has_the_largest_mean_separation():
    separation = [
        np.mean([np.ptp([photo @ own[t] for own in BY_CLASS]) for photo in PHOTOS.features])
        for t in range(len(TEMPLATES))
    ]
    best = np.argsort(separation)[::-1][:3]
    head = fit("sage-set", DATA, templates=3)
    expected = normalize([own[best].mean(axis=0) for own in BY_CLASS])
    np.testing.assert_allclose(head.weight.T / DATA.scale, expected, atol=1e-6)
    assert head.logit_hook is None
