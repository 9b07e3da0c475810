"""axe-core finds nothing on the report and on a pool's page, with everything on them open."""

import pytest
from PIL import Image

from counterground.construction.pool import class_folder, open_pool
from counterground.construction.pool_page import summarise_pool, write_pool_report
from counterground.photos import photo_id


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
def test_every_reader_can_use_the_report(visit, families, cells_page, complaints, width, scheme):
    page = families[1] if scheme == "light" else cells_page
    # The page's policy would not let the checking script in.
    tab = visit(page, width=width, color_scheme=scheme, bypass_csp=True)
    tab.locator(".classpage").scroll_into_view_if_needed()
    tab.wait_for_selector(".gallery img")
    tab.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    assert complaints(tab) == []


def test_every_reader_can_use_a_pools_page(chromium, complaints, tmp_path):
    pool = open_pool(tmp_path / "pool", create=True)
    paths = []
    for number in range(4):
        paths.append(f"files/{class_folder('flamingo')}/{number}.png")
        (pool.root / paths[-1]).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (40 * number, 90, 90)).save(pool.root / paths[-1])
    pool.add_photos(
        [{"path": path, "photo_id": photo_id(pool.root / path), "class_name": "flamingo"} for path in paths]
    )
    for path, labels in zip(paths, (["water", "sand"], ["water", "water"]), strict=False):
        for name, label in zip(("ann", "ben"), labels, strict=True):
            pool.decide(path, annotator=name, task="background", labels=[label])
    context = chromium.new_context(color_scheme="dark", bypass_csp=True)
    tab = context.new_page()
    tab.goto(write_pool_report(summarise_pool(pool), tmp_path / "pool.html").as_uri())
    tab.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    assert complaints(tab) == []
    context.close()
