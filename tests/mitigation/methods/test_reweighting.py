"""Last layers fitted again, against other solvers and a plain loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from toy_world import World, fit

WORLD = World(d=12)
PHOTOS = WORLD.photos(320, 0.7)
DATA = WORLD.data(PHOTOS)


def few_classes(number):
    """The same photos with the classes counted modulo ``number``."""
    world = World(d=12, classes=WORLD.classes[:number])
    photos = world.photos(240, 0.7)
    return photos, world.data(photos)


def constant_groups(sizes):
    """Photos whose features are those of their group, so that which of them are drawn changes nothing."""
    _, data = few_classes(3)
    vectors = np.random.default_rng(1).normal(size=(len(sizes), 12)).astype(np.float32)
    group = np.repeat(np.arange(len(sizes)), sizes)
    made = replace(
        data,
        features=vectors[group],
        class_index=group % 3,
        background=np.array([WORLD.backgrounds[each // 3] for each in group], dtype=object),
    )
    return made, vectors


def l1_logistic(features, positive, c):
    """Minimise |w| + |b| + c * log-loss, as liblinear does, with w split in two positive parts."""
    inputs = np.hstack([features, np.ones((len(features), 1))])
    sign = np.where(positive, 1.0, -1.0)
    width = inputs.shape[1]

    def objective(parts):
        margin = sign * (inputs @ (parts[:width] - parts[width:]))
        slope = -c * inputs.T @ (sign / (1 + np.exp(margin)))
        return parts.sum() + c * np.logaddexp(0, -margin).sum(), np.concatenate([1 + slope, 1 - slope])

    bounds = [(0, None)] * (2 * width)
    options = {"maxiter": 5000, "ftol": 1e-14, "gtol": 1e-9}
    parts = minimize(objective, np.zeros(2 * width), jac=True, bounds=bounds, options=options).x
    return parts[:width] - parts[width:]


def test_dfr_is_an_l1_regression_on_as_many_photos_of_each_group_as_the_smallest_has():
    sizes = [9, 4, 7, 5, 4, 6]
    data, vectors = constant_groups(sizes)
    scaler = StandardScaler().fit(data.features.astype(float))
    drawn = np.repeat(scaler.transform(vectors), 4, axis=0)
    labels = np.repeat(np.arange(6) % 3, 4)
    probe = np.random.default_rng(2).normal(size=(20, 12)).astype(np.float32)
    expected = np.hstack([scaler.transform(probe), np.ones((20, 1))]) @ np.stack(
        [l1_logistic(drawn, labels == each, 2.0) for each in range(3)], axis=1
    )
    found = fit("dfr", data, c=2.0, draws=3).logits(probe)
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


def test_of_two_classes_dfr_is_the_authors_single_regression():
    photos, data = few_classes(2)
    groups = list(zip(photos.class_index, photos.background, strict=True))
    smallest = min(groups.count(each) for each in set(groups))
    rows = np.concatenate(
        [[at for at, own in enumerate(groups) if own == each][:smallest] for each in set(groups)]
    )
    balanced = replace(
        data,
        features=data.features[rows],
        class_index=data.class_index[rows],
        background=data.background[rows],
    )
    scaler = StandardScaler().fit(balanced.features.astype(float))
    regression = LogisticRegression(l1_ratio=1, C=1.0, solver="liblinear", tol=1e-8, max_iter=10_000)
    regression.fit(scaler.transform(balanced.features.astype(float)), balanced.class_index)
    logits = fit("dfr", balanced, c=1.0).logits(photos.features)
    expected = regression.decision_function(scaler.transform(photos.features.astype(float)))
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], expected, atol=0.01 * np.abs(expected).max())


def test_dfr_draws_by_its_seed():
    one, again, other = (fit("dfr", replace(DATA, seed=seed), c=1.0).weight for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-3


@pytest.mark.parametrize(("gamma", "strength"), [(0.0, 0.1), (6.0, 0.02)])
def test_afr_stands_where_the_authors_loss_has_no_slope(gamma, strength):
    """Their loss, differentiated by PyTorch; it is strictly convex, so it has one such point."""
    head = fit("afr", DATA, gamma=gamma, strength=strength)
    inputs = DATA.scale * torch.from_numpy(PHOTOS.features).double()
    labels = torch.from_numpy(PHOTOS.class_index)
    own = torch.from_numpy(DATA.head).double()
    weights = torch.exp(-gamma * torch.softmax(inputs @ own, 1)[torch.arange(320), labels])
    for each in range(8):
        weights[labels == each] *= 320 / (labels == each).sum()
    weights /= weights.sum()

    def slope(weight, bias):
        weight, bias = weight.clone().requires_grad_(), bias.clone().requires_grad_()
        losses = torch.nn.functional.cross_entropy(inputs @ weight + bias, labels, reduction="none")
        loss = (weights * losses).sum() + strength * ((weight - own).square().sum() + bias.square().sum())
        loss.backward()
        return float(torch.cat([weight.grad.ravel(), bias.grad]).norm())

    fitted = (
        torch.from_numpy(head.weight).double() / DATA.scale,
        torch.from_numpy(head.bias).double(),
    )
    assert slope(*fitted) < 1e-3 * slope(own, torch.zeros(8).double())


def dro_loop(features, labels, groups, head, l2):
    """Algorithm 1 on all photos at once: 150 steps, rate 2, momentum 0.9, step of the groups 0.01."""
    centred = features - features.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=1).mean())
    inputs = np.hstack([centred / length, np.ones((len(features), 1))])
    layer = np.vstack([length * head, features.mean(axis=0) @ head])
    speed, share = np.zeros_like(layer), dict.fromkeys(set(groups), 1.0)
    members = {each: np.array([own == each for own in groups]) for each in share}
    for _ in range(150):
        odds = np.exp(inputs @ layer)
        chance = odds / odds.sum(axis=1, keepdims=True)
        losses = -np.log(chance[np.arange(len(labels)), labels])
        share = {each: old * np.exp(0.01 * losses[members[each]].mean()) for each, old in share.items()}
        total = sum(share.values())
        share = {each: value / total for each, value in share.items()}
        weight = np.array([share[own] / members[own].sum() for own in groups])
        gradient = inputs.T @ ((chance - np.eye(8)[labels]) * weight[:, None]) + l2 * layer
        speed = 0.9 * speed + gradient
        layer = layer - 2 * speed
    return inputs @ layer


@pytest.mark.parametrize("l2", [0.0, 0.01])
def test_group_dro_is_the_loop_of_its_authors(l2):
    groups = list(zip(PHOTOS.class_index, PHOTOS.background, strict=True))
    inputs, head = DATA.scale * PHOTOS.features.astype(float), DATA.head.astype(float)
    expected = dro_loop(inputs, PHOTOS.class_index, groups, head, l2)
    found = fit("group-dro", DATA, l2=l2).logits(PHOTOS.features)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
