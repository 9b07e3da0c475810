"""Reviewing masks as an annotator does it: keys, a brush, a polygon, fingers, and a server that is killed."""

import uuid

import numpy as np
import polars as pl
import pytest
from drawn_masks import SIZE, disc, inside, save_masks
from PIL import Image, ImageDraw

from counterground.masks import MaskDecisions, make_masks, mask_id, read_masks, standing
from counterground.photos import photo_id, read_benchmark

A, B, C, D, E = (f"ox/grass/{name}.png" for name in "abcde")


@pytest.fixture
def folder(tmp_path):
    return save_masks(tmp_path).folder


def verdicts(folder):
    return {path: decision.verdict for path, decision in standing(folder).items()}


def frame(visitor, x, y):
    """Where a point of the photo (pixels) is on the screen."""
    box = visitor.page.locator("#view img").bounding_box()
    return box["x"] + box["width"] * x / SIZE[0], box["y"] + box["height"] * y / SIZE[1]


def drawn(folder, path):
    return inside(folder / standing(folder)[path].mask)


def start_drawing(visitor):
    visitor.page.keyboard.press("d")
    visitor.page.wait_for_selector("#tools:not([hidden])")


def save(visitor):
    before = visitor.shown()
    visitor.page.keyboard.press("Enter")
    visitor.page.wait_for_function(
        "was => (document.querySelector('.view img')?.getAttribute('src') ?? '') !== was", arg=before
    )
    visitor.saved()


def agreement(one, other):
    """Intersection over union."""
    return (one & other).sum() / (one | other).sum()


def test_what_fails_a_check_comes_first_and_keys_decide(folder, serve, visit):
    server = serve(folder)
    ann = visit(server.links["ann"])
    ann.see()
    assert "too large: the object's area is above the limit" in ann.page.inner_text("#reason")
    assert ann.page.inner_text("#left") == "5 left"
    ann.press("a")
    ann.page.wait_for_selector("[data-verdict=accepted]:disabled")  # e has no mask that could be accepted
    assert "missing" in ann.page.inner_text("#reason")
    ann.page.keyboard.press("a")
    ann.press("l")
    assert ann.page.locator("#reason").is_hidden()
    ann.press("r")
    second = ann.shown()
    ann.press("a")
    ann.press("u")
    assert ann.shown() == second
    assert "Before: accepted" in ann.page.inner_text("#before")
    ann.page.get_by_role("button", name="Reject").click()
    ann.page.wait_for_function("was => !document.querySelector('.view img').src.endsWith(was)", arg=second)
    ann.press("a")
    ann.page.wait_for_selector("[data-verdict=accepted]:disabled")  # the one that was put off comes back
    ann.page.keyboard.press("r")
    ann.page.wait_for_selector("#end:not([hidden])")
    ann.saved()
    assert verdicts(folder) == {A: "rejected", B: "rejected", C: "accepted", D: "accepted", E: "rejected"}
    printed = server.stop()
    assert "Stopped. 5 decisions (ann 5). 2 of 5 photos have a usable mask" in printed


def test_a_brush_adds_and_erases_and_the_file_is_what_was_drawn(folder, serve, visit):
    ann = visit(serve(folder).links["ann"])
    ann.see()
    ann.press("l")
    start_drawing(ann)
    mouse = ann.page.mouse
    scale = ann.page.locator("#view img").bounding_box()["width"] / SIZE[0]
    ann.page.evaluate("size => { const s = document.querySelector('#size'); s.value = size; "
                      "s.dispatchEvent(new Event('input')); }", round(10 * scale))  # fmt: skip

    def stroke(start, end):
        mouse.move(*frame(ann, *start))
        mouse.down()
        mouse.move(*frame(ann, *end), steps=6)
        mouse.up()

    stroke((20, 20), (100, 20))
    stroke((20, 70), (100, 70))
    ann.page.keyboard.press("u")  # the second stroke
    ann.page.keyboard.press("e")
    stroke((60, 10), (60, 40))
    save(ann)
    found = drawn(folder, E)
    y, x = np.mgrid[: SIZE[1], : SIZE[0]] + 0.5
    added = np.hypot(np.clip(x, 20, 100) - x, y - 20) < 5
    erased = np.hypot(x - 60, np.clip(y, 10, 40) - y) < 5
    assert found.shape == SIZE[::-1]
    assert agreement(found, added & ~erased) > 0.98
    assert not found[60:].any()


