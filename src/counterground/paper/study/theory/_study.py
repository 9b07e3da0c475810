"""The theorem against simulation: how much the background misleads, and how tight the printed bound is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from counterground.errors import UsageError
from counterground.paper.study._study import Study, check_out, check_setting, text_table, write_study
from counterground.paper.study.theory._theory import (
    MEAN_OF_CLASS,
    OBJECT_ONLY,
    PROMPTS,
    Definition,
    cross_covariance,
    dictionaries,
    draw,
    exact_accuracy,
    minimiser,
    printed_bounds,
    prompt,
    zero_shot_correct,
)
from counterground.results import Table, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_STRONGEST = 1_000_000
_TEST = 40_000
_WIDE_TEST = 5_000  # in more than 512 dimensions, where 40,000 pairs would take much memory
_FITS, _MISLEADS, _BOUND = "#0072b2", "#d55e00", "#6b7280"  # distinct for colour-blind readers


@dataclass(frozen=True)
class TheorySettings:
    """What is simulated: pairs for training, seeds, strengths and correlations of the background.

    ``rho`` is the weight of the loss's regulariser (equation 1). ``wide``: pairs for training and their
    dimension, for dimensions larger than the number of pairs.

    Raises:
        UsageError: a value that cannot be simulated.
    """

    n: int = 20_000
    seeds: int = 5
    mu_spu: tuple[float, ...] = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
    p_spu: tuple[float, ...] = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
    rho: float = 1.0
    wide: tuple[tuple[int, int], ...] = ((500, 2_000), (2_000, 4_000))

    def __post_init__(self) -> None:
        if self.seeds < 1 or self.n < 2:
            raise UsageError(f"A simulation needs 1 seed and 2 pairs, not {self.seeds} and {self.n}.")
        check_setting("mu_spu", self.mu_spu, lambda mu: 0 <= mu <= _STRONGEST, f"from 0 to {_STRONGEST:,}")
        check_setting("p_spu", self.p_spu, lambda p: 0 <= p <= 1, "a probability")
        check_setting("rho", [self.rho], lambda rho: 0 < rho < np.inf, "above 0")
        if self.wide:
            both = "two numbers from 2, pairs and dimension"
            check_setting("wide", self.wide, lambda wide: len(wide) == 2 and min(wide) >= 2, both)


QUICK = TheorySettings(n=5_000, seeds=2, mu_spu=(1.0, 1.5, 3.0), p_spu=(0.6, 0.9, 0.99), wide=((500, 1_000),))


def study_theory(out: Path | str, settings: TheorySettings) -> Path:
    """Simulate definition 6.1, put exact values and the printed bounds beside it; return the page's path.

    Args:
        out: folder of results, figures and page.
        settings: what is simulated.

    Raises:
        MissingExtraError: matplotlib is not installed.
        UsageError: theorem 6.2 covers none of the strengths and correlations of the background, or the folder
            holds other files.
        CounterGroundError: the folder holds another study, or cannot be written.
    """
    started = time.monotonic()
    out = Path(out)
    if not any(Definition(mu_spu=mu, p_spu=p).in_theorem for mu in settings.mu_spu for p in settings.p_spu):
        raise UsageError(
            "Theorem 6.2 is about backgrounds at least 1.5 times as strong as the object: add such a mu_spu."
        )
    check_out(out, "theory")
    grid = simulate_grid(settings)
    sweeps = simulate_sweeps(settings)
    study = Study(
        "theory",
        "Why a contrastive model relies on the background",
        _answer(grid),
        _facts(grid, sweeps),
        {"grid": grid, "sweeps": sweeps},
        {"theory": draw_theory(grid, settings)},
        asdict(settings) | {"test_pairs": _TEST, "definition": asdict(Definition(1.5, 0.9))},
    )
    return write_study(study, out, seconds=time.monotonic() - started)


def simulate_grid(settings: TheorySettings) -> pl.DataFrame:
    """Return fractions by mu_spu, p_spu and prompt: simulated mean and s.d., exact, as in theorem 6.2."""
    rows = [
        _measure(Definition(mu_spu=mu, p_spu=p), settings.n, settings.rho, settings.seeds, kind)
        for mu in dict.fromkeys(settings.mu_spu)
        for p in dict.fromkeys(settings.p_spu)
        for kind in PROMPTS
    ]
    return pl.DataFrame(rows)


def simulate_sweeps(settings: TheorySettings) -> pl.DataFrame:
    """Return the same rows with one thing varied at a time: pairs, dimension, noise, rho."""
    base = Definition(mu_spu=1.5, p_spu=0.9)
    return pl.DataFrame(
        {"sweep": what, "value": value} | _measure(definition, n, rho, settings.seeds, kind)
        for what, value, definition, n, rho in _sweeps(base, settings)
        for kind in PROMPTS
    )


def _sweeps(
    base: Definition, settings: TheorySettings
) -> Iterator[tuple[str, float, Definition, int, float]]:
    for n in (30, 100, 1_000, settings.n):
        yield "pairs", n, base, n, settings.rho
    for d in (2, 8, 128, 512):
        yield "dimension", d, replace(base, d_image=d, d_text=d), settings.n, settings.rho
    for n, d in settings.wide:
        yield f"{n} pairs, dimension", d, replace(base, d_image=d, d_text=d), n, settings.rho
    for noise in (0.0, 1.0, 4.0, 16.0):
        yield "noise", noise, replace(base, s_xi=noise), settings.n, settings.rho
    for rho in (0.01, 1.0, 100.0):
        yield "rho", rho, base, settings.n, rho


def _measure(definition: Definition, n: int, rho: float, seeds: int, kind: str) -> dict[str, object]:
    runs = np.array([_simulate(definition, n, rho, seed, kind) for seed in range(seeds)])
    mean, spread = runs.mean(0), runs.std(0, ddof=1) if seeds > 1 else np.full(2, np.nan)
    fits, misleads = exact_accuracy(definition, kind)
    least_accuracy, least_error = printed_bounds(definition)
    return {
        "mu_spu": definition.mu_spu,
        "p_spu": definition.p_spu,
        "prompt": kind,
        "in_theorem": definition.in_theorem,
        "n": n,
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


def _simulate(definition: Definition, n: int, rho: float, seed: int, kind: str) -> tuple[float, float]:
    frames = dictionaries(definition, seed)
    train = draw(definition, n, frames, 2 * seed + 1)
    product = minimiser(cross_covariance(train.image, train.text), rho)
    pairs = _TEST if definition.d_image <= 512 else _WIDE_TEST
    test = draw(definition, pairs, frames, 2 * seed + 2, p_spu=0.5)
    correct = zero_shot_correct(product, test.image, test.y, frames[1], prompt(definition, kind))
    fits = test.a == test.y
    return float(correct[fits].mean()), float(correct[~fits].mean())


def _answer(grid: pl.DataFrame) -> str:
    sides = (("error_misleads", "exact_error_misleads"), ("accuracy_fits", "exact_fits"))
    gap = max(float((grid[simulated] - grid[exact]).abs().max()) for simulated, exact in sides)  # type: ignore[arg-type]
    inside = grid.filter("in_theorem")
    near = inside.sort((pl.col("mu_spu") - 1.5).abs(), (pl.col("p_spu") - 0.9).abs(), maintain_order=True)
    # The printed proof is for the object-only prompt: its bound must not be shown beside another one.
    alone, mean = (near.filter(prompt=kind).row(0, named=True) for kind in (OBJECT_ONLY, MEAN_OF_CLASS))
    return (
        f"With a background {alone['mu_spu']:g} times as strong as the object that fits it in "
        f"{100 * alone['p_spu']:g} % of the training pairs, the model is wrong on "
        f"{100 * alone['error_misleads']:.1f} % of the pairs where the background misleads if prompts name "
        f"the object only; the exact formula says {100 * alone['exact_error_misleads']:.1f} %, the printed "
        f"lower bound {100 * alone['printed_least_error_misleads']:.1f} %. If prompts are the mean of the "
        f"class, which the printed proof does not cover, it is wrong on {100 * mean['error_misleads']:.1f} % "
        f"(exact: {100 * mean['exact_error_misleads']:.1f} %). Over the whole grid exact formula and "
        f"simulation differ by at most {100 * gap:.1f} points."
    )


def _facts(grid: pl.DataFrame, sweeps: pl.DataFrame) -> dict[str, object]:
    inside = grid.filter("in_theorem")
    return {
        "held": [_held(inside, kind, what) for kind in PROMPTS for what in _BOUNDS],
        "bounds": _table(inside, "", lambda row: f"{row['mu_spu']:g}, {row['p_spu']:g}, {row['prompt']}"),
        "sweeps": _table(
            sweeps, "; mu_spu 1.5, p_spu 0.9", lambda row: f"{row['sweep']} {row['value']:g}, {row['prompt']}"
        ),
    }


# Exact values decide: simulated ones are noisy and may lie on either side of a bound.
_BOUNDS = {
    "error where the background misleads": ("exact_error_misleads", "printed_least_error_misleads"),
    "accuracy where it fits": ("exact_fits", "printed_least_accuracy_fits"),
}


def _held(inside: pl.DataFrame, kind: str, what: str) -> dict[str, object]:
    """Return where a printed bound holds for a prompt, and by how many points it is too low there."""
    exact, printed = _BOUNDS[what]
    rows = inside.filter(prompt=kind).with_columns(slack=100 * (pl.col(exact) - pl.col(printed)))
    below = rows.filter(pl.col("slack") < 0)
    return {
        "prompt": kind,
        "what": what,
        "settings": len(rows),
        "held": len(rows) - len(below),
        "fails_up_to": None if below.is_empty() else f"{float(below['p_spu'].to_numpy().max()):g}",
        "loosest": f"{float(rows['slack'].to_numpy().max()):.1f}",
    }


def _table(rows: pl.DataFrame, where: str, name: Callable[[dict[str, Any]], str]) -> Table:
    keys = ("error_misleads", "error_misleads_sd", "exact_error_misleads", "printed_least_error_misleads")
    known = rows.select(pl.col(keys).fill_nan(None)).rows()  # one seed has no standard deviation
    return text_table(
        f"Error where the background misleads, percent{where}",
        (
            "mu_spu, p_spu, prompt" if not where else "varied, prompt",
            "simulated",
            "s.d.",
            "exact",
            "printed bound",
        ),
        [(name(row), *map(percent, figures)) for row, figures in zip(rows.to_dicts(), known, strict=True)],
    )


def draw_theory(grid: pl.DataFrame, settings: TheorySettings) -> Figure:
    """Draw the effect of the background, and how tight the bound is."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    strength = min(settings.mu_spu, key=lambda mu: abs(mu - 1.5))
    often = min(settings.p_spu, key=lambda p: abs(p - 0.9))
    _draw_correlation(left, grid.filter(mu_spu=strength, prompt=MEAN_OF_CLASS), strength)
    _draw_strength(right, grid.filter(p_spu=often), often)
    for axes in (left, right):
        axes.set_ylim(0, 102)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e3e7eb", linewidth=0.8)
        axes.set_axisbelow(True)
    return figure


