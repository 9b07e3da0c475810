"""Definition 6.1 and what a linear contrastive model learns from it, exactly (paper section 6, appendix D).

``z = (z_inv, z_spu)`` with ``z_inv ~ N(mu_inv y, s_inv^2)`` and ``z_spu ~ N(mu_spu a, s_spu^2)``; ``y`` is
uniform in {-1, 1} and ``Pr(a = y) = p_spu``. Image and text are ``x = D z + noise``, ``D`` with orthonormal
columns and noise ``N(0, s_xi^2 / d I)``. Everything here is a pure function of arrays; derivations are in
``docs/theory.md``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Array = NDArray[np.float64]

OBJECT_ONLY = "object only"
MEAN_OF_CLASS = "mean of the class"
PROMPTS = (OBJECT_ONLY, MEAN_OF_CLASS)


@dataclass(frozen=True)
class Definition:
    """The parameters of definition 6.1; ``p_spu`` is that of training.

    Raises:
        ValueError: a probability outside 0 to 1, a negative deviation, or fewer than two dimensions.
    """

    mu_spu: float
    p_spu: float
    mu_inv: float = 1.0
    s_inv: float = 1.0
    s_spu: float = 0.5
    s_xi: float = 1.0
    d_image: int = 32
    d_text: int = 24

    def __post_init__(self) -> None:
        if not 0 <= self.p_spu <= 1:
            raise ValueError(f"p_spu is a probability, not {self.p_spu}")
        if min(self.s_inv, self.s_spu, self.s_xi) < 0:
            raise ValueError("standard deviations are not negative")
        if min(self.d_image, self.d_text) < 2:
            raise ValueError("images and texts need at least two dimensions, one per feature")

    @property
    def in_theorem(self) -> bool:
        """Whether theorem 6.2 covers it: mu_inv = 1, s_inv > s_spu, mu_spu >= (s_inv^2 + 2) / 2."""
        return self.mu_inv == 1 and self.s_inv > self.s_spu and self.mu_spu >= (self.s_inv**2 + 2) / 2


@dataclass(frozen=True)
class Sample:
    """``image [n, d_image]`` and ``text [n, d_text]`` of the same ``z``; ``y`` and ``a`` in {-1, 1}."""

    image: Array
    text: Array
    y: Array
    a: Array


def dictionaries(definition: Definition, seed: int) -> tuple[Array, Array]:
    """Return ``D_image [d_image, 2]`` and ``D_text [d_text, 2]``, random with orthonormal columns."""
    rng = np.random.default_rng(seed)
    drawn = (rng.normal(size=(d, 2)) for d in (definition.d_image, definition.d_text))
    image, text = (np.linalg.qr(matrix)[0] for matrix in drawn)
    return image, text


def draw(
    definition: Definition, n: int, frames: tuple[Array, Array], seed: int, *, p_spu: float | None = None
) -> Sample:
    """Draw ``n`` pairs; ``p_spu`` replaces the definition's, as the OOD test does with 1/2."""
    rng = np.random.default_rng(seed)
    y = rng.choice([-1.0, 1.0], n)
    a = np.where(rng.random(n) < (definition.p_spu if p_spu is None else p_spu), y, -y)
    z = np.stack(
        [
            rng.normal(definition.mu_inv * y, definition.s_inv),
            rng.normal(definition.mu_spu * a, definition.s_spu),
        ],
        axis=1,
    )
    image, text = (
        z @ frame.T + rng.normal(0, definition.s_xi / np.sqrt(len(frame)), (n, len(frame)))
        for frame in frames
    )
    return Sample(image, text, y, a)


def cross_covariance(image: Array, text: Array) -> Array:
    """Return the unbiased cross-covariance ``[d_image, d_text]``: all that the loss sees of the data."""
    covariance: Array = (image - image.mean(0)).T @ (text - text.mean(0)) / (len(image) - 1)
    return covariance


def minimiser(covariance: Array, rho: float) -> Array:
    """Return the ``W_I^T W_T``, ``[d_image, d_text]``, that minimises the loss (equation 1)."""
    return covariance / rho


def moments(definition: Definition) -> Array:
    """Return ``[2, 2]``: E[z z^T] as it follows from definition 6.1 (the means are zero)."""
    inv = definition.mu_inv**2 + definition.s_inv**2
    spu = definition.mu_spu**2 + definition.s_spu**2
    cross = definition.mu_inv * definition.mu_spu * (2 * definition.p_spu - 1)
    return np.array([[inv, cross], [cross, spu]])


def prompt(definition: Definition, kind: str) -> Array:
    """Return the latent ``[2]`` of the prompt for y = 1: ``[1, 0]``, or E[z | y = 1].

    Raises:
        ValueError: ``kind`` is not one of ``PROMPTS``.
    """
    if kind == OBJECT_ONLY:
        return np.array([1.0, 0.0])
    if kind == MEAN_OF_CLASS:
        return np.array([definition.mu_inv, definition.mu_spu * (2 * definition.p_spu - 1)])
    raise ValueError(f"there is no prompt {kind!r}; use one of {PROMPTS}")


def zero_shot_correct(
    product: Array, image: Array, y: Array, text_frame: Array, latent: Array
) -> NDArray[np.bool_]:
    """Return ``[n]``: whether the closer prompt (``D_T t`` for 1, ``-D_T t`` for -1) is that of the label.

    Args:
        product: ``W_I^T W_T``, ``[d_image, d_text]``.
        image: ``[n, d_image]``.
        y: ``[n]`` in {-1, 1}.
        text_frame: ``D_T``, ``[d_text, 2]``.
        latent: ``t``, ``[2]``.
    """
    correct: NDArray[np.bool_] = (image @ product @ (text_frame @ latent)) * y > 0
    return correct


def exact_accuracy(definition: Definition, kind: str) -> tuple[float, float]:
    """Return the accuracy (fractions) where a = y and where a != y, for infinite data, from the definition.

    Includes the noise of images, which the theorem's o(1) drops.
    """
    w = moments(definition) @ prompt(definition, kind)
    noise = definition.s_xi**2 / definition.d_image
    deviation = np.sqrt((definition.s_inv**2 + noise) * w[0] ** 2 + (definition.s_spu**2 + noise) * w[1] ** 2)
    agree, differ = (
        float(norm.cdf((definition.mu_inv * w[0] + side * definition.mu_spu * w[1]) / deviation))
        for side in (1, -1)
    )
    return agree, differ


def printed_bounds(definition: Definition) -> tuple[float, float]:
    """Return theorem 6.2 as printed, without o(1): least accuracy where a = y, least error where a != y."""
    s, p, mu = definition.s_inv**2, definition.p_spu, definition.mu_spu
    spread = np.sqrt((1 + s) ** 2 * s + (2 * mu * p - 1) ** 2 * definition.s_spu**2)
    where_equal = float(norm.sf((-2 * mu * p - s) / spread))
    where_not = float(norm.sf((s + 2 - 2 * mu * p) / spread))
    return where_equal, where_not