def test_a_polygon_is_closed_by_its_first_corner_and_starts_from_the_mask(folder, serve, visit):
    ann = visit(serve(folder).links["ann"])
    ann.see()
    for _ in range(2):
        ann.press("l")
    start_drawing(ann)
    ann.page.keyboard.press("p")
    for x, y in ((85, 10), (110, 10), (110, 40), (100, 60)):
        ann.page.mouse.click(*frame(ann, x, y))
    ann.page.keyboard.press("Backspace")  # takes back the last corner
    ann.page.mouse.click(*frame(ann, 85, 40))
    ann.page.mouse.click(*frame(ann, 85.5, 10.5))
    assert ann.page.inner_text("#save").strip().endswith("Save")
    save(ann)
    assert list(verdicts(folder).values()) == ["redrawn"]
    expected = disc()
    ImageDraw.Draw(expected).rectangle((85, 10, 109, 39), fill=255)
    assert agreement(drawn(folder, A), np.asarray(expected) > 127) > 0.97


def test_an_empty_drawing_is_not_saved_and_one_that_is_left_is_kept(folder, serve, visit):
    ann = visit(serve(folder).links["ann"])
    ann.see()
    start_drawing(ann)
    ann.page.keyboard.press("c")
    ann.page.keyboard.press("Enter")
    ann.page.get_by_text("The mask is empty").wait_for()
    ann.page.mouse.click(*frame(ann, 60, 45))
    ann.page.keyboard.press("Escape")
    assert ann.page.locator("#tools").is_hidden()
    start_drawing(ann)
    save(ann)
    assert 0 < drawn(folder, C).mean() < 0.1
    ann.press("u")
    ann.saved()
    assert verdicts(folder) == {}
    start_drawing(ann)
    save(ann)
    assert 0 < drawn(folder, C).mean() < 0.1


def test_one_finger_draws_and_two_zoom(folder, serve, visit):
    ann = visit(serve(folder).links["ann"], has_touch=True)
    ann.page.set_viewport_size({"width": 390, "height": 844})
    ann.see()
    ann.press("l")
    start_drawing(ann)
    touch = ann.context.new_cdp_session(ann.page)

    def fingers(kind, *points):
        down = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": down})

    one, other = frame(ann, 50, 45), frame(ann, 70, 45)
    fingers("touchStart", one)
    fingers("touchStart", one, other)
    fingers("touchMove", (one[0] - 60, one[1]), (other[0] + 60, other[1]))
    fingers("touchEnd")
    ann.page.wait_for_selector("#view[data-zoomed=true]")
    ann.page.get_by_role("button", name="Fit to the window").tap()
    ann.page.keyboard.press("Enter")
    ann.page.get_by_text("The mask is empty").wait_for()  # fingers that zoom leave no stroke
    fingers("touchStart", frame(ann, 30, 30))
    fingers("touchMove", frame(ann, 90, 30))
    fingers("touchEnd")
    save(ann)
    found = drawn(folder, E)
    assert found[30, 31:89].all()
    assert not found[80:].any()


def test_a_killed_server_loses_nothing_and_goes_on(folder, serve, visit):
    server = serve(folder)
    ann = visit(server.links["ann"], outages=True)
    ann.see()
    ann.press("a")
    ann.saved()
    server.kill()
    start_drawing(ann)
    ann.page.mouse.click(*frame(ann, 60, 45))
    ann.press("Enter")  # the drawing waits in the browser
    ann.press("a")
    ann.page.wait_for_selector("#saved[data-state=away]")
    again = serve(folder)
    assert again.port == server.port
    ann.context.request.get(again.links["ann"])
    ann.saved()
    assert verdicts(folder) == {C: "accepted", E: "redrawn", A: "accepted"}
    ann.page.reload()
    ann.see()
    assert ann.page.inner_text("#count").startswith("3 of 5")
    ann.press("u")  # after a reload only the server knows what was last
    ann.saved()
    assert verdicts(folder) == {C: "accepted", E: "redrawn"}
    assert read_masks(folder).usable == 5


