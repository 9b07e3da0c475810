"""Simulation, closed form, gradient descent and exact formula must agree; the printed ones by hand."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from counterground.paper.study import theory

PLAIN = theory.Definition(mu_spu=1.5, p_spu=0.9)


def trained(definition, n=20_000, seed=0):
    frames = theory.dictionaries(definition, seed)
    sample = theory.draw(definition, n, frames, seed + 1)
    return frames, sample, theory.cross_covariance(sample.image, sample.text)


def contrastive_loss(w_image, w_text, image, text, rho):
    """Loss (1), term by term as it is printed."""
    s = (image @ w_image.T) @ (text @ w_text.T).T
    n = len(s)
    terms = [(s[i, j] - s[i, i]) / 2 + (s[j, i] - s[i, i]) / 2 for i in range(n) for j in range(n) if i != j]
    return sum(terms) / (n * (n - 1)) + rho / 2 * np.linalg.norm(w_image.T @ w_text, "fro") ** 2


def gradients(w_image, w_text, covariance, rho):
    by_product = rho * w_image.T @ w_text - covariance
    return w_text @ by_product.T, w_image @ by_product


def test_the_sampler_follows_the_definition():
    frames = theory.dictionaries(PLAIN, 0)
    for frame in frames:
        np.testing.assert_allclose(frame.T @ frame, np.eye(2), atol=1e-12)
    sample = theory.draw(PLAIN, 200_000, frames, 1)
    assert np.mean(sample.a == sample.y) == pytest.approx(0.9, abs=0.003)
    assert np.mean(sample.y) == pytest.approx(0, abs=0.01)
    z = sample.image @ frames[0]
    assert np.mean(z[:, 0] * sample.y) == pytest.approx(1, abs=0.01)
    assert np.mean(z[:, 1] * sample.a) == pytest.approx(1.5, abs=0.01)
    assert np.var(z[:, 0] - sample.y) == pytest.approx(1 + 1 / 32, abs=0.02)
    assert np.var(z[:, 1] - 1.5 * sample.a) == pytest.approx(0.25 + 1 / 32, abs=0.02)
    out = theory.draw(PLAIN, 200_000, frames, 1, p_spu=0.5)
    assert np.mean(out.a == out.y) == pytest.approx(0.5, abs=0.005)


def test_the_gradient_is_that_of_the_loss():
    rng = np.random.default_rng(1)
    image, text = rng.normal(size=(7, 4)), rng.normal(size=(7, 3))
    weights = [rng.normal(size=(2, 4)), rng.normal(size=(2, 3))]
    found = gradients(*weights, theory.cross_covariance(image, text), 0.3)
    for which in (0, 1):
        for place in np.ndindex(*weights[which].shape):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [w.copy() for w in weights]
                moved[which][place] += step
                ends.append(contrastive_loss(*moved, image, text, 0.3))
            assert found[which][place] == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-6)


@pytest.mark.parametrize("width", [6, 2])
def test_gradient_descent_reaches_the_minimiser(width):
    definition = dataclasses.replace(PLAIN, d_image=6, d_text=5, s_xi=0.5)
    frames = theory.dictionaries(definition, 0)
    sample = theory.draw(definition, 500, frames, 1)
    covariance = theory.cross_covariance(sample.image, sample.text)
    rng = np.random.default_rng(0)
    w_image, w_text = (rng.normal(0, 0.1, (width, d)) for d in covariance.shape)
    for _ in range(30_000):
        by_image, by_text = gradients(w_image, w_text, covariance, 0.5)
        w_image, w_text = w_image - 0.05 * by_image, w_text - 0.05 * by_text
    left, values, right = np.linalg.svd(covariance / 0.5, full_matrices=False)
    best = (left[:, :width] * values[:width]) @ right[:width]  # of rank `width` at most (Eckart-Young)
    np.testing.assert_allclose(w_image.T @ w_text, best, atol=1e-3)
    losses = [
        contrastive_loss(a, b, sample.image, sample.text, 0.5)
        for a, b in ((w_image, w_text), (w_image * 1.01, w_text), (w_image * 0.99, w_text))
    ]
    assert min(losses) == losses[0]


def test_the_minimiser_tends_to_the_moments():
    frames, _, product = trained(PLAIN, n=400_000)
    inside = frames[0].T @ product @ frames[1]
    np.testing.assert_allclose(inside, theory.moments(PLAIN), atol=0.04)


@pytest.mark.slow
@pytest.mark.parametrize("mu_spu", [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("p_spu", [0.6, 0.9, 0.99])
@pytest.mark.parametrize("kind", theory.PROMPTS)
def test_the_exact_formula_equals_the_simulation(mu_spu, p_spu, kind):
    definition = theory.Definition(mu_spu=mu_spu, p_spu=p_spu)
    frames, _, product = trained(definition)
    test = theory.draw(definition, 60_000, frames, 9, p_spu=0.5)
    correct = theory.zero_shot_correct(
        product, test.image, test.y, frames[1], theory.prompt(definition, kind)
    )
    agree = test.a == test.y
    exact = theory.exact_accuracy(definition, kind)
    assert (correct[agree].mean(), correct[~agree].mean()) == pytest.approx(exact, abs=0.012)


@given(
    st.floats(1, 4), st.floats(0.5, 1), st.floats(0.3, 2), st.floats(0.05, 1), st.sampled_from(theory.PROMPTS)
)
def test_spurious_features_help_where_they_agree_and_hurt_where_not(mu_spu, p_spu, s_inv, s_spu, kind):
    definition = theory.Definition(mu_spu=mu_spu, p_spu=p_spu, s_inv=s_inv, s_spu=s_spu)
    agree, differ = theory.exact_accuracy(definition, kind)
    assert agree >= differ - 1e-12
    assert theory.exact_accuracy(dataclasses.replace(definition, p_spu=0.5), kind) == pytest.approx(
        (norm.cdf(1 / np.hypot(s_inv, 1 / np.sqrt(32))),) * 2, abs=1e-9
    )


def test_the_printed_formulae_by_hand():
    # s_inv = 1, s_spu = 0.5, mu_spu = 1.5, p_spu = 0.9: 2 mu p = 2.7, R^2 = 4 + 1.7^2 / 4 = 4.7225.
    spread = 4.7225**0.5
    where_equal, where_not = theory.printed_bounds(PLAIN)
    assert where_equal == pytest.approx(1 - norm.cdf(-3.7 / spread), abs=1e-12)
    assert where_not == pytest.approx(1 - norm.cdf(0.3 / spread), abs=1e-12)
    assert where_not == pytest.approx(0.445, abs=0.0005)
    np.testing.assert_allclose(theory.moments(PLAIN), [[2, 1.2], [1.2, 2.5]])


def test_where_the_printed_moments_are_those_of_the_definition():
    at_one = theory.Definition(mu_spu=1.0, p_spu=0.8, s_xi=0.0)
    np.testing.assert_allclose(theory.moments(at_one), [[1 + 1, 2 * 0.8 - 1], [2 * 0.8 - 1, 1 + 0.25]])
    agree, differ = theory.exact_accuracy(at_one, theory.OBJECT_ONLY)
    assert theory.printed_bounds(at_one) == pytest.approx((agree, 1 - differ), abs=1e-12)
    assert not at_one.in_theorem
    assert theory.Definition(mu_spu=1.5, p_spu=0.8).in_theorem


@given(st.floats(1.5, 5), st.floats(0.8, 1))
def test_the_printed_bound_holds_within_the_theorems_conditions(mu_spu, p_spu):
    definition = theory.Definition(mu_spu=mu_spu, p_spu=p_spu, s_xi=0.0)
    _, differ = theory.exact_accuracy(definition, theory.MEAN_OF_CLASS)
    assert 1 - differ >= theory.printed_bounds(definition)[1] - 1e-12
