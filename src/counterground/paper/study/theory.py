"""Definition 6.1 and theorem 6.2 (paper section 6, appendix D): simulated, exact, and as printed.

``z = (z_inv, z_spu)`` with ``z_inv ~ N(mu_inv y, s_inv^2)`` and ``z_spu ~ N(mu_spu a, s_spu^2)``; ``y`` is
uniform in {-1, 1} and ``Pr(a = y) = p_spu``. Image and text are ``x = D z + noise``, ``D`` with orthonormal
columns and noise ``N(0, s_xi^2 / d I)``. Derivations are in ``docs/research/theory.md``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import norm

from counterground.paper.settings import TheorySettings
from counterground.paper.study import Study, check_out, write_study
from counterground.paper.style import BLUE, ORANGE, PAGE, QUIET, new_figure
from counterground.text import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

OBJECT_ONLY = "object only"
MEAN_OF_CLASS = "mean of the class"
PROMPTS = (OBJECT_ONLY, MEAN_OF_CLASS)


@dataclass(frozen=True)
class Definition:
    """The parameters of definition 6.1; ``p_spu`` is that of training."""

    mu_spu: float
    p_spu: float
    mu_inv: float = 1.0
    s_inv: float = 1.0
    s_spu: float = 0.5
    s_xi: float = 1.0
    d_image: int = 32
    d_text: int = 24

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
    """Return the unbiased cross-covariance ``[d_image, d_text]``: all that the loss sees of the data.

    Divided by the weight of the regulariser it is the ``W_I^T W_T`` that minimises the loss (equation 1); the
    weight changes no answer.
    """
    covariance: Array = (image - image.mean(0)).T @ (text - text.mean(0)) / (len(image) - 1)
    return covariance


def moments(definition: Definition) -> Array:
    """Return ``[2, 2]``: E[z z^T] as it follows from definition 6.1 (the means are zero)."""
    inv = definition.mu_inv**2 + definition.s_inv**2
    spu = definition.mu_spu**2 + definition.s_spu**2
    cross = definition.mu_inv * definition.mu_spu * (2 * definition.p_spu - 1)
    return np.array([[inv, cross], [cross, spu]])


def prompt(definition: Definition, kind: str) -> Array:
    """Return the latent ``[2]`` of the prompt for y = 1: ``[1, 0]``, or E[z | y = 1]."""
    if kind == OBJECT_ONLY:
        return np.array([1.0, 0.0])
    return np.array([definition.mu_inv, definition.mu_spu * (2 * definition.p_spu - 1)])


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


_TEST = 40_000
# Exact values decide: simulated ones are noisy and may lie on either side of a bound.
_BOUNDS = {
    "error where the background misleads": ("exact_error_misleads", "printed_least_error_misleads"),
    "accuracy where it fits": ("exact_fits", "printed_least_accuracy_fits"),
}


def study_theory(out: Path | str, settings: TheorySettings | None = None) -> Path:
    """Simulate definition 6.1, put exact values and the printed bounds beside it; return the page's path.

    Args:
        out: folder of results, figures and page.
        settings: what is simulated.

    Raises:
        MissingExtraError: matplotlib is not installed.
        UsageError: the folder holds other files.
        CounterGroundError: the folder holds another study, or cannot be written.
    """
    out, settings = check_out(out, "theory"), settings or TheorySettings()
    grid = simulate_grid(settings)
    inside = grid.filter("in_theorem")
    bounds = [
        {"prompt": kind, "bound": what, "settings": len(rows), "kept": (rows[exact] >= rows[printed]).sum()}
        for kind, rows in ((kind, inside.filter(prompt=kind)) for kind in PROMPTS)
        for what, (exact, printed) in _BOUNDS.items()
    ]
    study = Study(
        "theory",
        "Why a contrastive model relies on the background",
        _answer(inside),
        "A photo has an object (y) and a background (a), which agree in most training pairs. A model that "
        "pulls matching images and captions together learns how the two features vary, so it uses both. "
        "The theorem prints other moments than definition 6.1 has; its proof is for the object-only prompt "
        "and a correlation near 1, and the prompt “mean of the class” is shown for comparison only.",
        {"grid": grid, "bounds": pl.DataFrame(bounds)},
        {"theory": partial(draw_theory, grid)},
        {
            "theory": "Left: accuracy by how often the background fits in training. Right: error where it "
            "misleads, and the lower bound printed in theorem 6.2; grey: outside the theorem's condition. "
            "Points: simulation, mean and s.d. over seeds; lines: exact.",
            "bounds": "Of the settings that meet the theorem's condition on mu_spu, those whose exact value "
            "is at least the printed bound",
            "grid": "Every setting, fractions",
        },
        settings.given() | {"test_pairs": _TEST, "definition": asdict(Definition(1.5, 0.9))},
    )
    return write_study(study, out)


def simulate_grid(settings: TheorySettings) -> pl.DataFrame:
    """Return fractions by mu_spu, p_spu and prompt: simulated mean and s.d., exact, as in theorem 6.2."""
    return pl.DataFrame(
        _measure(Definition(mu_spu=mu, p_spu=p), settings, kind)
        for mu in dict.fromkeys(settings.mu_spu)
        for p in dict.fromkeys(settings.p_spu)
        for kind in PROMPTS
    )


def _measure(definition: Definition, settings: TheorySettings, kind: str) -> dict[str, object]:
    seeds = settings.seeds
    runs = np.array([_simulate(definition, settings, seed, kind) for seed in range(seeds)])
    mean, spread = runs.mean(0), runs.std(0, ddof=1) if seeds > 1 else np.full(2, np.nan)
    fits, misleads = exact_accuracy(definition, kind)
    least_accuracy, least_error = printed_bounds(definition)
    return {
        "mu_spu": definition.mu_spu,
        "p_spu": definition.p_spu,
        "prompt": kind,
        "in_theorem": definition.in_theorem,
        "n": settings.n,
        "seeds": seeds,
        "accuracy_fits": mean[0],
        "accuracy_fits_sd": spread[0],
        "exact_fits": fits,
        "printed_least_accuracy_fits": least_accuracy,
        "error_misleads": 1 - mean[1],
        "error_misleads_sd": spread[1],
        "exact_error_misleads": 1 - misleads,
        "printed_least_error_misleads": least_error,
    }


def _simulate(definition: Definition, settings: TheorySettings, seed: int, kind: str) -> tuple[float, float]:
    frames = dictionaries(definition, seed)
    train = draw(definition, settings.n, frames, 2 * seed + 1)
    product = cross_covariance(train.image, train.text)
    test = draw(definition, _TEST, frames, 2 * seed + 2, p_spu=0.5)
    correct = zero_shot_correct(product, test.image, test.y, frames[1], prompt(definition, kind))
    fits = test.a == test.y
    return float(correct[fits].mean()), float(correct[~fits].mean())


def _answer(inside: pl.DataFrame) -> str:
    # The printed proof is for the object-only prompt: its bound must not be shown beside another one.
    near = inside.filter(prompt=OBJECT_ONLY).sort(
        (pl.col("mu_spu") - 1.5).abs(), (pl.col("p_spu") - 0.9).abs(), maintain_order=True
    )
    row = near.row(0, named=True)
    return (
        f"With a background {row['mu_spu']:g} times as strong as the object that fits it in "
        f"{100 * row['p_spu']:g} % of the training pairs, the model is wrong on "
        f"{percent(row['error_misleads'])} % of the pairs where the background misleads, if prompts name the "
        f"object only (exact: {percent(row['exact_error_misleads'])} %, printed lower bound: "
        f"{percent(row['printed_least_error_misleads'])} %)."
    )


def draw_theory(grid: pl.DataFrame) -> Figure:
    """Draw the effect of the background, and how tight the bound is."""
    figure = new_figure(PAGE, 0.44 * PAGE)
    left, right = figure.subplots(1, 2)
    strength = min(grid["mu_spu"], key=lambda mu: abs(mu - 1.5))
    often = min(grid["p_spu"], key=lambda p: abs(p - 0.9))
    _draw_correlation(left, grid.filter(mu_spu=strength, prompt=MEAN_OF_CLASS), strength)
    _draw_strength(right, grid.filter(p_spu=often), often)
    for axes in (left, right):
        axes.set_ylim(0, 102)
        axes.grid(axis="y")
        axes.legend()
    return figure


def _draw_correlation(axes: Axes, seen: pl.DataFrame, strength: float) -> None:
    p = np.linspace(0.5, 1, 101)
    exact = 100 * np.array([exact_accuracy(Definition(strength, value), MEAN_OF_CLASS) for value in p]).T
    fits, misleads = seen["accuracy_fits"], 1 - seen["error_misleads"]
    for line, accuracy, sd, colour, shape, what in (
        (exact[0], fits, "accuracy_fits_sd", BLUE, "o", "fits"),
        (exact[1], misleads, "error_misleads_sd", ORANGE, "s", "misleads"),
    ):
        axes.plot(100 * p, line, color=colour)
        x, spread, label = 100 * seen["p_spu"], 100 * seen[sd], f"background {what}"
        axes.errorbar(x, 100 * accuracy, spread, fmt=shape, color=colour, label=label)
    axes.set_xlabel("pairs whose background fits, in training (%)")
    axes.set_ylabel("zero-shot accuracy (%)")
    axes.set_title(f"Background {strength:g} times as strong as the object")


def _draw_strength(axes: Axes, seen: pl.DataFrame, often: float) -> None:
    mu = np.linspace(1, 3, 101)
    axes.axvspan(1, 1.5, color="#eef0f3", zorder=0)
    for kind, label, colour, shape in (
        (MEAN_OF_CLASS, "exact, prompt E[z | y]", ORANGE, "s"),
        (OBJECT_ONLY, "exact, object-only prompt", BLUE, "o"),
    ):
        exact = [100 - 100 * exact_accuracy(Definition(value, often), kind)[1] for value in mu]
        axes.plot(mu, exact, color=colour, label=label)
        rows = seen.filter(prompt=kind)
        error, spread = 100 * rows["error_misleads"], 100 * rows["error_misleads_sd"]
        axes.errorbar(rows["mu_spu"], error, spread, fmt=shape, color=colour)
    bound = [100 * printed_bounds(Definition(value, often))[1] for value in mu]
    axes.plot(mu, bound, color=QUIET, linestyle="--", label="printed lower bound")
    axes.set_xlabel("strength of the background, mu_spu (object: 1)")
    axes.set_ylabel("error where the background misleads (%)")
    axes.set_title(f"Background fits in {100 * often:g} % of training")
