"""Names from others are text in a figure, and nothing else."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from counterground.paper.figures import FIGURES

# The drawings themselves: no file knows which texts overlap.
from counterground.paper.style import print_style, save_figure

pytestmark = pytest.mark.slow

HOSTILE = {
    "<script>alert(1)</script>": (0.8, 0.5),
    "$x^{\\frac$ _&%#": (0.7, 0.4),
    "a\nb\x07\u202e": (0.75, 0.6),
}


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
