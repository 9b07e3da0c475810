"""What stands in figures 3 to 10 and 15: the heights of bars, their texts, intervals and colours."""

import numpy as np
import polars as pl
import pytest
from matplotlib.container import BarContainer, ErrorbarContainer

from counterground.comparison import model_points

# What room a bar's text takes, and what a missing value becomes, are rules of their own.
from counterground.paper.figures._bars import Bars, Panel, draw_bars
from counterground.paper.style import new_figure
from counterground.published import load_table


def bars(axes):
    """Series name -> heights, in order of place."""
    return {
        container.get_label(): [bar.get_height() for bar in container]
        for container in axes.containers
        if isinstance(container, BarContainer)
    }


def labels(axes):
    return [label.get_text() for label in axes.get_xticklabels()]


@pytest.mark.parametrize("number", ["5", "6", "7", "8", "9", "10"])
def test_bars_have_the_printed_heights(paper, number):
    rows = load_table("figure_bars").filter(pl.col("figure").str.starts_with(f"Figure {number}("))
    panels = [axes for axes in paper[0][f"figure-{number}"].figure.axes if axes.get_visible()]
    parts = rows.partition_by("figure", maintain_order=True)
    assert len(panels) == len(parts) == 2
    for axes, part in zip(panels, parts, strict=True):
        assert part["fixed"][0] in axes.get_title(loc="left")
        assert labels(axes) == part["label"].unique(maintain_order=True).to_list()
        drawn = bars(axes)
        assert {name.replace(" ", "_") for name in drawn} == set(part["series"])
        for name, heights in drawn.items():
            printed = part.filter(series=name.replace(" ", "_"))["value"].to_list()
            np.testing.assert_allclose(heights, printed)
            texts = {text.get_text() for text in axes.texts}
            assert {f"{value:.1f}" for value in printed} <= texts


def test_group_sizes_are_those_of_figure_3(paper):
    drawing = paper[0]["figure-3"]
    sizes = load_table("group_sizes")
    for group in ("common", "counter"):
        drawn = [height for axes in drawing.figure.axes for height in bars(axes)[group]]
        assert drawn == sizes[f"n_{group}"].to_list()
    marked = [label for axes in drawing.figure.axes for label in labels(axes) if "†" in label]
    assert marked == ["prairie chicken †"]
    assert "259" in drawing.notes[0]


@pytest.mark.parametrize(("stem", "which"), [("figure-4", "Figure 4"), ("figure-15", "Figure 15")])
def test_class_drops_are_those_printed(paper, stem, which):
    drawing = paper[0][stem]
    rows = load_table("figure_class_drops").filter(
        (pl.col("figure") == which) | pl.col("figure").str.starts_with(which + "(")
    )
    parts = rows.partition_by("figure", maintain_order=True)
    assert len(drawing.figure.axes) == len(parts)
    for axes, part in zip(drawing.figure.axes, parts, strict=True):
        assert axes.get_title(loc="left").endswith(part["model"][0])
        np.testing.assert_allclose(bars(axes)["drop"], part["drop"].to_list())


def test_own_class_drops_are_the_scores_with_their_intervals(own, own_run):
    axes = own[0]["figure-4-own"].figure.axes[0]
    rows = (
        own_run.estimates()
        .filter(model="efficientnet-lite0", metric="drop")
        .filter(pl.col("class_index").is_not_null() & pl.col("value").is_not_null())
    )
    names = dict(own_run.predictions.select("class_index", "class_name").unique().iter_rows())
    expected = {names[row["class_index"]]: row for row in rows.iter_rows(named=True)}
    drawn = dict(zip(labels(axes), bars(axes)["drop"], strict=True))
    assert len(drawn) == 8  # vulture has no counter photos: left out, not drawn as 0
    assert "vulture" not in drawn
    for name, height in drawn.items():
        assert height == pytest.approx(100 * expected[name]["value"])
    assert list(drawn.values()) == sorted(drawn.values(), reverse=True)
    spans = [
        segment[:, 1]
        for container in axes.containers
        if isinstance(container, ErrorbarContainer)
        for segment in container.lines[2][0].get_segments()
    ]
    bounds = [[100 * expected[name]["low"], 100 * expected[name]["high"]] for name in drawn]
    np.testing.assert_allclose(spans, bounds)


def test_own_group_sizes_count_photos_once(own, own_run):
    axes = own[0]["figure-3-own"].figure.axes[0]
    drawn = bars(axes)
    assert drawn["common"] == [20.0] * 9
    assert drawn["counter"] == [20.0 if place != 3 else 0.0 for place in range(9)]
    assert labels(axes)[3] == "vulture"


def test_own_bars_are_models_with_intervals(own, own_run):
    points = model_points([own_run], published=False)
    axes = own[0]["figure-5-own"].figure.axes[0]
    assert labels(axes) == points["label"].to_list()
    for group in ("common", "counter"):
        np.testing.assert_allclose(bars(axes)[group], 100 * points[group].to_numpy())


def test_a_missing_value_has_no_bar():
    axes = new_figure(3, 2).subplots()
    draw_bars(axes, Panel("", ["a", "b", "c"], [Bars("drop", [1.0, None, -2.0], "#000000")]))
    np.testing.assert_equal([bar.get_height() for bar in axes.patches], [1, np.nan, -2])
    assert [text.get_text() for text in axes.texts] == ["1.0", "", "−2.0"]
    assert [text.get_va() for text in axes.texts if text.get_text()] == ["bottom", "top"]
