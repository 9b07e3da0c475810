"""A line of effective robustness in words: its equation, and which models lie off it."""

from __future__ import annotations

import polars as pl

from counterground.metrics import DROP, Contrast, LineFit, LineWithErrors
from counterground.text import decimal, signed

FAMILIES = {
    "clip": "CLIPs",
    "imagenet": "ImageNet models",
    "lvlm": "vision-language models",
    "other": "other models",
}
UNLIKELY = 0.05


def equation(fit: LineFit, contrast: Contrast = DROP) -> str:
    """Write a line with its 95 % intervals: ``probit(counter) = 0.6 [...] + 1.2 [...] × probit(common)``."""
    left, right = contrast.titles
    intercept, slope = _with_ends(fit, "intercept"), _with_ends(fit, "slope")
    term = f"({slope})" if slope.startswith("−") else slope
    return f"{fit.scale}({right}) = {intercept} + {term} × {fit.scale}({left})"


def about_line(
    fit: LineFit,
    with_errors: LineWithErrors | None,
    baseline: str,
    models: pl.DataFrame,
    contrast: Contrast = DROP,
) -> list[str]:
    """Explain the column of distances from the line, and count the paper's models that differ from it.

    Args:
        fit: the line of a table.
        with_errors: the same with sampling errors in both accuracies, if it can be fitted.
        baseline: the family whose models it is fitted to.
        models: the rows of the table, columns of ``Comparison.models``.
        contrast: the contrast whose right side is plotted over its left.
    """
    left, right = contrast.titles
    strength = f", R² {fit.r_squared:.3f}" if fit.r_squared is not None else ""
    explained = (
        f"Above line: effective robustness, {right} accuracy minus what the line through the {fit.n} "
        f"{FAMILIES[baseline]} gives at "
        f"the same {left} accuracy, {equation(fit, contrast)}{strength}. Each of these, and a run of the "
        "same weights, is compared with the line through the others. Its interval includes the "
        "uncertainty of the line and of the model's own accuracies."
    )
    sentences = [explained, *_both_slopes(fit, with_errors, models)]
    paper = models.filter((pl.col("source") == "paper") & pl.col("residual_low").is_not_null())
    whole, unlike = [], []
    for (family,), part in paper.group_by("family", maintain_order=True):
        noun = FAMILIES[str(family)]
        below, above = _count(part, pl.col("residual_high") < 0, pl.col("residual_low") > 0)
        whole.append(f"{below} of {part.height} {noun} below, {above} above")
        if family != baseline:
            far = pl.col("p_value") < UNLIKELY
            below, above = _count(part, far & (pl.col("residual") < 0), far & (pl.col("residual") > 0))
            unlike.append(f"{below} {noun} below, {above} above")
    if whole:
        sentences.append(f"With the whole interval off the line: {'; '.join(whole)}.")
    if unlike:
        sentences.append(
            f"Farther from the line than another of the {FAMILIES[baseline]} is likely to be (p < 0.05, not "
            f"corrected; each p is in csv and json): {'; '.join(unlike)}."
        )
    return sentences


def _both_slopes(fit: LineFit, with_errors: LineWithErrors | None, models: pl.DataFrame) -> list[str]:
    """The slope with errors in both accuracies, and what it changes for the paper's CLIPs."""
    if with_errors is None:
        return []
    sentence = (
        f"Slope by least squares {_with_ends(fit, 'slope')}; with sampling errors in both accuracies "
        f"{_with_ends(with_errors, 'slope')} (York et al. 2004, plus scatter of the models)"
    )
    clips = models.filter(source="paper", family="clip")
    if clips.height and not clips["residual"].null_count():
        further = float((clips["counter"].to_numpy() - with_errors.predict(clips["common"])).mean())
        mean = float(clips["residual"].to_numpy().mean())
        sentence += (
            f"; the {clips.height} CLIPs are {signed(mean)} points from the first line on average, "
            f"{signed(further)} from the second"
        )
    return [f"{sentence}."]


def _count(models: pl.DataFrame, below: pl.Expr, above: pl.Expr) -> tuple[int, int]:
    counts = models.select(below.sum().alias("below"), above.sum().alias("above")).row(0)
    return int(counts[0]), int(counts[1])


def _with_ends(fit: LineFit | LineWithErrors, name: str) -> str:
    value, low, high = (decimal(getattr(fit, f"{name}{end}"), 3) for end in ("", "_low", "_high"))
    return f"{value} [{low}, {high}]"
