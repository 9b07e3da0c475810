"""Photographs of animals from a Debian package, spoilt in known ways, and pools made of them."""

from __future__ import annotations

import io

import pytest
from PIL import Image, ImageFilter
from rcc import animal_photos

from counterground.construction.pool import open_pool
from counterground.photos import photo_id


def medium(image: Image.Image, longest: int = 500) -> Image.Image:
    """The size at which photos are usually collected."""
    image = image.convert("RGB")
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return image


@pytest.fixture(scope="session")
def animals(shared_cache) -> dict[str, Image.Image]:
    """57 photographs of animals by name, 500 pixels wide or high."""
    photos: dict[str, Image.Image] = {}
    for inside, content in sorted(animal_photos(shared_cache).items()):
        name = inside.split("/")[-1]
        # A horse and a giraffe are there twice, on different photos.
        photos[f"other_{name}" if name in photos else name] = medium(Image.open(io.BytesIO(content)))
    return photos


class Spoil:
    """Ways to spoil a photo, and ways that leave it as good as it was."""

    @staticmethod
    def blurred(image, radius):
        return image.filter(ImageFilter.GaussianBlur(radius * max(image.size) / 512))

    @staticmethod
    def scaled_light(image, factor, lift=0):
        return image.point(lambda value: min(255, int(lift + value * factor)))

    @staticmethod
    def cropped(image, part):
        width, height = image.size
        left, top = round(width * (1 - part) / 2), round(height * (1 - part) / 2)
        return image.crop((left, top, width - left, height - top))

    @staticmethod
    def encoded(image, quality=75, longest=None):
        """What comes back from a JPEG of this quality."""
        image = image.copy()
        if longest:
            image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        return Image.open(buffer)


@pytest.fixture(scope="session")
def spoil() -> type[Spoil]:
    return Spoil


@pytest.fixture
def make_pool(tmp_path):
    """Make or extend a pool: ``{"zebra/1.jpg": image or bytes}``; more columns by path below files/."""

    def make(photos: dict, name: str = "pool", **columns: dict):
        pool = open_pool(tmp_path / name, create=True)
        rows = []
        for inside, content in photos.items():
            file = pool.files / inside
            file.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                file.write_bytes(content)
            else:
                content.save(file, **({"quality": 90} if file.suffix == ".jpg" else {}))
            row = {"path": f"files/{inside}", "photo_id": photo_id(file), "key": f"file:{inside}"}
            row |= {"class_name": inside.split("/")[0].replace("_", " "), "bytes": file.stat().st_size}
            rows.append(row | {column: values.get(inside) for column, values in columns.items()})
        pool.add_photos(rows)
        return pool

    return make


@pytest.fixture(scope="session")
def rows_of():
    """The rows of one signal by file name: {"1.jpg": {...}}."""

    def find(pool, signal):
        found = pool.signals()
        return {row["path"].split("/")[-1]: row for row in found.to_dicts() if row["signal"] == signal}

    return find


@pytest.fixture(scope="session")
def flagged_of(rows_of):
    """The names of the files that a signal flags."""
    return lambda pool, signal: sorted(name for name, row in rows_of(pool, signal).items() if row["flagged"])