def _draw_correlation(axes: Axes, seen: pl.DataFrame, strength: float) -> None:
    p = np.linspace(0.5, 1, 101)
    exact = np.array([exact_accuracy(Definition(strength, value), MEAN_OF_CLASS) for value in p])
    for column, colour, label in ((0, _FITS, "background fits"), (1, _MISLEADS, "background misleads")):
        axes.plot(100 * p, 100 * exact[:, column], color=colour, linewidth=2)
        # Below the rising line, above the falling one.
        axes.annotate(
            label,
            (100 * p[45], 100 * exact[45, column]),
            xytext=(8, 8 if column else -18),
            textcoords="offset points",
            color=colour,
        )
    axes.errorbar(
        100 * seen["p_spu"], 100 * seen["accuracy_fits"], 100 * seen["accuracy_fits_sd"], fmt="o", color=_FITS
    )
    axes.errorbar(
        100 * seen["p_spu"],
        100 * (1 - seen["error_misleads"]),
        100 * seen["error_misleads_sd"],
        fmt="s",
        color=_MISLEADS,
    )
    axes.set_xlabel("pairs whose background fits, in training (%)")
    axes.set_ylabel("zero-shot accuracy (%)")
    axes.set_title(f"Background {strength:g} times as strong as the object", fontsize=11)


