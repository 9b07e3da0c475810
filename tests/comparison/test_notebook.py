"""Comparisons as notebooks show them."""

from __future__ import annotations

import re

import made_runs
import pytest

from counterground.comparison import full_comparison

make_run = made_runs.make_run  # on stamps, not of the paper's size
LEVELS = {"<script>alert(1)</script>": (0.8, 0.5), "efficientnet-lite0": (0.8, 0.7)}


@pytest.fixture(scope="module")
def compared(make_run):
    run = make_run(LEVELS, name="<img src=x>", notes=["<i>note</i>"], path="runs/<b>mine</b>")
    return full_comparison(run)


def test_names_cannot_be_markup(compared):
    html = compared._repr_html_()
    for evil in ("<script", "<img", "<b>mine"):
        assert evil not in html
    assert "&lt;script&gt;" in html
    assert not re.search(r"https?:|url\(|javascript:", html)
