"""Equations and counts of lines in words."""

import polars as pl
import pytest

from counterground.comparison import full_comparison

# The public face shows sentences among others; counts and signs are easier to see alone.
from counterground.comparison._tables import about_line, equation
from counterground.metrics import fit_line


def test_a_sign_is_written_once():
    falling = equation(fit_line([0.5, 0.6, 0.7, 0.8], [0.52, 0.5, 0.48, 0.47]))
    assert "+ (−0." in falling
    assert "] × probit(common)" not in falling
    assert "]) × probit(common)" in falling
    flat = equation(fit_line([0.5, 0.6, 0.7, 0.8], [0.5, 0.5, 0.5, 0.5 - 1e-6], scale="logit"))
    assert "−0.000" not in flat
    assert "+ 0.000 [" in flat


@pytest.mark.parametrize("baseline", ["imagenet", "clip"])
def test_models_off_the_line_are_counted(baseline):
    found = full_comparison(baseline=baseline)
    rows = found.models.filter(source="paper")
    line = found.robustness.lines[0]
    said = " ".join(about_line(line.fit, line.with_errors, baseline, rows))
    assert f", R² {line.fit.r_squared:.3f}." in said
    for family, noun in (("clip", "CLIPs"), ("imagenet", "ImageNet models")):
        part = rows.filter(family=family)
        below, above = (part["residual_high"] < 0).sum(), (part["residual_low"] > 0).sum()
        assert f"{below} of {part.height} {noun} below, {above} above" in said
    other = rows.filter(pl.col("family") != baseline, pl.col("p_value") < 0.05)["residual"]
    assert f": {(other < 0).sum()} {'CLIPs' if baseline == 'imagenet' else 'ImageNet models'} below" in said
