"""Draw pictures, label and evaluate them, and take the screenshots of the label page and the report.

Run by hand: ``python scripts/make_screenshots.py [FOLDER]`` (docs/images). It needs Chromium and Playwright.
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from playwright.sync_api import Browser, Page, sync_playwright

from counterground.photos import photo_id
from counterground.pool import Pool, open_pool

SIZE = (1200, 900)
PLACES = {
    "snow": ((176, 202, 226), (240, 245, 250)),
    "grass": ((150, 196, 232), (106, 150, 66)),
    "water": ((176, 208, 232), (52, 110, 148)),
    "sand": ((134, 186, 226), (222, 196, 146)),
    "rock": ((170, 190, 205), (126, 122, 118)),
    "road": ((186, 200, 210), (92, 94, 98)),
}
WHERE = {
    "black swan": ["water", "grass", "water", "sand", "water", "grass"],
    "flamingo": ["water", "sand", "water", "grass", "water", "water"],
    "ice bear": ["snow", "snow", "rock", "grass", "snow", "water"],
}
GUIDANCE = "The surface the animal stands or swims on, not what is far behind it."


def draw(animal: str, place: str, seed: int) -> Image.Image:
    """Draw an animal somewhere on a background."""
    random = np.random.default_rng([seed, len(animal)])
    image = _background(place, random)
    scale = float(random.uniform(0.8, 1.25))
    at = (SIZE[0] * float(random.uniform(0.35, 0.6)), SIZE[1] * float(random.uniform(0.6, 0.72)))
    layer = Image.new("RGBA", SIZE)
    pen = ImageDraw.Draw(layer)
    ANIMALS[animal](pen, at, 190 * scale)
    if random.random() < 0.5:
        layer = layer.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    shade = Image.new("RGBA", SIZE)
    box = layer.getbbox()
    assert box is not None
    ImageDraw.Draw(shade).ellipse((box[0], box[3] - 40, box[2], box[3] + 40), fill=(0, 0, 0, 90))
    image.paste(
        shade.filter(ImageFilter.GaussianBlur(18)), (0, 0), shade.filter(ImageFilter.GaussianBlur(18))
    )
    layer = layer.filter(ImageFilter.GaussianBlur(1.2))
    image.paste(layer, (0, 0), layer)
    return image


def _background(place: str, random: np.random.Generator) -> Image.Image:
    sky, ground = (np.array(colour, float) for colour in PLACES[place])
    height, width = SIZE[1], SIZE[0]
    horizon = int(height * random.uniform(0.3, 0.42))
    rows = np.linspace(0, 1, height)[:, None, None]
    pixels = sky + (255 - sky) * 0.5 * np.clip(rows * height / horizon, 0, 1)
    depth = np.clip((rows * height - horizon) / (height - horizon), 0, 1)
    coarse = Image.fromarray(random.normal(128, 60, (60, 24)).clip(0, 255).astype(np.uint8))
    texture = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), float)[..., None] - 128
    below = ground * (0.82 + 0.25 * depth) + texture * 0.22 * (0.3 + depth)
    pixels = np.where(rows * height < horizon, np.broadcast_to(pixels, (height, width, 3)), below)
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1.5))
    pen = ImageDraw.Draw(image)
    hills = [
        (x, horizon - 26 * math.sin(x / 190 + random.uniform(0, 0.3)) - 30) for x in range(0, width + 60, 60)
    ]
    far = tuple(int(v) for v in (sky * 0.55 + ground * 0.35))
    pen.polygon([(0, horizon), *hills, (width, horizon)], fill=far)
    return image


def _ice_bear(pen: ImageDraw.ImageDraw, at: tuple[float, float], size: float) -> None:
    x, y = at
    fur, dim, dark = (244, 238, 222, 255), (222, 214, 194, 255), (40, 36, 34, 255)
    for leg, colour in ((-0.75, dim), (0.55, dim), (-0.5, fur), (0.8, fur)):
        pen.rounded_rectangle((x + leg * size, y, x + (leg + 0.3) * size, y + 0.95 * size), 26, fill=colour)
    pen.ellipse((x - 1.15 * size, y - 0.75 * size, x + 1.15 * size, y + 0.5 * size), fill=fur)
    pen.polygon(
        [
            (x + 0.6 * size, y - 0.6 * size),
            (x + 1.5 * size, y - 0.75 * size),
            (x + 1.0 * size, y + 0.25 * size),
        ],
        fill=fur,
    )
    pen.ellipse((x + 1.1 * size, y - 0.95 * size, x + 1.85 * size, y - 0.3 * size), fill=fur)
    pen.ellipse((x + 1.6 * size, y - 0.75 * size, x + 2.1 * size, y - 0.38 * size), fill=fur)
    pen.ellipse((x + 1.2 * size, y - 1.05 * size, x + 1.4 * size, y - 0.82 * size), fill=dim)
    pen.ellipse((x + 1.99 * size, y - 0.66 * size, x + 2.12 * size, y - 0.54 * size), fill=dark)
    pen.ellipse((x + 1.58 * size, y - 0.74 * size, x + 1.65 * size, y - 0.67 * size), fill=dark)


def _flamingo(pen: ImageDraw.ImageDraw, at: tuple[float, float], size: float) -> None:
    x, y = at
    pink, deep, dark = (240, 142, 150, 255), (222, 104, 122, 255), (44, 36, 38, 255)
    width = int(0.09 * size)
    pen.line((x - 0.05 * size, y, x - 0.05 * size, y + 1.35 * size), fill=deep, width=width)
    pen.line(
        (x + 0.2 * size, y, x + 0.3 * size, y + 0.7 * size, x + 0.15 * size, y + 1.3 * size),
        fill=deep,
        width=width,
    )
    pen.ellipse((x - 0.85 * size, y - 0.55 * size, x + 0.7 * size, y + 0.4 * size), fill=pink)
    pen.polygon(
        [
            (x - 0.7 * size, y - 0.2 * size),
            (x - 1.25 * size, y + 0.2 * size),
            (x - 0.3 * size, y + 0.3 * size),
        ],
        fill=deep,
    )
    neck = [
        (x + (0.55 + 0.33 * math.sin(t * 2.6)) * size, y - (0.2 + 1.5 * t) * size)
        for t in np.linspace(0, 1, 24)
    ]
    pen.line(neck, fill=pink, width=int(0.2 * size), joint="curve")
    hx, hy = neck[-1]
    pen.ellipse((hx - 0.18 * size, hy - 0.2 * size, hx + 0.3 * size, hy + 0.2 * size), fill=pink)
    pen.polygon(
        [
            (hx + 0.22 * size, hy - 0.12 * size),
            (hx + 0.55 * size, hy + 0.3 * size),
            (hx + 0.2 * size, hy + 0.16 * size),
        ],
        fill=dark,
    )
    pen.ellipse((hx + 0.06 * size, hy - 0.08 * size, hx + 0.13 * size, hy - 0.01 * size), fill=dark)


def _black_swan(pen: ImageDraw.ImageDraw, at: tuple[float, float], size: float) -> None:
    x, y = at
    coal, grey, red = (38, 40, 46, 255), (66, 70, 78, 255), (206, 58, 48, 255)
    pen.chord((x - 1.2 * size, y - 0.75 * size, x + 0.95 * size, y + 0.75 * size), 0, 180, fill=coal)
    pen.ellipse((x - 1.25 * size, y - 0.5 * size, x + 0.9 * size, y + 0.5 * size), fill=coal)
    pen.polygon(
        [
            (x - 1.0 * size, y - 0.3 * size),
            (x - 1.5 * size, y - 0.55 * size),
            (x - 0.9 * size, y + 0.2 * size),
        ],
        fill=grey,
    )
    pen.ellipse((x - 0.9 * size, y - 0.45 * size, x + 0.5 * size, y + 0.25 * size), fill=grey)
    neck = [
        (x + (0.75 + 0.28 * math.sin(t * 4.2)) * size, y - (0.0 + 1.5 * t) * size)
        for t in np.linspace(0, 1, 28)
    ]
    pen.line(neck, fill=coal, width=int(0.24 * size), joint="curve")
    hx, hy = neck[-1]
    pen.ellipse((hx - 0.2 * size, hy - 0.2 * size, hx + 0.32 * size, hy + 0.2 * size), fill=coal)
    pen.polygon(
        [
            (hx + 0.24 * size, hy - 0.1 * size),
            (hx + 0.66 * size, hy + 0.12 * size),
            (hx + 0.22 * size, hy + 0.14 * size),
        ],
        fill=red,
    )
    pen.ellipse((hx + 0.08 * size, hy - 0.09 * size, hx + 0.15 * size, hy - 0.02 * size), fill=red)


ANIMALS: dict[str, Callable[[ImageDraw.ImageDraw, tuple[float, float], float], None]] = {
    "black swan": _black_swan,
    "flamingo": _flamingo,
    "ice bear": _ice_bear,
}


def make_pool(folder: Path) -> Pool:
    """Make a pool of drawn pictures."""
    pool = open_pool(folder, create=True)
    rows = []
    for animal, places in WHERE.items():
        for number, place in enumerate(places * 3):
            path = f"files/{pool.class_folder(animal)}/{number:02d}.jpg"
            file = pool.root / path
            file.parent.mkdir(exist_ok=True)
            draw(animal, place, number).save(file, quality=88)
            rows.append({"path": path, "photo_id": photo_id(file), "class_name": animal, "licence": "cc0"})
    pool.add_photos(rows)
    pool.set_setting("guidance", dict.fromkeys(WHERE, GUIDANCE))
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


@contextmanager
def serve(pool: Path, *options: str) -> Iterator[str]:
    """Run the server and yield the link of the annotator."""
    command = [sys.executable, "-m", "counterground", "label", str(pool), "--no-open", "--annotator", "ann"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            assert process.stdout is not None
            links = (re.search(r"http://\S+", line) for line in process.stdout)
            yield next(link[0] for link in links if link)
        finally:
            process.terminate()


def _open(browser: Browser, link: str, *, phone: bool = False, dark: bool = False) -> Page:
    page = browser.new_page(
        viewport={"width": 390, "height": 844} if phone else {"width": 1280, "height": 800},
        color_scheme="dark" if dark else "light",
        has_touch=phone,
        is_mobile=phone,
    )
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
    """Take screenshots of the first screen, the chart on a phone, and a class with its photos."""
    views = {
        "report-verdict": ({"width": 1280, "height": 878}, "light", "header"),
        "report-chart": ({"width": 390, "height": 844}, "dark", "[id^=scatter]"),
        "report-class": ({"width": 1280, "height": 860}, "light", "[id^=class]"),
    }
    for name, (size, scheme, top) in views.items():
        page = browser.new_page(viewport=size, color_scheme=scheme)
        page.goto(report.as_uri())
        page.wait_for_selector(".chart[data-drawn]")
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
    from drawn_report import make_drawn_report  # noqa: PLC0415 - it draws with this module

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
            page.goto(re.sub(r"/enter.*", "/disagreements/background", link))
            page.wait_for_selector(".vote")
            _shoot(page, out / "label-disagreements.png")
        with serve(pool.root) as link:
            page = _open(browser, link, phone=True, dark=True)
            _shoot(page, out / "label-phone.png")
        shoot_report(browser, make_drawn_report(Path(folder)), out)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs" / "images")
