"""Reference pictures of a class, which the owner of a pool puts into ``guide/<class>/``.

People choose them: photos of the pool would show what others decided, or what a model is sure of.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from urllib.parse import urlencode

from counterground.construction.pool import Pool
from counterground.photos import UnreadablePhoto, load_photo

GUIDE = "guide"
MOST_PICTURES = 6
_SIDE = 1024


def guide_addresses(pool: Pool, class_name: str) -> list[str]:
    """Return the addresses of a class's pictures on this server."""
    count = len(_pictures(pool, class_name))
    return [f"/guide?{urlencode({'class': class_name, 'place': place})}" for place in range(count)]


def guide_picture(pool: Pool, class_name: str, place: int) -> bytes:
    """Return a picture as JPEG, at most ``_SIDE`` pixels wide and high.

    Raises:
        UnreadablePhoto: the picture is damaged, or there is none at this place.
    """
    found = _pictures(pool, class_name)
    if not 0 <= place < len(found):
        raise UnreadablePhoto(pool.root / GUIDE, "there is no such picture")
    image = load_photo(found[place]).image
    image.thumbnail((_SIDE, _SIDE))
    written = BytesIO()
    image.save(written, "JPEG", quality=88)
    return written.getvalue()


def _pictures(pool: Pool, class_name: str) -> list[Path]:
    """Return the files in a class's folder, by name; it is called as the class, or as in files/."""
    names = {class_name, pool.class_folder(class_name)}
    folders = [entry for entry in (pool.root / GUIDE).glob("*") if entry.name in names]
    files = [file for folder in folders for file in folder.glob("[!.]*")]
    return sorted(file for file in files if file.is_file())[:MOST_PICTURES]