def test_two_annotators_share_the_work(folder, serve, visit):
    server = serve(folder, annotators=["ann", "ben"])
    ann, ben = (visit(server.links[name]) for name in ("ann", "ben"))
    ann.see()
    mask = read_masks(folder).table.row(by_predicate=pl.col("path") == A, named=True)["mask"]
    judged = photo_id(folder / mask)
    MaskDecisions(folder).decide(A, "accepted", annotator="ben", token="0" * 32, judged=judged)
    ann.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    ben.page.wait_for_selector("#end:not([hidden])")  # the five are on the screen of ann
    ann.page.wait_for_function("() => document.querySelector('#left').textContent === '4 left'")
    for key in ("a", "r", "a"):
        ann.press(key)
    ann.page.keyboard.press("a")
    ann.page.wait_for_selector("#end:not([hidden])")
    ann.saved()
    assert MaskDecisions(folder).made_since(0) == {"ben": 1, "ann": 4}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_has_a_name_and_can_be_read(folder, serve, visit, complaints, audit, scheme):
    ann = visit(serve(folder).links["ann"], color_scheme=scheme, reduced_motion="reduce")
    for width, height in ((1280, 800), (390, 844), (320, 640)):
        ann.page.set_viewport_size({"width": width, "height": height})
        ann.page.reload()
        ann.see()
        for key in ("o", "d", "p"):
            ann.page.keyboard.press(key)
            found = ann.page.evaluate(audit)
            assert found == {
                "nameless": [], "faint": [], "small": [], "headings": 1, "wide": 0, "unnamedPictures": 0,
                "language": "en",
            }, (key, width)  # fmt: skip
            if width == 390:
                assert complaints(ann.page) == [], key
        save_button = ann.page.locator("#save").bounding_box()
        assert save_button["y"] + save_button["height"] <= height
        assert ann.page.locator(".stage").bounding_box()["height"] > height / 3 - 1


def test_tint_and_outline_can_be_taken_off(folder, serve, visit):
    ann = visit(serve(folder).links["ann"])
    ann.see()
    ann.press("l")
    ann.press("l")
    opaque = """() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => {
      const canvas = document.querySelector('#overlay');
      const copy = document.createElement('canvas');
      Object.assign(copy, {width: canvas.width, height: canvas.height});
      const context = copy.getContext('2d', {willReadFrequently: true});
      context.drawImage(canvas, 0, 0);
      const {data} = context.getImageData(0, 0, copy.width, copy.height);
      let count = 0;
      for (let place = 3; place < data.length; place += 4) count += data[place] > 0;
      done(count);
    })))"""
    counts = [ann.page.evaluate(opaque)]
    for _ in range(3):
        ann.page.keyboard.press("o")
        counts.append(ann.page.evaluate(opaque))
    tinted, outlined, nothing, again = counts
    assert tinted > 10 * outlined > 0
    assert nothing == 0
    assert again == tinted


def hold_a_stroke(visitor, *points):
    """Draw to the last point, and keep the button down."""
    visitor.page.mouse.move(*frame(visitor, *points[0]))
    visitor.page.mouse.down()
    for point in points[1:]:
        visitor.page.mouse.move(*frame(visitor, *point), steps=4)


@pytest.mark.parametrize("key", ["Escape", "p", "m"])
def test_a_stroke_ends_where_something_else_is_chosen(folder, serve, visit, key):
    ann = visit(serve(folder).links["ann"])
    ann.see()
    ann.press("l")
    start_drawing(ann)
    hold_a_stroke(ann, (20, 20), (40, 20))
    ann.page.keyboard.press(key)
    ann.page.mouse.up()
    if key == "Escape":
        start_drawing(ann)
    ann.page.keyboard.press("b")
    ann.page.mouse.move(*frame(ann, 100, 75), steps=4)  # no button is down
    save(ann)
    found = drawn(folder, E)
    assert found[20, 20:40].all()
    assert not found[40:].any()


