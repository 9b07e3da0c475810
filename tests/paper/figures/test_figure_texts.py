"""Nothing that is written in a figure covers anything else that is written, or leaves the figure."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from counterground.paper.figures import FIGURES

# The drawings themselves: no file knows which texts overlap.
from counterground.paper.style import print_style, save_figure

pytestmark = pytest.mark.slow

HOSTILE = {
    "<script>alert(1)</script>": (0.8, 0.5),
    "$x^{\\frac$ _&%#": (0.7, 0.4),
    "a\nb\x07\u202e": (0.75, 0.6),
}


def written(figure, dpi):
    """Text and box of everything that is written upright or level, as it is drawn."""
    with print_style():
        figure.set_dpi(dpi)
        FigureCanvasAgg(figure)
        figure.draw_without_rendering()  # texts get their places, and no pixel is painted
        texts = [
            text
            for text in figure.findobj(Text)
            if text.get_text().strip() and text.get_visible() and text.get_rotation() % 90 == 0
        ]
        hidden = {
            label
            for axes in figure.axes
            for label in _undrawn(axes)
            for label in (label.label1, label.label2)
        }
        hidden |= {label for axes in figure.axes if not axes.get_visible() for label in axes.findobj(Text)}
        return [(text.get_text(), text.get_window_extent()) for text in texts if text not in hidden]


def _undrawn(axes):
    """Ticks outside the limits, or whose labels a shared axis leaves out."""
    for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        for tick in axis.get_major_ticks() + axis.get_minor_ticks():
            if (
                not min(limits) - 1e-9 <= tick.get_loc() <= max(limits) + 1e-9
                or not tick.label1.get_visible()
            ):
                yield tick


def overlap(one, other):
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return width > 0.5 and height > 0.5


def test_strangers_names_are_shown_as_they_are(make_run, draw, tmp_path):
    names = ["<b>$bold$</b>", "& \x00 \u2066snake", "flamingo"]
    long = {"module:" + "very_long_name_" * 9 + end: (0.7, 0.5) for end in ("a", "b")}
    run = make_run(HOSTILE | long, classes=names, path="hostile")
    about = {"training_data": "composites of everything that was at hand, " * 4, "parameters": 4_000_000}
    records = [record.model_copy(update={"description": about}) for record in run.info.models]
    run = replace(run, info=run.info.model_copy(update={"models": records}))
    drawings, absent = draw(list(FIGURES), runs=[run])
    assert len(drawings) >= 6
    assert any(line.startswith("2b: ") for line in absent)
    for drawing in drawings.values():
        for text, box in written(drawing.figure, 100):
            assert box.x1 <= drawing.figure.bbox.x1 + 2, (drawing.stem, text)
    with print_style():
        for drawing in drawings.values():
            (file,) = save_figure(drawing.figure, tmp_path / drawing.stem, ["svg"])
            tree = ElementTree.parse(file)
            tags = {element.tag.rpartition("}")[2] for element in tree.iter()}
            assert "script" not in tags
            assert "b" not in tags
    texts = "".join(ElementTree.parse(tmp_path / "figure-5-own.svg").getroot().itertext())
    assert "<script>alert(1)</script>" in texts
    assert "$x^{\\frac$ _&%#" in texts
    assert "a b" in texts
