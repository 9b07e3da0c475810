"""What a section draws of its models, against an independent reading of the scores."""

import numpy as np
import polars as pl
import pytest

from counterground.comparison import full_comparison

# Positions in pictures, which pages hold as numbers in attributes.


def line_of(ticks):
    return np.polyfit(*np.array([(float(text.replace("−", "-")), at) for at, text in ticks]).T, 1)


def test_both_accuracies_are_drawn_to_scale_in_the_order_of_drops(four_models, section_of):
    section = section_of(four_models)
    plot = section.sides
    slope, offset = line_of(plot.scale.ticks)
    overall = four_models.estimates().filter(pl.col("class_index").is_null(), pl.col("metric") == "accuracy")
    for row in plot.rows:
        scores = {r["level"]: r for r in overall.filter(model=row.line.title).iter_rows(named=True)}
        for dot, side in zip(row.dots, ("common", "counter"), strict=True):
            value, low, high = (100 * scores[side][name] for name in ("value", "low", "high"))
            drawn = (dot.x, *dot.span)
            assert drawn == pytest.approx([slope * v + offset for v in (value, low, high)], abs=0.01)
    drops = [row.model.get("drop").value for row in section.rows]
    assert len(drops) == len(plot.rows) == 4
    assert drops == sorted(drops, reverse=True)
    assert [row.line.title for row in plot.rows] == [row.model.label for row in section.rows]


def test_drops_per_class_are_sorted_and_to_scale(four_models, section_of, make_run):
    chart = section_of(four_models).block("classes").chart
    means = [row.line.mean for row in chart.rows]
    assert means == sorted(means, reverse=True)
    slope, offset = line_of(chart.scale.ticks)
    assert chart.scale.zero == pytest.approx(offset, abs=0.01)
    for row in chart.rows:
        expected = [slope * 100 * each.value + offset for each in row.line.estimates]
        assert [dot.x for dot in row.dots] == pytest.approx(expected, abs=0.01)
        assert all(0 <= edge <= 100 for dot in row.dots for edge in dot.span)
        assert len({dot.y for dot in row.dots}) == len(row.dots)
    lacking = make_run({"a": (0.8, 0.4), "b": (0.7, 0.5)}, lacking={2: "counter"})
    *_, last = section_of(lacking).block("classes").table.rows
    assert [cell.value for cell in last] == ["flamingo", "–", "–"]


def test_without_groups_there_are_no_sides_and_no_drops(make_run, section_of):
    section = section_of(make_run({"m": (0.7, 0.7)}, groups=False))
    assert section.sides is None
    assert section.block("classes") is None


def test_residuals_are_those_of_the_comparison(four_models, section_of):
    residuals = full_comparison([four_models]).models.filter(source="run")
    expected = dict(residuals.select("model", "residual").iter_rows())
    assert {row.model.label: row.residual.value for row in section_of(four_models).rows} == expected