@pytest.mark.parametrize("key", ["u", "c"])
def test_what_is_taken_back_while_it_is_drawn_does_not_return(folder, serve, visit, key):
    ann = visit(serve(folder).links["ann"])
    ann.see()
    ann.press("l")
    start_drawing(ann)
    hold_a_stroke(ann, (20, 20), (60, 20))
    ann.page.keyboard.press(key)
    ann.page.mouse.move(*frame(ann, 60, 60), steps=4)
    ann.page.mouse.up()
    for x in (90, 60):
        ann.page.mouse.click(*frame(ann, x, 70))
    ann.page.keyboard.press("u")  # draws all that is left again
    save(ann)
    found = drawn(folder, E)
    assert found[70, 90]
    assert not found[:50].any()


def test_a_polygon_that_is_not_closed_is_not_taken_from_the_screen(folder, serve, visit):
    ann = visit(serve(folder).links["ann"])
    ann.see()
    start_drawing(ann)
    ann.page.keyboard.press("p")
    for x, y in ((20, 20), (60, 20), (60, 60)):
        ann.page.mouse.click(*frame(ann, x, y))
    mask = read_masks(folder, reviewed=False).table.filter(pl.col("path") == C).row(0, named=True)
    MaskDecisions(folder).decide(
        C, "rejected", annotator="ben", token=str(uuid.uuid4()),
        judged=mask_id(folder, mask["mask"]), photo=mask["photo_id"],
    )  # fmt: skip
    with ann.page.expect_response("**/api/next") as answer:
        ann.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    assert answer.value.json()["revoked"] == [C]
    ann.page.keyboard.press("Enter")
    save(ann)
    assert verdicts(folder) == {C: "redrawn"}


def test_brackets_are_typed_with_alt_on_many_keyboards(folder, serve, visit):
    ann = visit(serve(folder).links["ann"])
    ann.see()
    start_drawing(ann)
    press = """([key, code, more]) => document.body.dispatchEvent(
        new KeyboardEvent("keydown", {key, code, bubbles: true, cancelable: true, ...more}))"""
    sizes = [ann.page.input_value("#size")]
    for key, code, more in (
        ("]", "Digit9", {"modifierAltGraph": True}),  # German
        ("]", "Digit6", {"altKey": True}),  # German on a Mac
        ("[", "Digit8", {"modifierAltGraph": True}),
        ("@", "KeyC", {"modifierAltGraph": True}),  # no command
    ):
        ann.page.evaluate(press, [key, code, more])
        sizes.append(ann.page.input_value("#size"))
    small, larger, largest, smaller, same = map(int, sizes)
    assert small < larger < largest > smaller == same
    save(ann)
    assert drawn(folder, C).any()  # not cleared


def test_what_was_drawn_is_there_when_a_postponed_photo_returns(folder, serve, visit):
    ann = visit(serve(folder).links["ann"])
    first = ann.see()
    start_drawing(ann)
    ann.page.keyboard.press("c")
    ann.page.mouse.click(*frame(ann, 60, 45))
    ann.page.keyboard.press("Escape")
    ann.press("l")
    for _ in range(4):
        ann.press("r")
    assert ann.shown() == first
    start_drawing(ann)
    save(ann)
    assert 0 < drawn(folder, C).mean() < 0.1


def test_a_photo_that_states_another_size_is_drawn_on_as_it_is_stored(tmp_path, serve, visit):
    """Browsers show it in the size that its EXIF states, if its resolution fits."""
    file = tmp_path / "photos" / "ox" / "grass" / "a.jpg"
    file.parent.mkdir(parents=True)
    exif = Image.Exif()
    exif[0x011A] = exif[0x011B] = 144.0  # resolution, in
    exif[0x0128] = 2  # pixels per inch
    exif.get_ifd(0x8769).update({0xA002: SIZE[0] // 2, 0xA003: SIZE[1] // 2})
    Image.new("RGB", SIZE, "white").save(file, exif=exif)
    (tmp_path / "drawn").mkdir()
    disc().save(tmp_path / "drawn" / "a.png")
    masks = make_masks(read_benchmark(tmp_path / "photos"), str(tmp_path / "drawn"), tmp_path / "masks")
    ann = visit(serve(masks.folder).links["ann"])
    ann.see()
    start_drawing(ann)
    ann.page.mouse.click(*frame(ann, 10, 10))
    ann.page.keyboard.press("Enter")
    ann.page.wait_for_selector("#end:not([hidden])")
    ann.saved()
    assert drawn(masks.folder, "ox/grass/a.jpg")[10, 10]
