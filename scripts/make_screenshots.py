"""Label and evaluate drawn pictures, and take the screenshots of the label page and the report.

Run by hand: ``python scripts/make_screenshots.py [FOLDER]`` (docs/images). It needs Chromium and Playwright.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from drawn_animals import draw
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

import counterground as cg
from counterground.benchmarks import open_benchmark
from counterground.construction.pool import Pool, class_folder, open_pool
from counterground.photos import photo_id

WHERE = {
    "black swan": ["water", "grass", "water", "sand", "water", "grass"],
    "flamingo": ["water", "sand", "water", "grass", "water", "water"],
    "ice bear": ["snow", "snow", "rock", "grass", "snow", "water"],
}
REPORT_PLACES = {
    "black swan": ("water", "sand"),
    "flamingo": ("water", "road"),
    "ice bear": ("snow", "grass"),
}
MODELS = (
    "efficientnet-lite0",
    "efficientnet-lite1",
    "counterground:stamps-biased",
    "counterground:stamps-balanced",
)
PER_GROUP = 12


def make_pool(folder: Path) -> Pool:
    """Make a pool of drawn pictures."""
    pool = open_pool(folder, create=True)
    rows = []
    for animal, places in WHERE.items():
        for number, place in enumerate(places * 3):
            path = f"files/{class_folder(animal)}/{number:02d}.jpg"
            file = pool.root / path
            file.parent.mkdir(exist_ok=True)
            draw(animal, place, number).save(file, quality=88)
            rows.append({"path": path, "photo_id": photo_id(file), "class_name": animal, "licence": "cc0"})
    pool.add_photos(rows)
    return pool


def add_decisions(pool: Pool) -> None:
    """Let two annotators decide on some photos and disagree on a few."""
    random = np.random.default_rng(0)
    for number, row in enumerate(pool.photos().iter_rows(named=True)):
        place = WHERE[row["class_name"]][int(Path(row["path"]).stem) % 6]
        if number % 9 > 5:
            continue
        for name in ("ann", "ben")[: 1 + (number % 3 == 0)]:
            seen = "ground" if name == "ben" and number % 6 == 0 else place
            seconds = float(random.uniform(1.2, 4))
            pool.decide(row["path"], annotator=name, task="background", labels=[seen], seconds=seconds)
            pool.decide(row["path"], annotator=name, task="review", labels=["keep"], seconds=seconds)


def make_report(folder: Path) -> Path:
    """Draw a benchmark, evaluate ``MODELS`` on it, and return the page."""
    root = folder / "drawn animals"
    for animal, places in REPORT_PLACES.items():
        for group, place in zip(("common", "counter"), places, strict=True):
            target = root / animal / f"{group}-{place}"
            target.mkdir(parents=True, exist_ok=True)
            for number in range(PER_GROUP):
                picture = draw(animal, place, number).resize((400, 300))
                picture.save(target / f"{number:02d}.jpg", quality=88)
    run = cg.evaluate(root, MODELS, out=folder / "run")
    return cg.report([run], folder / "report.html", benchmarks=[open_benchmark(root)])


@contextmanager
def serve(pool: Path, *options: str) -> Iterator[str]:
    """Run the server and yield the link of the annotator."""
    command = [
        sys.executable,
        "-m",
        "counterground",
        "data",
        "label",
        str(pool),
        "--no-open",
        "--annotator",
        "ann",
    ]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            assert process.stdout is not None
            links = (re.search(r"http://\S+", line) for line in process.stdout)
            yield next(link[0] for link in links if link)
        finally:
            process.terminate()


def _open(browser: Browser, link: str) -> Page:
    page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
    page.goto(link)
    page.wait_for_selector(".choice:enabled")
    return page


def _shoot(page: Page, out: Path) -> None:
    page.wait_for_function("document.querySelector('.view img')?.complete")
    page.wait_for_timeout(300)
    page.screenshot(path=out)
    _shrink(out)


def _shrink(out: Path) -> None:
    image = Image.open(out).convert("RGB")
    # A palette keeps the file small; the page has few colours besides the photo's.
    image.quantize(256, kmeans=3, dither=Image.Dither.NONE).save(out, optimize=True)
    print(f"{out}: {out.stat().st_size // 1000} kB")


def shoot_report(browser: Browser, report: Path, out: Path) -> None:
    """Take screenshots of the first screen, also on a phone, and of a class with its photos."""
    views = {
        "report-verdict": ({"width": 1280, "height": 800}, "light", "body"),
        "report-chart": ({"width": 390, "height": 844}, "dark", "body"),
        "report-class": ({"width": 1280, "height": 908}, "light", "[id^=class]"),
    }
    for name, (size, scheme, top) in views.items():
        page = browser.new_page(viewport=size, color_scheme=scheme)
        page.goto(report.as_uri())
        page.wait_for_selector("svg.strip")
        page.locator(top).first.evaluate("e => scrollTo(0, e.getBoundingClientRect().top + scrollY - 12)")
        if name == "report-class":
            page.locator("[data-pick=class]").select_option(label="ice bear")
            page.wait_for_selector(".gallery img")
        page.wait_for_timeout(500)
        page.screenshot(path=out / f"{name}.png")
        _shrink(out / f"{name}.png")
        page.close()


def main(out: Path) -> None:
    """Write the screenshots into ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        pool = make_pool(Path(folder) / "birds and bears")
        add_decisions(pool)
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        with serve(pool.root, "--task", "review") as link:
            page = _open(browser, link)
            _shoot(page, out / "label-review.png")
        with serve(pool.root) as link:
            page = _open(browser, link)
            page.keyboard.press("Shift+W")
            page.keyboard.press("Shift+K")
            _shoot(page, out / "label-background.png")
        shoot_report(browser, make_report(Path(folder)), out)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs" / "images")
