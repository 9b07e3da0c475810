"""Small copies of photos as ``data:`` addresses, within a budget that no class uses up before another."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO

from PIL import Image

from counterground.errors import UsageError
from counterground.photos import UnreadablePhoto, load_photo
from counterground.report.page._photos import PhotoSource

MEGABYTE = 1_000_000
_BATCH = 32
# Longest side in pixels, and bytes of text that a photo of that size takes at most, as a rule.
_SIDES = ((320, 26_000), (240, 16_000), (180, 0))
_QUALITY = 74


@dataclass
class Thumbnails:
    """Photos that stand in a page.

    Attributes:
        pictures: ``data:`` addresses by photo_id.
        size: bytes that they take in the page.
        unknown: paths that no benchmark at hand holds.
        unreadable: paths and reasons of those that are missing, changed or damaged.
        over_budget: paths for which no room was left.
    """

    pictures: dict[str, str] = field(default_factory=dict)
    size: int = 0
    unknown: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    over_budget: list[str] = field(default_factory=list)


def make_thumbnails(
    wanted: Sequence[tuple[str, str]], sources: Mapping[str, PhotoSource], budget: float
) -> Thumbnails:
    """Read, check and shrink photos in the order given until the budget is used up.

    A photo counts only if its file's content is still that of ``photo_id``. What a camera wrote into the file
    (place, time, serial number) is not copied.

    Args:
        wanted: pairs of path and photo_id, those to be shown first in front.
        sources: files by photo_id.
        budget: megabytes of text in the page.

    Raises:
        UsageError: a budget that is not positive.
    """
    if not budget > 0:
        raise UsageError(f"A photo budget of {budget:g} MB holds no photo: leave photos out instead.")
    found = Thumbnails(unknown=[path for path, identity in wanted if identity not in sources])
    known = [(path, identity) for path, identity in wanted if identity in sources]
    room = budget * MEGABYTE
    side = next(side for side, typical in _SIDES if len(known) * typical <= room)
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        for start in range(0, len(known), _BATCH):
            batch = known[start : start + _BATCH]
            made = pool.map(lambda item: _shrink(sources[item[1]], item[1], side), batch)
            for (path, identity), picture in zip(batch, made, strict=True):
                _add(found, path, identity, picture, room)
            if found.over_budget:
                # Photos come in turns over the classes: what does not fit now ends the round for all.
                found.over_budget += [path for path, _ in known[start + _BATCH :]]
                break
    return found


def _add(found: Thumbnails, path: str, identity: str, picture: str | UnreadablePhoto, room: float) -> None:
    if isinstance(picture, UnreadablePhoto):
        found.unreadable.append((path, picture.reason))
    elif found.over_budget or found.size + len(picture) > room:
        found.over_budget.append(path)
    elif identity not in found.pictures:
        found.pictures[identity] = picture
        found.size += len(picture)


def _shrink(source: PhotoSource, identity: str, side: int) -> str | UnreadablePhoto:
    try:
        image = load_photo(source.file, expect_id=identity).image
    except UnreadablePhoto as error:
        return error
    image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    # A new image carries pixels alone; the old one may hold a comment or a colour profile with a name in it.
    bare = Image.new("RGB", image.size)
    bare.paste(image)
    buffer = BytesIO()
    bare.save(buffer, "WEBP", quality=_QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
