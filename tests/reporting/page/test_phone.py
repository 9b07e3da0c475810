"""The page on a phone: narrow, without heads to press, with a finger for a mouse."""

import pytest


def names(tab):
    return [text.split("\n")[0] for text in tab.locator("#table1 tbody tr:visible th").all_inner_texts()]


def test_what_is_filtered_away_cannot_be_seen(visit, families):
    tab = visit(families[1], width=390)
    assert len(names(tab)) == 8
    tab.get_by_label("Find a model").fill("lite1")
    assert names(tab) == ["lite1"]
    tab.get_by_label("Find a model").fill("")
    tab.get_by_role("checkbox", name="CLIP").uncheck()
    assert sorted(names(tab)) == ["lite0", "lite1", "lite2", "lite3"]


def test_the_menu_and_its_button_sort(visit, families):
    tab = visit(families[1], width=390)
    menu, turn = tab.locator("[data-controls=table1] select"), tab.locator("[data-controls=table1] button")
    menu.select_option(label="Model")
    assert turn.inner_text() == "A to Z"
    ascending = names(tab)
    assert ascending == sorted(ascending)
    turn.click()
    assert (names(tab), turn.inner_text()) == (ascending[::-1], "Z to A")
    # The heads of wide screens and the menu say the same.
    tab.set_viewport_size({"width": 1280, "height": 900})
    tab.get_by_role("columnheader", name="Counter").get_by_role("button").click()
    assert menu.input_value() == "counter"
    assert turn.text_content() == "Largest first"


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


def test_lines_are_told_when_they_are_drawn(visit, families):
    tab = visit(families[1], width=390)
    lines = tab.locator("[data-lines] li:visible")
    before = lines.all_inner_texts()
    assert before
    assert all("models here" in line for line in before)
    tab.get_by_role("checkbox", name="The paper’s models").check()
    assert any("of the paper’s models" in line for line in lines.all_inner_texts())
    tab.get_by_role("checkbox", name="The paper’s models").uncheck()
    assert lines.all_inner_texts() == before


def test_paper_shows_credits_and_fingerprints_and_no_arrows(visit, families):
    tab = visit(families[1], width=800)
    tab.emulate_media(media="print")
    assert tab.get_by_text("ffffffffffff").first.is_visible()
    assert tab.locator(".credits").is_visible()
    assert "↕" not in tab.locator("#table1 thead").inner_text()
