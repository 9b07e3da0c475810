"""The data in the scatter's marks, against an independent reading of scores and published tables."""

import json
import re
from dataclasses import replace

import altair as alt
import numpy as np
import polars as pl
import pytest
from jsonschema import ValidationError
from scipy.stats import norm

from counterground.comparison import effective_robustness, full_comparison, model_points
from counterground.metrics import score_predictions
from counterground.published import published_models

# Where marks and names go, and in what colours, is data that no page shows as text.
from counterground.reporting._placement import Box, text_width
from counterground.reporting._style import (
    FAMILY_COLOURS,
    FAMILY_COLOURS_DARK,
    FAMILY_NAMES,
    FAMILY_SHAPES,
    MATPLOTLIB_MARKERS,
    marker_area,
    shade,
)
from counterground.reporting.page._marks import mark
from counterground.reporting.page.explorer import Item, Trend, draw_explorer
from counterground.reporting.page.explorer._chart import _specification
from counterground.reporting.page.explorer._points import FRAMES, domain, own_points, quantile

NASTY = "<script>alert('x')</script>\"&"


def items_of(run):
    rows = model_points([run], published=False).iter_rows(named=True)
    return [Item(row, row["model"], mark(place, row["family"])) for place, row in enumerate(rows)]


@pytest.fixture
def explorer_of(section_of):
    return lambda run: section_of(run).explorer


