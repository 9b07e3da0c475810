"""Usable with a keyboard, a screen reader, a thumb, in light and in dark."""

import pytest
from PIL import Image

PAGES = ("label/background", "label/review", "disagreements/background", "progress", "agreement", "labels")


@pytest.fixture
def busy(pool):
    """A pool in which there is something to see on every page."""
    paths = pool.photos()["path"].to_list()
    pool.set_setting("guidance", {"flamingo": "The ground below it, not the sky behind it."})
    (pool.root / "guide" / "flamingo").mkdir(parents=True)
    Image.new("RGB", (90, 60), "pink").save(pool.root / "guide" / "flamingo" / "one.png")
    for path, labels in zip(paths, (["water", "sand"], ["sand", "sand"]), strict=False):
        for name, label in zip(("ben", "cyd"), labels, strict=True):
            pool.decide(path, annotator=name, task="background", labels=[label], seconds=1.5)
    pool.decide(paths[5], annotator="ben", task="background", labels=["sky"])
    pool.decide(paths[5], annotator="ben", task="background", labels=["snow"], adjudicates=True)
    return pool


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_has_a_name_and_can_be_read(busy, serve, visit, complaints, audit, scheme):
    ann = visit(serve(busy, "--second", "1").links["ann"], color_scheme=scheme)
    base = ann.page.url.split("/label")[0]
    for path in PAGES:
        ann.page.goto(f"{base}/{path}")
        if path.startswith(("label/", "dis")):
            ann.see()
        for width, height in ((1280, 800), (390, 844), (320, 640)):
            ann.page.set_viewport_size({"width": width, "height": height})
            found = ann.page.evaluate(audit)
            assert found == {
                "nameless": [], "faint": [], "small": [], "headings": 1, "wide": 0, "unnamedPictures": 0,
                "language": "en",
            }, (path, width)  # fmt: skip
            if width == 390:
                assert complaints(ann.page) == [], path
    dark = ann.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert dark == (scheme == "dark")


def test_the_theme_can_be_chosen_and_is_kept(pool, serve, visit):
    ann = visit(serve(pool).links["ann"], color_scheme="light")
    ann.see()
    paper = "() => getComputedStyle(document.body).backgroundColor"
    light = ann.page.evaluate(paper)
    button = ann.page.get_by_role("button", name="Theme")
    button.click()
    button.click()
    assert button.inner_text() == "Theme: dark"
    dark = ann.page.evaluate(paper)
    ann.page.reload()
    assert ann.page.evaluate(paper) == dark != light


def test_labels_are_within_reach_of_a_thumb_and_the_photo_is_not_tiny(pool, serve, visit):
    ann = visit(serve(pool).links["ann"], has_touch=True)
    for task in ("background", "review"):
        ann.page.set_viewport_size({"width": 390, "height": 844})
        ann.page.goto(ann.page.url.rsplit("/", 1)[0] + f"/{task}")
        ann.see()
        stage = ann.page.locator(".stage").bounding_box()
        assert stage["height"] > 280
        for button in ann.page.locator(".choice, .actions button:visible").all():
            box = button.bounding_box()
            assert box["y"] >= stage["y"] + stage["height"]
            assert box["y"] + box["height"] <= 844
            assert box["height"] >= 44


def test_what_labels_mean_is_a_tap_away_on_a_phone(pool, serve, visit):
    ann = visit(serve(pool).links["ann"], has_touch=True)
    ann.see()
    assert ann.page.get_by_text("bare, or mixed").first.is_visible()  # there is room for it
    assert ann.page.locator("#hints").is_hidden()
    for size in ({"width": 390, "height": 844}, {"width": 1280, "height": 700}):
        ann.page.set_viewport_size(size)
        assert ann.page.locator(".choice .meaning:visible").count() == 0
        ann.page.get_by_role("button", name="Hints").tap()
        assert ann.page.locator(".choice .meaning:visible").count() == 14
        for button in ann.page.locator(".choice").all():
            box = button.bounding_box()
            assert box["y"] + box["height"] <= size["height"]
        ann.page.reload()  # it is remembered
        ann.see()
        assert ann.page.locator(".choice .meaning:visible").count() == 14
        ann.page.get_by_role("button", name="Hints").tap()
        assert ann.page.locator(".choice .meaning:visible").count() == 0


