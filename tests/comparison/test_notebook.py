"""Comparisons as notebooks show them."""

from __future__ import annotations

import re
from html import unescape

import made_runs
import pytest

from counterground.comparison import effective_robustness, full_comparison, model_points
from counterground.text import bounds, percent

make_run = made_runs.make_run  # on stamps, not of the paper's size
LEVELS = {"<script>alert(1)</script>": (0.8, 0.5), "efficientnet-lite0": (0.8, 0.7)}


@pytest.fixture(scope="module")
def compared(make_run):
    run = make_run(LEVELS, name="<img src=x>", notes=["<i>note</i>"], path="runs/<b>mine</b>")
    return full_comparison(run)


def rows(html):
    """Texts of the cells of each row."""
    found = re.findall(r"<tr>(.*?)</tr>", html)
    return [
        [
            unescape(re.sub(r"<svg.*?</svg>|<[^>]*>", " ", cell)).strip()
            for cell in re.split(r"</t[hd]>", row)[:-1]
        ]
        for row in found
    ]


def test_a_comparison_shows_every_model_with_its_line_and_rank(compared):
    html = compared._repr_html_()
    shown = {(row[0], row[1]): row for row in rows(html) if len(row) == 8}
    models = compared.models
    assert len(shown) == models.height + 1  # and the heads
    for row in models.iter_rows(named=True):
        cells = shown[row["label"], row["source"]]
        assert [cells[2].split()[0], cells[3].split()[0]] == [percent(row["common"]), percent(row["counter"])]
        if row["residual"] is not None:
            assert percent(row["residual"]) in cells[6]
            assert bounds(row["residual_low"], row["residual_high"]) in cells[6]
        if row["rank"] is not None:
            assert cells[7].startswith(f"{row['rank']} of {row['of']}")
    assert html.index("lite0") < html.index("RN50"), "one's own models come first"


def test_tests_and_warnings_stand_beside_it(compared):
    html = compared._repr_html_()
    test = compared.tests.filter(metric="drop").row(0, named=True)
    assert any(
        row[:2] == [test["model_a"], test["model_b"]] and percent(test["difference"]) in row[2]
        for row in rows(html)
    )
    assert html.count("Warning: ") == len(compared.warnings)


def test_names_cannot_be_markup(compared):
    html = compared._repr_html_()
    for evil in ("<script", "<img", "<b>mine"):
        assert evil not in html
    assert "&lt;script&gt;" in html
    assert not re.search(r"https?:|url\(|javascript:", html)


def test_effective_robustness_alone_says_its_line():
    robustness = effective_robustness(model_points())
    html = robustness._repr_html_()
    fit = robustness.fit
    assert f"{fit.slope:.3f} [{fit.slope_low:.3f}, {fit.slope_high:.3f}]" in html
    assert (
        len([row for row in rows(html) if len(row) == 5 and row[0] != "Model"]) == robustness.residuals.height
    )
