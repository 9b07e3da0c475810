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


def test_everything_has_a_name_and_can_be_read(busy, serve, visit, complaints, audit):
    ann = visit(serve(busy, "--second", "1").links["ann"], color_scheme="dark")
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
