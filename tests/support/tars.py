"""Tars of what tests put into them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path


def tar(members: Iterable[tuple[str, bytes] | tarfile.TarInfo], mode: str = "w") -> bytes:
    """Return a tar of names with their contents, and of headers as they are given."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode=mode) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return written.getvalue()


def write_tar(path: Path, members: Iterable[tuple[str, bytes] | tarfile.TarInfo], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar(members, mode))
    return path
