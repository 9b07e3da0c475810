"""The page in a real browser: quiet, asking for nothing, to be sorted, filtered, hovered and typed at.

Needs Chromium (Debian: apt-get install chromium).
"""

import re

import numpy as np
import polars as pl
import pytest
from PIL import Image

from counterground.photos import Benchmark, LabelSpace, photo_id
from counterground.reporting import write_report
from counterground.results import regroup

NASTY = "</script><script>window.hurt=1</script><img src=x onerror=window.hurt=1>\"'&{{7*7}}"


def column(tab, place):
    """The values of a column in the order in which rows stand."""
    read = "(rows, k) => rows.filter(r => !r.hidden).map(r => r.cells[k].dataset.value)"
    return tab.locator("#table1 tbody tr").evaluate_all(read, place)


def points(tab):
    """What the marks of the runs' own models are."""
    return tab.locator("#chart1").evaluate(
        "chart => [...chart.querySelectorAll('path[aria-roledescription]')].map(p => p.__data__?.datum)"
        ".filter(d => d?.id).map(d => d.label)"
    )


@pytest.mark.parametrize(
    ("which", "widths"), [("report", (1920, 1280, 760, 390)), ("cells", (1280, 800, 390))]
)
def test_nothing_overflows(visit, report, cells_page, which, widths):
    tab = visit(report if which == "report" else cells_page, width=widths[0])
    for summary in tab.locator("summary").all():
        summary.evaluate("e => e.parentElement.open = true")
    for width in widths:
        tab.set_viewport_size({"width": width, "height": 900})
        tab.wait_for_function(  # charts are drawn anew
            """() => [...document.querySelectorAll(".chart svg")]
            .every(e => e.getBoundingClientRect().right <= document.documentElement.clientWidth)"""
        )
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        wide = tab.evaluate(
            """() => [...document.body.querySelectorAll("*")]
            .filter(e => !e.closest(".scroll, thead, svg") && e.getClientRects().length)
            .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
            .map(e => e.outerHTML.slice(0, 90))"""
        )
        assert wide == [], width


@pytest.mark.parametrize("width", [390, 1280])
def test_names_in_the_chart_do_not_touch(visit, report, width):
    tab = visit(report, width=width)
    boxes = tab.locator("#chart1 text[font-weight='600']").evaluate_all(
        "texts => texts.map(t => [t.getBoundingClientRect(), t.textContent])"
        ".map(([b, text]) => [b.left, b.top, b.right, b.bottom, text])"
    )
    frame = tab.locator("#chart1").bounding_box()
    # Each stands twice: a halo in the colour of the page, and the text.
    names = {box[4]: box for box in boxes}
    assert len(names) == len(boxes) / 2 == 4
    listed = list(names.values())
    for k, (left, top, right, bottom, _) in enumerate(listed):
        assert left >= frame["x"]
        assert right <= frame["x"] + frame["width"] + 1
        for other in listed[k + 1 :]:
            assert not (left < other[2] and other[0] < right and top + 3 < other[3] and other[1] + 3 < bottom)


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_the_theme_follows_the_reader_and_so_does_the_chart(visit, report, tmp_path, scheme, dark):
    tab = visit(report, color_scheme=scheme)
    shots = (tmp_path / "page.png", tmp_path / "chart.png")
    tab.locator("#table1").scroll_into_view_if_needed()
    tab.screenshot(path=shots[0])
    tab.locator("#chart1").screenshot(path=shots[1])
    for shot in shots:
        pixels = np.asarray(Image.open(shot).convert("RGB"), dtype=float)
        background = pixels[3, 3]
        assert (background.mean() < 60) == dark
        assert np.abs(pixels.mean(axis=2) - background.mean()).max() > 180
        assert (np.ptp(pixels, axis=2) > 90).sum() > 200


def test_the_chart_changes_with_the_theme_without_being_drawn_again(visit, report):
    tab = visit(report, color_scheme="light")
    colour = "() => getComputedStyle(document.querySelector('#chart1 text')).fill"
    before = tab.evaluate(colour)
    tab.emulate_media(color_scheme="dark")
    assert tab.evaluate(colour) != before