def tables_of(node):
    """Every table of data in a specification."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "values" and isinstance(value, list) and value and isinstance(value[0], dict):
                yield value
            elif name == "datasets":
                yield from value.values()
            else:
                yield from tables_of(value)
    elif isinstance(node, list):
        for value in node:
            yield from tables_of(value)


def own_rows(found):
    return next(rows for rows in tables_of(found.spec) if "dx" in rows[0])


def paper_rows(found):
    return next(rows for rows in tables_of(found.spec) if "tip" in rows[0] and "dx" not in rows[0])


def test_the_chart_obeys_vega_lites_schema(four_models, explorer_of):
    spec = explorer_of(four_models).spec
    alt.LayerChart.from_dict(spec)
    with pytest.raises(ValidationError):
        alt.LayerChart.from_dict(spec | {"width": "wide"})


def test_what_a_notebook_sets_for_its_own_charts_is_left_to_them(four_models, explorer_of):
    before = explorer_of(four_models).spec
    _specification.cache_clear()
    with alt.theme.enable("dark"), alt.data_transformers.enable("vegafusion"):
        assert explorer_of(four_models).spec == before


def test_points_lie_at_the_quantiles_of_the_scores(four_models, explorer_of):
    rows = own_rows(explorer_of(four_models))
    overall = four_models.scores.filter(pl.col("class_index").is_null(), pl.col("metric") == "accuracy")
    for row in rows:
        scores = {
            r["group"]: r for r in overall.filter(pl.col("model") == row["label"]).iter_rows(named=True)
        }
        for axis, group in (("x", "common"), ("y", "counter")):
            assert row[axis] == pytest.approx(norm.ppf(scores[group]["value"]), abs=1e-4)
            assert row[f"{axis}l"] == pytest.approx(norm.ppf(scores[group]["low"]), abs=1e-4)
            assert row[f"{axis}h"] == pytest.approx(norm.ppf(scores[group]["high"]), abs=1e-4)
    assert len(rows) == 4


def test_the_papers_43_models_stand_behind_with_the_printed_numbers(four_models, explorer_of):
    drawn = paper_rows(explorer_of(four_models))
    published = published_models()
    assert len(drawn) == 43
    found = np.sort(norm.cdf([row["x"] for row in drawn]))
    assert np.allclose(found, np.sort(published["common"].to_numpy() / 100), atol=1e-4)
    assert {row["shape"] for row in drawn} == {FAMILY_SHAPES["clip"], FAMILY_SHAPES["imagenet"]}


def test_on_the_papers_photos_its_models_are_shown_at_once(four_models, explorer_of):
    published = model_points()
    lines = [Trend.of(effective_robustness(published, baseline="clip").fit, "clip", paper=True)]
    items = [item._replace(row={**item.row, "comparable": True}) for item in items_of(four_models)[:2]]
    found = draw_explorer(items, published, lines)
    assert found.paper
    assert any(paper and "through 28 of the paper’s models" in words for words, paper in found.lines)
    # 43 hollow marks and 2 of the run stand in the still picture; on other photos there are the run's alone.
    assert found.still.count('aria-roledescription="point"') == 45
    assert "dashed: no drop" in found.still
    assert found.still.count("stroke-dasharray") == 1
    elsewhere = explorer_of(four_models)
    assert not elsewhere.paper
    assert elsewhere.still.count('aria-roledescription="point"') == 4


def test_lines_are_those_of_the_comparison(four_models, section_of):
    section = section_of(four_models)
    published = model_points()
    for family, name in (("clip", "CLIP"), ("imagenet", "ImageNet models")):
        fit = effective_robustness(published, baseline=family).fit
        told = f"{name}: slope {fit.slope:.2f} [{fit.slope_low:.2f}, {fit.slope_high:.2f}]".replace("-", "−")
        assert any(paper and words.startswith(told) for words, paper in section.explorer.lines)
        assert Trend.of(fit, "lvlm", paper=True).words.startswith("Vision-language models: ")  # no minus sign
    # On other photos four models of one family make a line of their own, against which each is measured.
    assert any(not paper and "through 4 models here" in words for words, paper in section.explorer.lines)
    residuals = full_comparison([four_models]).models.filter(source="run")
    expected = dict(residuals.select("model", "residual").iter_rows())
    assert {row.model.label: row.residual.value for row in section.rows} == expected


def test_drawn_lines_have_the_slope_of_the_fit(four_models, explorer_of):
    rows = next(rows for rows in tables_of(explorer_of(four_models).spec) if "x2" in rows[0])
    fit = effective_robustness(model_points(), baseline="clip").fit
    row = next(row for row in rows if row["family"] == "clip" and row["paper"])
    assert (row["y2"] - row["y"]) / (row["x2"] - row["x"]) == pytest.approx(fit.slope, abs=1e-3)
    assert row["y"] == pytest.approx(fit.intercept + fit.slope * row["x"], abs=1e-3)


def test_a_line_needs_three_models(make_run, section_of):
    section = section_of(make_run({"a": (0.8, 0.5), "b": (0.7, 0.5)}))
    assert not [words for words, paper in section.explorer.lines if not paper]
    assert not section.has_residuals


def test_lines_of_several_label_spaces_say_which_they_are_of(make_run, section_of):
    levels = {f"torchvision:m{k}": (0.9 - 0.1 * k, 0.7 - 0.1 * k) for k in range(3)}
    few = make_run(levels, path="few", label_space="benchmark")
    space = few.info.label_space.model_copy(update={"name": "benchmark", "size": 9})
    few = replace(few, info=few.info.model_copy(update={"label_space": space}))
    lines = section_of(make_run(levels, path="many"), few).explorer.lines
    here = [words for words, paper in lines if not paper]
    assert len(here) == 2
    assert [words.partition("models here ")[2] for words in here] == [
        "(names: imagenet)",
        "(names: benchmark)",
    ]


def test_accuracies_of_0_and_1_stay_on_the_axes(make_run):
    row = model_points([make_run({"m": (0.9, 0.5)})], published=False).row(0, named=True)
    rows = [{**row, "common": 1.0, "counter": 0.0}]
    span = domain(rows)
    assert span.low <= quantile(0.0) < quantile(1.0) <= span.high
    assert np.isfinite([quantile(0.0), quantile(1.0)]).all()


@pytest.mark.parametrize("count", [1, 4, 10])
def test_names_cover_neither_points_nor_each_other_and_belong_to_the_nearest_point(make_run, count):
    run = make_run({f"model-{k}": (0.7 + 0.01 * k, 0.5 + 0.02 * k) for k in range(count)}, per_group=10)
    items = items_of(run)
    spans = [domain([item.row for item in items])]
    points = own_points(items, spans, [item.label for item in items], [[]])
    for place, side in enumerate(FRAMES):
        scale = side / (spans[0].high - spans[0].low)
        at = [((p["x"] - spans[0].low) * scale, side - (p["y"] - spans[0].low) * scale) for p in points]
        boxes = []
        for own, (p, (x, y)) in enumerate(zip(points, at, strict=True)):
            if not (text := p["text"][place]):
                continue
            left, base = x + p["dx"][place], y + p["dy"][place]
            boxes.append(Box(left, base - 10, left + text_width(text, 12) - 4, base + 2))
            away = [_distance(boxes[-1], other) for other in at]
            if leader := p["leader"][place]:
                assert _distance(boxes[-1], (x + leader[2], y + leader[3])) < 6
                assert np.hypot(*leader[:2]) < 12
            else:
                assert min(away) == away[own] < 16
        assert boxes
        for k, box in enumerate(boxes):
            assert box.inside(Box(-1, -1, side + 1, side + 1))
            assert not any(box.overlaps(other) for other in boxes[k + 1 :])
            assert not any(box.overlaps(Box(x - 4, y - 4, x + 4, y + 4)) for x, y in at)


def _distance(box, point):
    across = max(box.left - point[0], 0, point[0] - box.right)
    return np.hypot(across, max(box.top - point[1], 0, point[1] - box.bottom))


def test_of_many_models_the_ends_of_the_ranking_are_named(make_run, explorer_of):
    levels = {f"model-{k}": (0.7, 0.65 - 0.02 * k) for k in range(14)}
    rows = own_rows(explorer_of(make_run(levels, per_group=40)))
    assert 2 <= sum(bool(row["text"][0]) for row in rows) <= 6


def test_results_of_one_model_in_several_runs_have_different_names(make_run, section_of):
    first = make_run({"m": (0.9, 0.4), "n": (0.6, 0.5)}, path="one")
    second = make_run({"m": (0.7, 0.6)}, path="two")
    texts = {row["text"][0] for row in own_rows(section_of(first, second).explorer)}
    assert texts == {"m (one)", "m (two)", "n"}


def test_hostile_names_are_texts_in_picture_and_data(make_run, explorer_of):
    found = explorer_of(make_run({NASTY: (0.8, 0.5), "</svg><img src=x onerror=alert(1)>": (0.7, 0.6)}))
    assert "<script" not in found.still
    assert "<img" not in found.still
    assert NASTY in json.dumps(found.spec, ensure_ascii=False).replace('\\"', '"')


def test_the_still_picture_follows_the_theme_by_variables(four_models, explorer_of):
    still = explorer_of(four_models).still
    assert "var(--f-imagenet)" in still
    # No fixed colour, which one of the themes could not show.
    assert not re.findall(r'(?:fill|stroke)="#[0-9a-fA-F]{3,6}"', still)


def test_a_section_orders_models_by_drop_and_gives_each_a_sparkline(four_models, section_of):
    section = section_of(four_models)
    drops = [row.model.get("drop").value for row in section.rows]
    assert len(drops) == 4
    assert drops == sorted(drops, reverse=True)
    for row in section.rows:
        assert row.sparkline.span[0] <= row.sparkline.at <= row.sparkline.span[1]
        assert (row.sparkline.at > row.sparkline.zero) == (row.model.get("drop").value > 0)


def test_families_have_a_name_a_shape_and_colours_that_can_be_seen():
    assert set(FAMILY_NAMES) == set(FAMILY_COLOURS) == set(FAMILY_COLOURS_DARK) == set(FAMILY_SHAPES)
    assert set(FAMILY_SHAPES.values()) == set(MATPLOTLIB_MARKERS)

    def luminance(colour):
        channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return np.dot(linear, [0.2126, 0.7152, 0.0722])

    for family, colour in FAMILY_COLOURS_DARK.items():
        assert (luminance(colour) + 0.05) / (luminance("#14171B") + 0.05) > 4.5, family


def test_more_data_is_a_stronger_shade_and_more_parameters_a_larger_mark():
    assert shade("clip", None) == shade("clip", 10**10) == FAMILY_COLOURS["clip"]
    reds = [int(shade("clip", size)[1:3], 16) for size in (10**6, 10**7, 10**8, 10**9)]
    assert reds == sorted(reds, reverse=True)
    areas = [marker_area(n) for n in (10**6, 10**7, 10**8, 10**9, 10**10)]
    assert areas == sorted(areas)
    assert areas[0] < marker_area(None) < areas[-1]


@pytest.mark.parametrize("sign", ["\0", "\a", "\x1b", "\x1c", "\ufffe", "\uffff"])
def test_signs_that_no_page_can_hold_are_left_out(make_run, sign, explorer_of):
    found = explorer_of(make_run({f"a{sign}b": (0.8, 0.5)}, classes=[f"ice{sign} bear", "x"]))
    assert ">ab</text>" in found.still
    assert own_rows(found)[0]["label"] == "ab"


def test_accuracies_that_the_axes_cannot_show_are_written(make_run, section_of):
    """0 % lies infinitely far away on a probit axis and is drawn at 0.1 %."""
    run = make_run({"sees": (0.9, 0.6), "blind": (0.0, 0.0)}, classes=["x", "y"])
    blind = run.predictions["model"] == "blind"
    predictions = run.predictions.with_columns(correct=pl.col("correct") & ~blind)
    run = replace(run, predictions=predictions, scores=score_predictions(predictions))
    found = section_of(run).explorer
    assert found.off_scale == ["blind, common 0.0 % and counter 0.0 %"]
    texts = {row["label"]: row["text"][0] for row in own_rows(found)}
    assert texts == {"sees": "sees", "blind": "blind (0.0 %)"}