@pytest.mark.parametrize("width", [360, 1280])
def test_long_words_break(tmp_path, make_pool, serve, visit, width):
    pool = make_pool(tmp_path / "pool", {"Hippopotamus_amphibius_" * 3: 1})
    pool.set_setting("background_labels", ["W" * 40, "M" * 40])
    path = pool.photos()["path"][0]
    for name, label in zip(("ben", "cyd"), pool.background_labels(), strict=True):
        pool.decide(path, annotator=name, task="background", labels=[label])
    ann = visit(serve(pool).links["ann"])
    ann.page.set_viewport_size({"width": width, "height": 800})
    ann.page.goto(ann.page.url.replace("label", "disagreements"))
    ann.see()
    for part in ("h1", ".vote", ".choice", ".panel"):
        wide = "all => all.filter(each => each.scrollWidth > each.clientWidth).length"
        assert ann.page.locator(part).evaluate_all(wide) == 0, part


def test_the_class_is_seen_on_a_phone_however_many_labels_there_are(pool, serve, visit):
    pool.set_setting("background_labels", [f"label {number}" for number in range(40)])
    ann = visit(serve(pool).links["ann"])
    ann.page.set_viewport_size({"width": 360, "height": 740})
    ann.see()
    box = ann.page.locator("#class").bounding_box()
    middle = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
    assert ann.page.evaluate("([x, y]) => document.elementFromPoint(x, y)?.id", middle) == "class"


def test_all_of_it_without_a_mouse(pool, serve, visit):
    ann = visit(serve(pool).links["ann"])
    ann.see()
    order = []
    for _ in range(60):
        ann.page.keyboard.press("Tab")
        order.append(ann.page.evaluate("document.activeElement.textContent.trim().split(/\\s+/).at(-1)"))
        if ann.page.evaluate("document.activeElement.dataset.label === 'ground'"):
            break
    assert order[0] == "content"  # the link that skips the navigation comes first
    assert ann.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    ann.press("Enter")  # Enter and Space belong to the button that has the focus
    assert ann.page.evaluate("document.activeElement.dataset.label") == "ground"
    ann.press("Space")
    ann.saved()
    assert pool.decisions()["labels"].to_list() == [["ground"]] * 2
    assert pool.decisions()["path"].n_unique() == 2
    said = ann.page.inner_text("#said")
    assert said.startswith("ground. Next: flamingo.")
    assert said.endswith("Photo 3 of 8.")


def test_help_opens_and_keys_can_be_switched_off(pool, serve, visit):
    ann = visit(serve(pool).links["ann"])
    ann.see()
    ann.page.keyboard.press("?")
    assert "road" in ann.page.inner_text("#help")
    ann.page.keyboard.press("w")  # not while help is open
    ann.page.get_by_label("One keypress decides").uncheck()
    ann.page.keyboard.press("Escape")
    ann.page.wait_for_selector("#help", state="hidden")
    ann.page.wait_for_function(
        "() => document.activeElement === document.body"
    )  # Chromium moves it a frame later
    for key in ("w", "l", "u", "Space"):
        ann.page.keyboard.press(key)
    ann.page.reload()
    ann.see()
    ann.page.keyboard.press("w")
    ann.page.get_by_role("button", name="water").click()
    ann.saved()
    assert pool.decisions()["labels"].to_list() == [["water"]]