@pytest.mark.parametrize(("title", "place", "numeric"), [("Common", 2, True), ("Model", 0, False)])
def test_heads_sort_the_table_and_say_so(visit, families, title, place, numeric):
    tab = visit(families[1])
    values = column(tab, place)
    head = tab.locator("#table1 thead th", has_text=title).first
    head.get_by_role("button").click()
    first = column(tab, place)
    in_order = sorted(values, key=float if numeric else str.lower)
    assert first == (in_order[::-1] if numeric else in_order)
    assert head.get_attribute("aria-sort") == ("descending" if numeric else "ascending")
    head.get_by_role("button").press("Enter")
    assert column(tab, place) == first[::-1]
    assert tab.locator("#table1 [aria-sort]").count() == 1


def test_missing_figures_come_last_either_way(visit, make_run, tmp_path):
    run = make_run({"a": (0.8, 0.4), "b": (0.7, 0.5), "c": (0.6, 0.2)})
    lost = (pl.col("model") == "b") & (pl.col("metric") == "ece")
    scores = run.scores.with_columns(value=pl.when(lost).then(None).otherwise("value"))
    page = write_report([type(run)(run.path, run.info, run.predictions, scores)], tmp_path / "r.html")
    tab = visit(page)
    button = tab.locator("#table1 th[data-key=ece] button")
    for _ in range(2):
        button.click()
        assert column(tab, 0)[-1] == "b"


def test_rows_are_found_by_words(visit, families):
    tab = visit(families[1])
    tab.get_by_label("Find a model").fill("MODEL clip")
    assert len(column(tab, 0)) == 4
    assert tab.locator("[data-status]").inner_text() == "4 of 8 models"
    tab.get_by_label("Find a model").fill("")
    assert len(column(tab, 0)) == 8


def test_families_leave_chart_and_table_together(visit, families):
    tab = visit(families[1])
    assert len(points(tab)) == 8
    box = tab.get_by_role("checkbox", name="CLIP")
    box.focus()
    tab.keyboard.press("Space")
    tab.wait_for_function("document.querySelectorAll('#table1 tbody tr[hidden]').length === 4")
    tab.wait_for_timeout(100)
    for shown in (points(tab), column(tab, 0)):
        assert [name[:4] for name in shown] == 4 * ["lite"]
    box.check()
    tab.wait_for_timeout(100)
    assert len(points(tab)) == 8


def test_the_papers_models_come_on_demand(visit, families):
    tab = visit(families[1])
    count = "() => document.querySelectorAll('#chart1 path[aria-roledescription]').length"
    assert tab.evaluate(count) == 8
    box = tab.get_by_role("checkbox", name="The paper’s models")
    box.check()
    tab.wait_for_function(f"({count})() === 51")
    tab.get_by_role("checkbox", name="ImageNet").uncheck()
    tab.wait_for_function(f"({count})() === 28 + 4")
    box.uncheck()
    tab.wait_for_function(f"({count})() === 4")


def test_hovering_tells_the_figures(visit, families):
    run, page = families
    tab = visit(page)
    model = regroup(run.scores)[0]
    tab.locator(f"#chart1 path[aria-label='{model.label}']").hover()
    tip = tab.locator("#tip1")
    tip.wait_for()
    told = re.sub(r"\s+", " ", tip.inner_text())
    common, drop = model.get("accuracy", "common"), model.get("drop")
    assert told.startswith(model.label)
    assert f"Common {common.text} % {common.interval}" in told
    assert f"Drop {drop.text} points {drop.interval}" in told
    room, box = tab.locator("figure.explorer").bounding_box(), tip.bounding_box()
    assert box["x"] >= room["x"]
    assert box["x"] + box["width"] <= room["x"] + room["width"]
    tab.mouse.move(5, 5)
    tip.wait_for(state="hidden")


def test_arrow_keys_go_through_the_models(visit, families):
    tab = visit(families[1])
    chart, tip = tab.locator("#chart1"), tab.locator("#tip1")
    chart.focus()
    seen = []
    for _ in range(8):
        tab.keyboard.press("ArrowRight")
        tip.wait_for()
        tab.wait_for_timeout(60)
        seen.append(tip.locator("strong").inner_text())
    assert len(set(seen)) == 8
    tab.keyboard.press("ArrowLeft")
    tab.wait_for_timeout(60)
    assert tip.locator("strong").inner_text() == seen[-2]
    tab.keyboard.press("Escape")
    tip.wait_for(state="hidden")


