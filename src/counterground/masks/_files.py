"""Masks that already exist: the manifest's own, the alpha of photos, and folders of PNGs."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from counterground.errors import UsageError
from counterground.masks._found import Found, MaskRequest, MaskSource, NameMatch, read_mask
from counterground.photos import Benchmark, load_photo
from counterground.text import and_more, counted

_NAMED = 3


def manifest_source(benchmark: Benchmark) -> MaskSource:
    """Return the source of the masks that the manifest names.

    Raises:
        UsageError: it names none.
    """
    if benchmark.photos["mask"].is_null().all():
        raise UsageError(
            f"The photos of {benchmark.name} have no masks of their own: say with --from where masks are, "
            "or let them be made."
        )
    return MaskSource("manifest", _of_manifest)


def _of_manifest(photo: MaskRequest) -> Found:
    if photo.mask is None:
        return Found(None, "missing", "the manifest names no mask")
    return read_mask(photo.mask, photo.size)


def alpha_source() -> MaskSource:
    """Return the source of masks that are the photos' alpha channels."""
    return MaskSource("alpha", _of_alpha)


def _of_alpha(photo: MaskRequest) -> Found:
    image = load_photo(photo.file, rgb=False).image
    if not image.has_transparency_data:
        return Found(None, "missing", "the photo has no alpha")
    return Found(np.asarray(image.convert("RGBA").getchannel("A")))


def folder_source(folder: Path, benchmark: Benchmark) -> MaskSource:
    """Return the source of masks that are a folder's PNGs, named after the photos.

    The mask of ``ox/grass/a.jpg`` is ``ox/grass/a.jpg.png``, else ``ox/grass/a.png``, else the same below
    ``grass``, or without folders. A name that may mean several masks, or several photos, is ambiguous.

    Raises:
        UsageError: the folder has no PNG, or none with the name of a photo.
    """
    photos = benchmark.photos["path"].to_list()
    own = {benchmark.photo_path(path).resolve() for path in photos}
    files = [
        file
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() == ".png" and file.is_file() and file.resolve() not in own
    ]
    if not files:
        raise UsageError(f"{folder} has no PNG: name a folder of masks.")
    by_name = defaultdict(list)
    for file in files:
        by_name[file.relative_to(folder).as_posix()[: -len(file.suffix)]].append(file)
    matched = NameMatch(photos, by_name, stems=True)
    if not matched.claims:
        raise UsageError(
            f"No PNG of {folder} has the name of a photo: {files[0].relative_to(folder).as_posix()!r} is not "
            f"{photos[0]!r}. A mask has the photo's name, with or without its suffix, and .png."
        )

    def find(photo: MaskRequest) -> Found:
        found = matched.one(photo.path, "PNG")
        return found if isinstance(found, Found) else read_mask(found, photo.size)

    unused = [file.relative_to(folder).as_posix() for file in files if file not in matched.claims]
    note = f"{counted(len(unused), 'PNG')} with the name of no photo: {and_more(unused, _NAMED)}."
    return MaskSource("folder", find, notes=(note,) if unused else ())
