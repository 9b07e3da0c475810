"""Reviewing masks as an annotator does it: keys, a brush, a polygon, fingers, and a server that is killed."""

import numpy as np
import pytest
from drawn_masks import SIZE, disc, inside, save_masks
from PIL import ImageDraw

from counterground.masks import read_masks, standing

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


def test_the_file_is_what_was_drawn_with_brush_and_polygon(folder, serve, visit):
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
    # The next photo has a mask: a polygon, closed by its first corner, adds to that.
    start_drawing(ann)
    ann.page.keyboard.press("e")  # adds again
    ann.page.keyboard.press("p")
    for x, y in ((85, 10), (110, 10), (110, 40), (100, 60)):
        mouse.click(*frame(ann, x, y))
    ann.page.keyboard.press("Backspace")  # takes back the last corner
    mouse.click(*frame(ann, 85, 40))
    mouse.click(*frame(ann, 85.5, 10.5))
    save(ann)
    expected = disc()
    ImageDraw.Draw(expected).rectangle((85, 10, 109, 39), fill=255)
    assert agreement(drawn(folder, A), np.asarray(expected) > 127) > 0.97


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


def test_everything_has_a_name_and_can_be_read(folder, serve, visit, complaints, audit):
    ann = visit(serve(folder).links["ann"], color_scheme="light", reduced_motion="reduce")
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