def test_a_row_shows_its_point(visit, families):
    tab = visit(families[1])
    row = tab.locator("#table1 tbody tr").nth(2)
    label = row.locator("th").get_attribute("data-value")
    marked = tab.locator("#chart1 path[aria-label][stroke-width='3']")
    assert marked.count() == 0
    row.hover()
    marked.wait_for(state="attached")
    assert [point.get_attribute("aria-label") for point in marked.all()] == [label]


def test_the_chart_follows_the_window(visit, families):
    tab = visit(families[1], width=1280)
    tab.set_viewport_size({"width": 420, "height": 900})
    tab.wait_for_function("document.querySelector('#chart1 svg').getBoundingClientRect().width < 400")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 420


def test_a_class_shows_its_photos_most_informative_first(visit, families):
    run, page = families
    tab = visit(page)
    tab.locator("[data-pick=class]").select_option(label="flamingo")
    tab.locator("[data-pick=model]").select_option(label="open_clip:model-1")
    predictions = run.predictions.filter(
        pl.col("model") == "open_clip:model-1", pl.col("class_name") == "flamingo"
    )
    counter = predictions.filter(pl.col("group") == "counter")
    common = predictions.filter(pl.col("group") == "common")
    wrong = counter.filter(~pl.col("correct")).sort("confidence", descending=True)["path"].to_list()
    right = common.filter("correct").sort("confidence", descending=True)["path"].to_list()
    sides = tab.locator(".sides > section")
    assert sides.nth(0).locator("img").evaluate_all("i => i.map(e => e.title)")[: len(right)] == right
    assert sides.nth(1).locator("img").evaluate_all("i => i.map(e => e.title)")[: len(wrong)] == wrong
    assert sides.nth(1).locator(".wrong").count() == len(wrong)
    image = sides.nth(1).locator("img").first
    image.scroll_into_view_if_needed()
    tab.wait_for_function("e => e.complete && e.naturalWidth > 0", arg=image.element_handle())
    text = tab.locator(".classpage").inner_text()
    n_right = counter["correct"].sum()
    right_of_counter = "all 8" if n_right == 8 else f"{n_right} of 8"
    assert f"On {counter['background'][0]}: {right_of_counter} correct" in text
    assert "predicted" in image.get_attribute("alt")


def test_previous_and_next_go_round(visit, families):
    tab = visit(families[1])
    tab.locator(".classpage").scroll_into_view_if_needed()
    first = tab.locator(".classpage h4").inner_text()
    tab.get_by_role("button", name="Next").press("Enter")
    assert tab.locator(".classpage h4").inner_text() != first
    tab.get_by_role("button", name="Previous").click()
    assert tab.locator(".classpage h4").inner_text() == first
    tab.get_by_role("button", name="Previous").click()
    assert tab.locator(".classpage h4").inner_text() != first


def test_names_of_classes_lead_to_their_class(visit, families):
    tab = visit(families[1])
    tab.locator(".drops button.open", has_text="flamingo").press("Enter")
    tab.wait_for_selector(".classpage h4")
    assert tab.locator(".classpage h4").inner_text().startswith("flamingo")
    assert tab.evaluate("document.activeElement.dataset.pick") == "class"


def test_without_scripts_the_page_is_tables_and_a_still_picture(visit, families):
    tab = visit(families[1], scripts=False)
    assert tab.locator("#table1 tbody tr").count() == 8
    assert tab.locator("#chart1 svg path[aria-roledescription]").count() == 8
    assert tab.locator("#chart1 svg").bounding_box()["width"] > 300
    assert not tab.locator(".controls").first.is_visible()
    assert tab.get_by_text("Browsing classes needs JavaScript.").is_visible()


def test_the_page_prints_its_tables_and_its_chart(visit, families):
    tab = visit(families[1])
    tab.emulate_media(media="print")
    assert tab.locator("#table1").is_visible()
    assert tab.locator("#chart1 svg").is_visible()
    assert not tab.locator(".controls").first.is_visible()


def test_paper_holds_the_photos_of_the_chosen_class_though_nobody_scrolled_to_them(visit, families):
    tab = visit(families[1], width=390)
    assert tab.locator(".gallery img").count() == 0
    tab.pdf()  # Chromium tells the page before it prints
    images = tab.locator(".gallery img")
    assert images.count() == 16
    assert images.evaluate_all("all => all.every(image => image.complete && image.naturalWidth > 0)")


