"""Comparisons as notebooks show them."""

from __future__ import annotations

import re
from html import unescape

import made_runs
import polars as pl
import pytest

from counterground.comparison import full_comparison
from counterground.text import percent

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
    shown = rows(html)
    for row in compared.models.filter(~pl.col("source").is_in(["paper", "reproduction"])).to_dicts():
        cells = next(cells for cells in shown if cells[0] == row["label"])
        assert [cells[1].split()[0], cells[2].split()[0]] == [percent(row["common"]), percent(row["counter"])]
        assert any(cell.startswith(f"{row['rank']} {row['rank_low']}") for cell in cells)
    assert html.count("Warning: ") + html.count("Note: ") == len(compared.findings)


def test_names_cannot_be_markup(compared):
    html = compared._repr_html_()
    for evil in ("<script", "<img", "<b>mine"):
        assert evil not in html
    assert "&lt;script&gt;" in html
    assert not re.search(r"https?:|url\(|javascript:", html)
