"""Pictures of animals on backgrounds, drawn: they belong to nobody."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE = (1200, 900)
PLACES = {
    "snow": ((176, 202, 226), (240, 245, 250)),
    "grass": ((150, 196, 232), (106, 150, 66)),
    "water": ((176, 208, 232), (52, 110, 148)),
    "sand": ((134, 186, 226), (222, 196, 146)),
    "rock": ((170, 190, 205), (126, 122, 118)),
    "road": ((186, 200, 210), (92, 94, 98)),
}


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