def test_photos_of_a_class_come_before_the_tables(visit, families, report):
    ids = "all => all.map(heading => heading.id).filter(Boolean)"
    with_photos = visit(families[1]).locator("h3").evaluate_all(ids)
    assert with_photos[:2] == ["class1", "scores1"]
    without = visit(report).locator("h3").evaluate_all(ids)
    assert without[0] == "scores1"


def test_the_legend_is_of_what_the_chart_shows(visit, families):
    tab = visit(families[1])
    legend = tab.locator(".legend")
    shown = legend.inner_text()
    assert "Hollow" not in shown
    assert "CounterAnimal" not in shown
    assert "Larger: more parameters" not in shown  # all have as many
    assert tab.locator(".legend li:visible").count() == 4  # two families, and their lines
    tab.get_by_role("checkbox", name="The paper’s models").check()
    assert "Hollow" in legend.inner_text()
    assert "Larger: more parameters" in legend.inner_text()


def test_no_name_becomes_markup(visit, make_run, tmp_path):
    run = make_run(
        {NASTY: (0.8, 0.3), f"{NASTY}2": (0.7, 0.6)},
        classes=[NASTY, f"{NASTY}{NASTY}"],
        name=NASTY,
        notes=[NASTY],
        warnings=[NASTY],
        path="x<y",
    )
    folder = tmp_path / "photos"
    rows = run.predictions.with_columns(
        predicted_name=pl.lit(NASTY), background=pl.lit(NASTY), path=pl.col("path") + NASTY.replace("/", "")
    )
    folder.mkdir()
    identities = {}
    for number, path in enumerate(rows["path"].unique(maintain_order=True)):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (number, 50, 50)).save(file, "PNG")
        identities[path] = photo_id(file)
    rows = rows.with_columns(photo_id=pl.col("path").replace_strict(identities))
    run = type(run)(run.path, run.info, rows, run.scores)
    about = ("path", "photo_id", "class_index", "class_name", "background", "group", "cluster")
    photos = rows.select(about).unique(maintain_order=True)
    photos = photos.with_columns(licence=pl.lit(NASTY), attribution=pl.lit(NASTY), source=pl.lit(NASTY))
    names = (NASTY, f"{NASTY}{NASTY}")
    benchmark = Benchmark(NASTY, folder, photos, LabelSpace("x", names, (None, None)))
    tab = visit(write_report([run], tmp_path / "r.html", benchmarks=[benchmark]))
    tab.locator(".classpage").scroll_into_view_if_needed()
    tab.wait_for_selector(".gallery img")
    tab.locator("#chart1").focus()
    tab.keyboard.press("ArrowRight")
    tab.locator("#tip1").wait_for()
    assert tab.locator("#tip1 strong").inner_text().startswith(NASTY)
    assert tab.evaluate("window.hurt") is None
    assert tab.locator("img[onerror], img[src=x]").count() == 0
    assert tab.locator("script:not([type])").count() == 4
    assert tab.locator(".classpage h4").inner_text().startswith(NASTY)
    assert NASTY in tab.locator(".gallery").first.inner_text()


def test_a_script_that_got_in_would_not_run(visit, chromium, report, tmp_path):
    html = report.read_text("utf-8").replace("</main>", "<script>window.hurt = 1</script></main>")
    page = tmp_path / "changed.html"
    page.write_text(html, "utf-8")
    tab = chromium.new_page()
    refused = []
    tab.on("console", lambda message: refused.append(message.text))
    tab.goto(page.as_uri())
    assert tab.evaluate("window.hurt") is None
    assert any("Content Security Policy" in text for text in refused)
    tab.close()


def test_photos_of_a_class_stand_under_the_sides_of_the_contrast(visit, cells_page):
    tab = visit(cells_page)
    body = tab.locator("[data-body]")
    body.scroll_into_view_if_needed()
    tab.wait_for_selector(".gallery img")
    sides = ["place=water & co_object=boat", "place=land & co_object=nothing"]
    assert body.locator("h5").all_inner_texts() == sides
    assert "both_shortcuts" in body.locator("h4").inner_text()
    heads = body.locator("thead th").all_text_contents()
    assert heads == ["Model", "both_shortcuts", "95 %", *sides]
    for column, boats in zip(body.locator(".sides > section").all(), (True, False), strict=True):
        paths = column.locator("img").evaluate_all("images => images.map(i => i.title)")
        assert paths
        assert all(("water" in path.split("/")[1]) == boats for path in paths)