def _draw_strength(axes: Axes, seen: pl.DataFrame, often: float) -> None:
    mu = np.linspace(1, 3, 101)
    exact = {
        kind: np.array([1 - exact_accuracy(Definition(value, often), kind)[1] for value in mu])
        for kind in PROMPTS
    }
    bound = np.array([printed_bounds(Definition(value, often))[1] for value in mu])
    axes.axvspan(1, 1.5, color="#eef0f3", zorder=0)
    axes.plot(mu, 100 * exact[MEAN_OF_CLASS], color=_MISLEADS, linewidth=2, label="exact, prompt E[z | y]")
    axes.plot(mu, 100 * exact[OBJECT_ONLY], color=_FITS, linewidth=2, label="exact, object-only prompt")
    axes.plot(mu, 100 * bound, color=_BOUND, linewidth=2, linestyle="--", label="printed lower bound")
    for kind, colour, shape in ((MEAN_OF_CLASS, _MISLEADS, "s"), (OBJECT_ONLY, _FITS, "o")):
        rows = seen.filter(prompt=kind)
        axes.errorbar(
            rows["mu_spu"],
            100 * rows["error_misleads"],
            100 * rows["error_misleads_sd"],
            fmt=shape,
            color=colour,
        )
    axes.set_xlabel("strength of the background, mu_spu (object: 1)")
    axes.set_ylabel("error where the background misleads (%)")
    axes.set_title(f"Background fits in {100 * often:g} % of training", fontsize=11)
    axes.legend(frameon=False, loc="lower right")
