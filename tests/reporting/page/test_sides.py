"""What a section draws of its models, against an independent reading of the scores."""

import numpy as np
import polars as pl
import pytest

from counterground.comparison import full_comparison


def test_both_accuracies_are_drawn_to_scale(four_models, section_of):
    plot = section_of(four_models).sides
    ticks = np.array([(float(text), at) for at, text in plot.scale.ticks])
    slope, offset = np.polyfit(*ticks.T, 1)
    overall = four_models.estimates().filter(pl.col("class_index").is_null(), pl.col("metric") == "accuracy")
    assert len(plot.rows) == 4
    for row in plot.rows:
        scores = {r["level"]: r for r in overall.filter(model=row.title).iter_rows(named=True)}
        for dot, side in zip(row.dots, ("common", "counter"), strict=True):
            value, low, high = (100 * scores[side][name] for name in ("value", "low", "high"))
            drawn = (dot.x, *dot.span)
            assert drawn == pytest.approx([slope * v + offset for v in (value, low, high)], abs=0.01)


def test_without_groups_there_are_no_sides(make_run, section_of):
    assert section_of(make_run({"m": (0.7, 0.7)}, groups=False)).sides is None


def test_models_are_ordered_by_drop(four_models, section_of):
    section = section_of(four_models)
    drops = [row.model.get("drop").value for row in section.rows]
    assert len(drops) == 4
    assert drops == sorted(drops, reverse=True)
    assert [row.title for row in section.sides.rows] == [row.model.label for row in section.rows]


def test_residuals_are_those_of_the_comparison(four_models, section_of):
    residuals = full_comparison([four_models]).models.filter(source="run")
    expected = dict(residuals.select("model", "residual").iter_rows())
    assert {row.model.label: row.residual.value for row in section_of(four_models).rows} == expected
