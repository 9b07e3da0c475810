"""Figures of another contrast than the drop."""

import numpy as np
import pytest

# The drawings themselves, before they are files.
from counterground.findings import Words
from counterground.metrics import ScoreKey
from counterground.paper.figures import draw_figures
from counterground.paper.figures._material import Material
from counterground.paper.style import print_style
from counterground.results import (
    regroup,
)

SIDES = ("place=water & co_object=boat", "place=land & co_object=nothing")


@pytest.fixture(scope="module")
def drawn(four_cells):
    run, benchmark = four_cells
    material = Material(False, [run], photos=benchmark, words=Words(run.contrast("both_shortcuts")))
    with print_style():
        found = list(draw_figures(material, ["1", "2a", "3", "4", "5"]))
    return {drawing.stem: drawing for drawing in found}


def test_the_scatter_has_the_sides_on_its_axes(drawn, four_cells):
    axes = drawn["figure-2a-own"].figure.axes[0]
    labels = [label.splitlines() for label in (axes.get_xlabel(), axes.get_ylabel())]
    assert [label[1] for label in labels] == ["accuracy (%, probit scale)"] * 2
    places = np.concatenate([each.get_offsets() for each in axes.collections if each.get_gid()])
    models = regroup(four_cells[0].estimates())
    contrast = next(each for each in four_cells[0].design.contrasts if each.name == "both_shortcuts")
    expected = [[100 * side.value for side in model.of(contrast)[:2]] for model in models]
    np.testing.assert_allclose(np.sort(places, axis=0), np.sort(expected, axis=0), atol=1e-9)
    texts = [text.get_text() for text in drawn["figure-2a-own"].figure.legends[0].get_texts()]
    assert "y = x: no difference" in texts


def test_bars_are_those_of_the_contrast(drawn, four_cells):
    model = next(iter(regroup(four_cells[0].estimates())))
    heights = sorted(bar.get_height() for bar in drawn["figure-4-own"].figure.axes[0].patches)
    key = ScoreKey("both_shortcuts", "both_shortcuts")
    values = [100 * model.get(key, None, index).value for index in (0, 1)]
    np.testing.assert_allclose(heights, sorted(values))
    assert drawn["figure-4-own"].figure.get_supylabel() == "both_shortcuts (points)"
    # Of each class 12 photos have a boat on water; without one are 36 landbirds and 24 waterbirds on land.
    sizes = sorted(bar.get_height() for bar in drawn["figure-3-own"].figure.axes[0].patches)
    assert sizes == [12, 12, 24, 36]
    for name in ("figure-3-own", "figure-5-own"):
        assert [text.get_text() for text in drawn[name].figure.legends[0].get_texts()] == list(SIDES)
