"""The page in a real browser: quiet, asking for nothing, to be sorted, searched and typed at.

Needs Chromium (Debian: apt-get install chromium).
"""

import polars as pl
import pytest
from PIL import Image

from counterground.photos import Benchmark, LabelSpace, photo_id
from counterground.reporting import write_report

NASTY = "</script><script>window.hurt=1</script><img src=x onerror=window.hurt=1>\"'&{{7*7}}"


def column(tab, place):
    """The values of a column in the order in which rows stand."""
    read = "(rows, k) => rows.filter(r => !r.hidden).map(r => r.cells[k].dataset.value)"
    return tab.locator("#table1 tbody tr").evaluate_all(read, place)


def test_nothing_overflows(visit, report, cells_page):
    for page in (report, cells_page):
        tab = visit(page)
        for summary in tab.locator("summary").all():
            summary.evaluate("e => e.parentElement.open = true")
        for width in (1280, 760, 390):
            tab.set_viewport_size({"width": width, "height": 900})
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            wide = tab.evaluate(
                """() => [...document.body.querySelectorAll("*")]
                .filter(e => !e.closest(".scroll, thead, svg") && e.getClientRects().length)
                .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
                .map(e => e.outerHTML.slice(0, 90))"""
            )
            assert wide == [], width


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_what_was_found_and_what_to_do_next_are_on_the_first_screen(
    visit, four_models, cells_page, tmp_path, width, height
):
    for page in (write_report([four_models], tmp_path / "page.html"), cells_page):
        tab = visit(page, width=width)
        assert tab.locator(".verdict .findings li").count() == 3
        assert tab.locator(".verdict table.beside").is_visible()
        assert tab.locator(".verdict .step").evaluate("e => e.getBoundingClientRect().bottom") <= height


@pytest.mark.parametrize(("title", "place"), [("Common", 2), ("Model", 0)])
def test_heads_sort_the_table_and_say_so(visit, families, title, place):
    tab = visit(families[1])
    values = column(tab, place)
    head = tab.locator("#table1 thead th", has_text=title).first
    head.get_by_role("button").click()
    first = column(tab, place)
    in_order = sorted(values, key=float, reverse=True) if place else sorted(values, key=str.lower)
    assert first == in_order
    assert head.get_attribute("aria-sort") == ("descending" if place else "ascending")
    head.get_by_role("button").press("Enter")
    assert column(tab, place) == first[::-1]
    assert tab.locator("#table1 [aria-sort]").count() == 1


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


def test_without_scripts_the_page_is_tables_and_pictures(visit, families):
    tab = visit(families[1], scripts=False)
    assert tab.locator("#table1 tbody tr").count() == 8
    assert tab.locator("table.beside svg[role=img]").count() == 6
    assert tab.locator("table.beside svg[role=img]").first.bounding_box()["width"] > 300
    assert not tab.locator(".controls").first.is_visible()
    assert tab.get_by_text("Browsing classes needs JavaScript.").is_visible()


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
    run = type(run)(run.path, run.info, rows)
    about = ("path", "photo_id", "class_index", "class_name", "background", "group", "cluster")
    photos = rows.select(about).unique(maintain_order=True)
    photos = photos.with_columns(licence=pl.lit(NASTY), attribution=pl.lit(NASTY), source=pl.lit(NASTY))
    names = (NASTY, f"{NASTY}{NASTY}")
    benchmark = Benchmark(NASTY, folder, photos, LabelSpace("x", names, (None, None)))
    tab = visit(write_report([run], tmp_path / "r.html", benchmarks=[benchmark]))
    tab.locator(".classpage").scroll_into_view_if_needed()
    tab.wait_for_selector(".gallery img")
    assert tab.evaluate("window.hurt") is None
    assert tab.locator("img[onerror], img[src=x]").count() == 0
    assert tab.locator("script:not([type])").count() == 2
    assert tab.locator(".classpage h4").inner_text().startswith(NASTY)
    assert NASTY in tab.locator(".gallery").first.inner_text()


def test_a_script_that_got_in_would_not_run(chromium, report, tmp_path):
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


def test_what_is_filtered_away_cannot_be_seen(visit, families):
    tab = visit(families[1], width=390)
    rows = tab.locator("#table1 tbody tr:visible th")
    assert rows.count() == 8
    tab.get_by_label("Find a model").fill("lite1")
    assert [text.split("\n")[0] for text in rows.all_inner_texts()] == ["lite1"]
