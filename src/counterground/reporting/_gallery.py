"""The photos on a page: small copies within a budget, their credits, and which were left out."""

from __future__ import annotations

import base64
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO

import polars as pl
from PIL import Image

from counterground.errors import UsageError
from counterground.photos import UnreadablePhoto, load_photo
from counterground.reporting.shown_photos import PhotoSource
from counterground.text import and_more, count, counted

MEGABYTE = 1_000_000
_BATCH = 32
# Longest side in pixels, and bytes of text that nearly every photo of that size fits into.
_SIDES = ((320, 26_000), (240, 16_000), (180, 0))
_QUALITY = 74
PER_CELL = 12
UNKNOWN_LICENCE = "not recorded"


@dataclass
class Thumbnails:
    """Small copies of photos, and what was left out.

    Attributes:
        pictures: ``data:`` URLs by photo_id.
        size: bytes that they take in the page.
        unknown: paths found in no benchmark at hand.
        unreadable: paths of photos that are missing, changed or damaged, with reasons.
        over_budget: paths left out because of the budget.
    """

    pictures: dict[str, str] = field(default_factory=dict)
    size: int = 0
    unknown: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    over_budget: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Gallery:
    """Photos of one benchmark on the page.

    Attributes:
        requested: whether the page may hold photos.
        thumbnails: the pictures, and what was left out.
        licences: pairs of a licence and the number of photos shown under it, most frequent first.
        credits: paths and sources of the photos shown, by photo_id.
        of_composites: whether the photos are composites.
    """

    requested: bool
    thumbnails: Thumbnails = field(default_factory=Thumbnails)
    licences: list[tuple[str, int]] = field(default_factory=list)
    credits: dict[str, tuple[str, PhotoSource]] = field(default_factory=dict)
    of_composites: bool = False

    @property
    def megabytes(self) -> str:
        """Megabytes that the pictures take in the page."""
        return f"{self.thumbnails.size / MEGABYTE:.1f}"

    @property
    def absent(self) -> str:
        """A sentence on the photos that no benchmark at hand holds; empty if there are none."""
        if self.of_composites and (self.thumbnails.unknown or not self.requested):
            return "Composites are not kept as files."
        if not self.thumbnails.unknown:
            return ""
        photos = counted(len(self.thumbnails.unknown), "photo")
        return f"{photos} not found in any benchmark at hand: name the benchmark with --benchmark."

    @property
    def left_out(self) -> list[str]:
        """Sentences on the photos that are not shown, and why."""
        found = self.thumbnails
        notes = [self.absent] if self.absent else []
        for reason in dict.fromkeys(reason for _, reason in found.unreadable):
            paths = [path for path, why in found.unreadable if why == reason]
            notes.append(f"{count(len(paths))} left out ({reason}): {and_more(paths, 3)}.")
        if found.over_budget:
            more = count(len(found.over_budget))
            notes.append(f"{more} left out because of the photo budget, which --photo-budget raises.")
        return notes


def make_gallery(chosen: pl.DataFrame, sources: Mapping[str, PhotoSource], budget: float) -> Gallery:
    """Shrink the chosen photos in their order and collect the credits of those that are shown.

    Args:
        chosen: photos as `informative_photos` returns them.
        sources: files by photo_id.
        budget: megabytes.
    """
    photos = list(chosen.select("path", "photo_id").unique(maintain_order=True).iter_rows())
    thumbnails = make_thumbnails(photos, sources, budget)
    credits_ = {
        identity: (path, sources[identity]) for path, identity in photos if identity in thumbnails.pictures
    }
    licences = Counter(source.licence or UNKNOWN_LICENCE for _, source in credits_.values())
    return Gallery(True, thumbnails, licences.most_common(), credits_)


def make_thumbnails(
    photos: Sequence[tuple[str, str]], sources: Mapping[str, PhotoSource], budget: float
) -> Thumbnails:
    """Read, check and shrink photos in the order given until the budget is used up.

    A photo is used only if the content of its file still matches ``photo_id``. What a camera wrote into the
    file (place, time, serial number) is not copied.

    Args:
        photos: pairs of path and photo_id, in order of preference.
        sources: files by photo_id.
        budget: megabytes of text in the page.

    Raises:
        UsageError: the budget is not positive.
    """
    if not budget > 0:
        raise UsageError(f"A photo budget of {budget:g} MB holds no photo: leave photos out instead.")
    found = Thumbnails(unknown=[path for path, identity in photos if identity not in sources])
    known = [(path, identity) for path, identity in photos if identity in sources]
    room = budget * MEGABYTE
    side = next(side for side, typical in _SIDES if len(known) * typical <= room)
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        for start in range(0, len(known), _BATCH):
            batch = known[start : start + _BATCH]
            made = pool.map(lambda item: _shrink(sources[item[1]], item[1], side), batch)
            for (path, identity), picture in zip(batch, made, strict=True):
                _add(found, path, identity, picture, room)
            if found.over_budget:
                # Classes take turns: the first photo that does not fit ends this for all of them.
                found.over_budget += [path for path, _ in known[start + _BATCH :]]
                break
    return found


def _add(found: Thumbnails, path: str, identity: str, picture: str | UnreadablePhoto, room: float) -> None:
    if isinstance(picture, UnreadablePhoto):
        found.unreadable.append((path, picture.reason))
    elif identity in found.pictures:  # a copy of it under another path
        return
    elif found.over_budget or found.size + len(picture) > room:
        found.over_budget.append(path)
    else:
        found.pictures[identity] = picture
        found.size += len(picture)


def _shrink(source: PhotoSource, identity: str, side: int) -> str | UnreadablePhoto:
    try:
        image = load_photo(source.file, expect_id=identity).image
    except UnreadablePhoto as error:
        return error
    image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    # A new image has only pixels; the old one may hold a comment or a colour profile with a name in it.
    bare = Image.new("RGB", image.size)
    bare.paste(image)
    buffer = BytesIO()
    bare.save(buffer, "WEBP", quality=_QUALITY, method=2)  # twice as fast as 4, 4 % larger
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
