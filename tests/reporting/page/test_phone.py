"""The page on a phone: narrow, without heads to press, with a finger for a mouse."""

import pytest


def names(tab):
    return [text.split("\n")[0] for text in tab.locator("#table1 tbody tr:visible th").all_inner_texts()]


@pytest.mark.parametrize("paper", [False, True])
def test_a_tap_on_a_point_tells_its_figures_and_one_elsewhere_closes(visit, families, paper):
    tab = visit(families[1], width=390, has_touch=True)
    tip = tab.locator("#tip1")
    if paper:
        tab.get_by_role("checkbox", name="The paper’s models").check()
    name = "AlexNet" if paper else "lite3"
    tab.locator(f"#chart1 path[aria-label='{name}']").tap(force=True)
    tip.wait_for()
    assert tip.locator("strong").inner_text().startswith(name)
    frame = tab.locator("#chart1").bounding_box()
    tab.touchscreen.tap(frame["x"] + 60, frame["y"] + 50)
    tip.wait_for(state="hidden")


def test_what_is_filtered_away_cannot_be_seen(visit, families):
    tab = visit(families[1], width=390)
    assert len(names(tab)) == 8
    tab.get_by_label("Find a model").fill("lite1")
    assert names(tab) == ["lite1"]
    tab.get_by_label("Find a model").fill("")
    tab.get_by_role("checkbox", name="CLIP").uncheck()
    assert sorted(names(tab)) == ["lite0", "lite1", "lite2", "lite3"]
