"""Usable with a keyboard, a screen reader, a thumb, in light and in dark."""

import pytest

PAGES = ("label/background", "label/review", "disagreements/background")


@pytest.fixture
def busy(pool):
    """A pool in which there is something to see on every page."""
    paths = pool.photos()["path"].to_list()
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
