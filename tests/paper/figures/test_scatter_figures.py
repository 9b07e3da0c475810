"""What stands in figures 2, 13 and 14: positions, sizes, shades, lines, names."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from matplotlib.colors import to_hex
from scipy.stats import norm

from counterground.comparison import model_points

# The colours and the ticks that every scatter shares, which no file spells out.
from counterground.paper.figures._material import shade
from counterground.published import load_table

CLIPS = {"1v1000": "Table 3", "1v20": "Table 13"}
CLASSIFIERS = {"1v1000": "Table 4", "1v20": "Table 14"}


def axes_of(drawing):
    return drawing.figure.axes[0]


def scatters(drawing):
    return [mark for mark in axes_of(drawing).collections if mark.get_gid()]


def marks(drawing, gid):
    return next(mark for mark in scatters(drawing) if mark.get_gid() == gid)


def line(drawing, gid):
    return next(line for line in axes_of(drawing).get_lines() if line.get_gid() == gid)


@pytest.mark.parametrize(
    ("stem", "setup"),
    [("figure-2a", "1v1000"), ("figure-2b", "1v20"), ("figure-13", "1v1000"), ("figure-14", "1v20")],
)
def test_points_stand_where_the_paper_prints_them(paper, stem, setup):
    drawing = paper[0][stem]
    clips = load_table("clip_results").filter(table=CLIPS[setup])
    classifiers = load_table("imagenet_results").filter(table=CLASSIFIERS[setup])
    for gid, table in (("paper-clip", clips), ("paper-imagenet", classifiers)):
        drawn = {tuple(np.round(pair, 6)) for pair in marks(drawing, gid).get_offsets()}
        assert drawn == set(table.select("common", "counter").rows())
    if setup == "1v20":
        printed = np.sort(load_table("lvlm_results").select("common", "counter").to_numpy(), axis=0)
        np.testing.assert_allclose(np.sort(marks(drawing, "paper-lvlm").get_offsets(), axis=0), printed)


def test_axes_are_probits(paper):
    axes = axes_of(paper[0]["figure-2a"])
    for which, marked in (("x", axes.get_xticks()), ("y", axes.get_yticks())):
        corner = [(tick, 50) if which == "x" else (70, tick) for tick in marked]
        at = axes.transData.transform(corner)[:, 0 if which == "x" else 1]
        slope, _ = np.polyfit(norm.ppf(marked / 100), at, 1)
        fitted = np.poly1d(np.polyfit(norm.ppf(marked / 100), at, 1))(norm.ppf(marked / 100))
        np.testing.assert_allclose(at, fitted, atol=1e-6 * abs(slope))
        assert len(marked) >= 5


@pytest.mark.parametrize(("family", "count"), [("clip", 28), ("imagenet", 15)])
def test_trends_are_least_squares_in_probit_space(paper, family, count):
    drawing = paper[0]["figure-2a"]
    offsets = np.asarray(marks(drawing, f"paper-{family}").get_offsets())
    assert len(offsets) == count
    x, y = norm.ppf(offsets.T / 100)
    slope, intercept = np.polyfit(x, y, 1)
    drawn = line(drawing, f"line-{family}")
    expected = 100 * norm.cdf(intercept + slope * norm.ppf(np.asarray(drawn.get_xdata()) / 100))
    np.testing.assert_allclose(drawn.get_ydata(), expected, rtol=1e-6)
    assert f"slope {slope:.2f}" in drawing.caption


def test_size_is_backbone_shade_is_data_and_a_ring_is_filtered_data(paper):
    clip = marks(paper[0]["figure-2a"], "paper-clip")
    points = model_points((), setting="one-prompt").filter(family="clip")
    rows = {(100 * row["common"], 100 * row["counter"]): row for row in points.iter_rows(named=True)}
    drawn = [
        rows[min(rows, key=lambda at: np.hypot(*np.subtract(at, place)))] for place in clip.get_offsets()
    ]
    parameters, sizes = [row["parameters"] for row in drawn], clip.get_sizes()
    # Small markers lie on large ones.
    assert parameters == sorted(parameters, reverse=True)
    assert (np.diff(sizes) <= 0).all()
    assert sizes[0] > 1.5 * sizes[-1]
    expected = [shade("clip", row["data_size"]).lower() for row in drawn]
    assert [to_hex(colour) for colour in clip.get_facecolors()] == expected
    assert len(set(expected)) >= 3
    dark = [sum(colour[:3]) < 0.5 for colour in clip.get_edgecolors()]
    assert dark == [row["high_quality"] for row in drawn]


def test_a_run_on_other_photos_stands_alone_with_its_intervals(own, own_run):
    drawings, _ = own
    drawing = drawings["figure-2a-own"]
    points = model_points([own_run], published=False)
    drawn = [pair for mark in scatters(drawing) for pair in mark.get_offsets()]
    expected = 100 * points.select("common", "counter").to_numpy()
    np.testing.assert_allclose(np.sort(drawn, axis=0), np.sort(expected, axis=0))
    assert {mark.get_gid() for mark in scatters(drawing)} == {"own-clip", "own-imagenet"}
    across = [
        segment[:, 0]
        for container in axes_of(drawing).containers
        for segment in container.lines[2][0].get_segments()
    ]
    bounds = 100 * points.select("common_low", "common_high").to_numpy()
    np.testing.assert_allclose(np.sort(across, axis=0), np.sort(bounds, axis=0))
    names = {text.get_text() for text in axes_of(drawing).texts}
    assert names == set(points["label"])


def test_a_run_on_the_papers_photos_stands_before_the_papers_models(beside, counteranimal_run):
    drawing = beside[0]["figure-2a-own"]
    assert len(marks(drawing, "paper-clip").get_offsets()) == 28
    points = model_points([counteranimal_run], published=False)
    assert points["comparable"].all()
    own = np.sort(points.filter(family="clip").select("common", "counter").to_numpy(), axis=0)
    np.testing.assert_allclose(np.sort(marks(drawing, "own-clip").get_offsets(), axis=0), 100 * own)
    written = {text.get_text() for text in axes_of(drawing).texts if text.get_gid() == "name"}
    assert written == set(points["label"])


def test_accuracies_of_0_and_100_are_drawn_at_the_edge(make_run, draw):
    run = make_run({"efficientnet-lite0": (0.9, 0.1)}, path="edge")
    predictions = run.predictions.with_columns(correct=pl.col("group") == "common")
    run = replace(run, predictions=predictions)
    drawings, _ = draw(["2a"], runs=[run])
    offsets = np.asarray(scatters(drawings["figure-2a-own"])[0].get_offsets())
    assert offsets.tolist() == [[99.9, 0.1]]
    pixels = axes_of(drawings["figure-2a-own"]).transData.transform(offsets)
    assert np.isfinite(pixels).all()