def test_zoom_by_key_wheel_click_and_drag(pool, serve, visit):
    ann = visit(serve(pool).links["ann"])
    ann.see()
    place = "() => document.querySelector('.view img').getBoundingClientRect().toJSON()"
    fitted = ann.page.evaluate(place)
    assert fitted["width"] == 160  # a photo of 40 pixels is enlarged to be seen, but not to a blur
    ann.page.keyboard.press("z")
    zoomed = ann.page.evaluate(place)
    assert zoomed["width"] == 320
    ann.page.keyboard.press("z")
    assert ann.page.evaluate(place) == fitted
    ann.page.get_by_role("button", name="Full size").click()
    assert ann.page.evaluate(place)["width"] == 40
    view = ann.page.locator("#view").bounding_box()
    ann.page.mouse.move(view["x"] + view["width"] / 2, view["y"] + view["height"] / 2)
    for _ in range(4):
        ann.page.mouse.wheel(0, -1000)
    ann.page.wait_for_function(
        "() => document.querySelector('.view img').getBoundingClientRect().width === 480"
    )
    ann.page.set_viewport_size({"width": 800, "height": 400})
    before = ann.page.evaluate(place)
    ann.page.mouse.move(200, 200)
    ann.page.mouse.down()
    ann.page.mouse.move(200, 120, steps=4)
    ann.page.mouse.up()
    after = ann.page.evaluate(place)
    assert after["y"] < before["y"]
    ann.page.keyboard.press("ArrowUp")
    assert ann.page.evaluate(place)["y"] > after["y"]
    ann.page.mouse.click(200, 200)  # a click, unlike a drag, goes back to the whole
    assert ann.page.evaluate("document.querySelector('#view').dataset.zoomed") == "false"
    ann.press("w")
    assert ann.page.evaluate("document.querySelector('#view').dataset.zoomed") == "false"


def test_seconds_stand_still_while_the_page_is_hidden(pool, serve, visit):
    ann = visit(serve(pool).links["ann"])
    ann.page.clock.install()
    ann.see()
    hide = """hidden => {
      Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    ann.page.evaluate(hide, True)
    ann.page.clock.fast_forward("10:00")
    ann.page.evaluate(hide, False)
    ann.press("w")
    ann.page.clock.fast_forward("10:00")
    ann.press("w")
    ann.saved()
    hidden, shown = pool.decisions()["seconds"]
    assert hidden < 300
    assert shown >= 600


def test_motion_is_not_forced_on_anyone(pool, serve, visit):
    ann = visit(serve(pool).links["ann"], reduced_motion="reduce")
    ann.see()
    moving = ann.page.evaluate("""() => [...document.querySelectorAll("*")].map(e => getComputedStyle(e))
      .filter(style => parseFloat(style.transitionDuration) > 0 || style.animationName !== "none").length""")
    assert moving == 0


def test_a_photo_that_cannot_be_shown_can_be_discarded(pool, serve, visit):
    broken = pool.photos()["path"].to_list()
    for path in broken:
        pool.photo_file(path).write_bytes(b"no picture at all")
    ann = visit(serve(pool, "--task", "review").links["ann"], outages=True)
    ann.page.wait_for_selector(".choice:enabled")
    assert "cannot be read: not an image" in ann.page.inner_text("#notice")
    ann.page.keyboard.press("f")
    ann.page.wait_for_function("() => document.querySelector('#count').textContent.startsWith('1 of 8')")
    ann.saved()
    assert pool.decisions()["labels"].to_list() == [["feature noise"]]


def test_another_picture_in_place_of_a_photo_is_not_shown_as_that_photo(pool, serve, visit):
    first, *others = pool.photos()["path"].to_list()
    for path in others:
        pool.photo_file(path).write_bytes(pool.photo_file(first).read_bytes())
    pool.photo_file(first).unlink()
    ann = visit(serve(pool, "--task", "review").links["ann"], outages=True)
    said = {"changed": 0, "missing": 0}
    for place in range(1, 9):
        ann.page.wait_for_function(
            "place => document.querySelector('#said').textContent.endsWith(`Photo ${place} of 8.`)",
            arg=place,
        )
        notice = ann.page.inner_text("#notice")
        said["changed"] += "it has changed since it was added to the pool" in notice
        said["missing"] += "is missing" in notice
        ann.page.keyboard.press("f")
    ann.page.wait_for_selector("#end:not([hidden])")
    assert said == {"changed": 7, "missing": 1}
