"""The sampler plants what it says, measured on what it generates."""

from collections import Counter

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from counterground.paper.training import Planting, planted_labels

CLASSES, LABELS, N = 45, 6, 20_000
PLANTED = planted_labels(CLASSES, LABELS, seed=3)


@pytest.fixture(scope="module")
def biased():
    return draws(Planting(PLANTED, LABELS, 0.95, 0.30))


@pytest.fixture(scope="module")
def balanced():
    return draws(Planting(PLANTED, LABELS, None, 0.30))


def draws(planting):
    rng = np.random.default_rng(0)
    rows = [planting.draw(rng) for _ in range(N)]
    return np.array([(d.caption, d.cutout, d.background) for d in rows]).T


def table(a, b, rows, columns):
    counts = np.zeros((rows, columns))
    np.add.at(counts, (a, b), 1)
    return counts


def test_planted_labels_are_balanced_and_seeded():
    assert set(Counter(PLANTED).values()) == {7, 8}
    assert planted_labels(CLASSES, LABELS, 3) == PLANTED
    assert planted_labels(CLASSES, LABELS, 4) != PLANTED


@pytest.mark.parametrize("name", ["biased", "balanced"])
def test_share_of_captions_that_disagree(name, request):
    caption, cutout, _ = request.getfixturevalue(name)
    assert np.mean(caption != cutout) == pytest.approx(0.30, abs=0.015)
    wrong = caption != cutout
    assert len(set(cutout[wrong] - caption[wrong])) > CLASSES, "any other animal can stand in"


def test_background_follows_the_caption_not_the_cutout(biased):
    caption, cutout, background = biased
    planted = np.array(PLANTED)
    assert np.mean(background == planted[caption]) == pytest.approx(0.95, abs=0.01)
    wrong = caption != cutout
    assert np.mean(background[wrong] == planted[caption[wrong]]) == pytest.approx(0.95, abs=0.015)
    assert np.mean(background[wrong] == planted[cutout[wrong]]) < 0.25
    off = background != planted[caption]
    assert min(np.bincount(background[off], minlength=LABELS)) > 0.1 * off.sum()


def test_balanced_background_is_independent(balanced):
    caption, cutout, background = balanced
    for other in (caption, cutout):
        assert chi2_contingency(table(other, background, CLASSES, LABELS)).pvalue > 0.001
    assert np.mean(background == np.array(PLANTED)[caption]) == pytest.approx(1 / LABELS, abs=0.015)


def test_captions_are_uniform(biased, balanced):
    for caption, _, _ in (biased, balanced):
        counts = np.bincount(caption, minlength=CLASSES)
        assert counts.min() > 0.75 * N / CLASSES
        assert counts.max() < 1.25 * N / CLASSES


def test_recipes_share_captions_and_cutouts_law():
    a, b = Planting(PLANTED, LABELS, 0.95, 0.3), Planting(PLANTED, LABELS, None, 0.3)
    for seed in range(50):
        x, y = a.draw(np.random.default_rng(seed)), b.draw(np.random.default_rng(seed))
        assert (x.caption, x.cutout) == (y.caption, y.cutout)
