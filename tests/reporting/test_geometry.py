import numpy as np
import pytest

# Positions on axes and in the drop chart, which pages hold as numbers in attributes.
from counterground.reporting.class_facts import ClassFacts, class_facts
from counterground.reporting.page._class_drops import draw_class_drops
from counterground.reporting.page._forest import mark
from counterground.reporting.style import FAMILY_COLOURS
from counterground.results import regroup


def marked(run):
    return [(model, mark(place)) for place, model in enumerate(regroup(run.estimates()))]


def test_without_groups_there_is_no_drop_chart(make_run):
    run = make_run({"m": (0.7, 0.7)}, groups=False)
    assert draw_class_drops(marked(run), class_facts(run.predictions)) is None


def test_the_drop_chart_is_sorted_and_to_scale(four_models):
    chart = draw_class_drops(marked(four_models), class_facts(four_models.predictions))
    means = [np.mean([cell.drop.value for cell in row.cells]) for row in chart.rows]
    assert means == sorted(means, reverse=True)
    ticks = np.array([(float(t.replace("−", "-")), at) for at, t in chart.scale.ticks])
    slope, offset = np.polyfit(*ticks.T, 1)
    assert chart.scale.zero == pytest.approx(offset, abs=0.01)
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


def test_marks_tell_eight_models_of_a_family_apart_and_families_by_colour():
    assert len({mark(place, "clip").path for place in range(8)}) == 8
    assert len({mark(0, family).css for family in FAMILY_COLOURS}) == 4
    assert mark(0, "unheard of").css == mark(0, "other").css
