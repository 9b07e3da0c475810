import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from counterground.report._classdrops import ClassFacts, class_facts, draw_class_drops
from counterground.report._labels import Box, place_labels
from counterground.report._marks import mark
from counterground.report._paper import paper_points
from counterground.report._probit import ProbitScale, fit_scale
from counterground.report._scatter import draw_scatter
from counterground.report._summary import regroup


def marked(run):
    return [(model, mark(place)) for place, model in enumerate(regroup(run.scores))]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_a_fitted_scale_is_increasing_and_holds_its_points(accuracies):
    scale = fit_scale(accuracies)
    assert 0 < scale.low < scale.high < 1
    assert all(0 <= scale(a) <= 1 for a in accuracies)
    places = [scale(a) for a in np.linspace(0, 1, 50)]
    assert places == sorted(places)


def test_equal_steps_of_the_scale_are_equal_steps_of_the_quantile():
    scale = ProbitScale(0.1, 0.95)
    accuracies = np.array([0.1, 0.2, 0.5, 0.8, 0.95])
    quantiles = norm.ppf(accuracies)
    expected = (quantiles - quantiles[0]) / (quantiles[-1] - quantiles[0])
    assert np.allclose([scale(a) for a in accuracies], expected, atol=1e-12)


def test_ticks_are_round_inside_and_apart():
    scale = ProbitScale(0.17, 0.93)
    ticks = scale.ticks(0.06)
    assert {0.5, 0.9} <= set(ticks)
    assert min(np.diff([scale(t) for t in ticks])) >= 0.06
    assert all(0.17 <= t <= 0.93 for t in ticks)


@pytest.mark.parametrize("width", [680, 350])
def test_points_lie_where_the_quantiles_say(four_models, width):
    paper = paper_points()
    plot = draw_scatter(marked(four_models), paper, width=width, css="x")
    x1, y1, x2, y2 = plot.diagonal
    assert (x2 - x1) == pytest.approx(y1 - y2)

    def probit(points):
        return np.array([[norm.ppf(a) for a in pair] for pair in points])

    models = regroup(four_models.scores)
    true = probit([(m.get("accuracy", "common").value, m.get("accuracy", "counter").value) for m in models])
    paper_true = probit([(p.common, p.counter) for p in paper])
    pixels = np.array([(p.x, y1 - p.y + x1) for p in (*plot.own, *plot.grey)])
    quantiles = np.vstack([true, paper_true])
    # One affine map for both axes: the same scale, and y = x is the diagonal.
    slope, offset = np.polyfit(quantiles.ravel(), pixels.ravel(), 1)
    assert slope > 0
    assert np.allclose(slope * quantiles + offset, pixels, atol=0.02)


def test_all_43_published_models_are_drawn_with_the_printed_numbers():
    points = paper_points()
    assert [sum(p.family == family for p in points) for family in ("clip", "imagenet")] == [28, 15]
    alexnet = next(p for p in points if p.name == "AlexNet")
    assert (alexnet.common, alexnet.counter) == pytest.approx((0.5956, 0.3924))


@pytest.mark.parametrize("width", [680, 350])
@pytest.mark.parametrize("count", [1, 6, 12, 30])
def test_labels_cover_neither_points_nor_each_other(make_run, count, width):
    run = make_run({f"model-{k}": (0.7 + 0.004 * k, 0.5 + 0.003 * k) for k in range(count)}, per_group=10)
    plot = draw_scatter(marked(run), paper_points(), width=width, css="x")
    boxes = [point.label.box for point in plot.own if point.label is not None]
    assert boxes
    for place, box in enumerate(boxes):
        assert box.inside(plot.frame)
        assert not any(box.overlaps(other) for other in boxes[place + 1 :])
        assert not any(box.overlaps(Box(p.x - 8, p.y - 8, p.x + 8, p.y + 8)) for p in plot.own)


def test_long_or_similar_names_become_numbers(make_run):
    names = [f"open_clip:ViT-B-32-quickgelu/laion400m_epoch_{k}" for k in (31, 32)]
    plot = draw_scatter(marked(make_run(dict.fromkeys(names, (0.7, 0.5)))), [], width=680, css="x")
    assert [point.label.text for point in plot.own] == ["1", "2"]
    assert plot.keyed


def test_a_text_without_room_gives_way_to_its_key_then_to_nothing():
    frame = Box(0, 0, 60, 60)
    assert place_labels([(30, 30)], ["much too long"], ["1"], frame=frame, size=12)[0].text == "1"
    assert place_labels([(30, 30)], ["long"], ["1"], frame=frame, size=12, taken=[frame]) == [None]


def test_certain_accuracies_stay_on_the_plot(make_run):
    run = make_run({"m": (0.9, 0.5)})
    scores = run.scores.with_columns(
        value=run.scores["value"].set(run.scores["group"].fill_null("") == "common", 1.0)
    )
    plot = draw_scatter([(m, mark(0)) for m in regroup(scores)], [], width=680, css="x")
    assert plot.frame.left <= plot.own[0].x <= plot.frame.right


def test_without_groups_there_is_no_scatter_and_no_drop_chart(make_run):
    run = make_run({"m": (0.7, 0.7)}, groups=False)
    assert draw_scatter(marked(run), [], width=680, css="x") is None
    assert draw_class_drops(marked(run), class_facts(run.predictions)) is None


def test_the_drop_chart_is_sorted_and_to_scale(four_models):
    chart = draw_class_drops(marked(four_models), class_facts(four_models.predictions))
    means = [np.mean([cell.drop.value for cell in row.cells]) for row in chart.rows]
    assert means == sorted(means, reverse=True)
    ticks = np.array([(float(t.replace("−", "-")), at) for at, t in chart.ticks])
    slope, offset = np.polyfit(*ticks.T, 1)
    assert chart.zero == pytest.approx(offset, abs=0.01)
    for row in chart.rows:
        expected = [slope * 100 * cell.drop.value + offset for cell in row.cells]
        assert [dot.x for dot in row.dots] == pytest.approx(expected, abs=0.01)
        assert all(0 <= edge <= 100 for dot in row.dots for edge in dot.span)
        assert len({dot.y for dot in row.dots}) == len(row.dots)


def test_a_class_without_a_group_says_no_photos_and_comes_last(make_run):
    run = make_run({"a": (0.8, 0.4), "b": (0.7, 0.5)}, lacking={2: "counter"})
    chart = draw_class_drops(marked(run), class_facts(run.predictions))
    last = chart.rows[-1]
    assert (last.facts.name, last.dots, last.missing) == ("flamingo", [], "counter: no photos")
    assert not any(row.missing for row in chart.rows[:-1])


def test_class_facts_name_the_backgrounds(four_models):
    assert class_facts(four_models.predictions)[0] == ClassFacts("ice bear", "snow", "grass")
    assert class_facts(four_models.predictions)[0].change == "snow → grass"


def test_fifty_models_have_fifty_different_marks():
    assert len({(m.css, m.path) for m in map(mark, range(50))}) == 50
