"""Hashing many photos at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from counterground.errors import CounterGroundError
from counterground.photos._photo import UnreadablePhoto, photo_id


def photo_ids(paths: Sequence[Path]) -> list[str]:
    """Return the ``photo_id`` of every file, in order, hashed in threads.

    Raises:
        CounterGroundError: a file is missing or may not be read; what cannot be decoded is found out later.
    """
    with ThreadPoolExecutor(max_workers=min(16, 2 * (os.cpu_count() or 1))) as pool:
        try:
            return list(pool.map(photo_id, paths, chunksize=1))
        except UnreadablePhoto as error:
            raise CounterGroundError(f"{error} Mend its path or its rights, or take it out.") from error
