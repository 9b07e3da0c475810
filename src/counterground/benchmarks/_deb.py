"""Read the few files we need out of a Debian package, without root, ``dpkg`` or trust in its contents."""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import lzma
import tarfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, cast

from counterground.errors import CounterGroundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60
MAX_MEMBER_BYTES = 64 * 2**20  # the largest photograph we read is 6 MB; more is a broken or hostile package


def read_deb(deb: Path, wanted: Iterable[str]) -> dict[str, bytes]:
    """Return the contents of the ``wanted`` absolute paths that ``deb`` holds as regular files.

    Only names that were asked for are ever read, so a package cannot choose where anything is written; links,
    devices and absolute or climbing names are never followed.

    Raises:
        CounterGroundError: the file is not a Debian package, is cut short, corrupt, or uses a compression
            that this Python cannot read.
    """
    missing = set(wanted)
    found: dict[str, bytes] = {}
    try:
        with _data_stream(deb) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                name = _absolute(member.name)
                if name not in missing or not member.isreg():
                    continue
                if member.size > MAX_MEMBER_BYTES:
                    raise CounterGroundError(
                        f"{deb}: {name} claims {member.size} bytes, more than any photograph; "
                        "get a fresh copy of the package."
                    )
                content = archive.extractfile(member)
                assert content is not None
                found[name] = content.read()
                missing.discard(name)
                if not missing:
                    break
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError, ValueError) as error:
        raise CounterGroundError(
            f"{deb} is not a whole Debian package ({error}); delete it and get it again."
        ) from error
    return found


@contextmanager
def _data_stream(deb: Path) -> Iterator[IO[bytes]]:
    """Yield the decompressed ``data.tar`` of ``deb``."""
    with deb.open("rb") as file:
        name, size = _find_data_member(file)
        section = io.BufferedReader(_Section(file, size))
        with section, _decompress(name, section, deb) as stream:
            yield stream


def _find_data_member(file: IO[bytes]) -> tuple[str, int]:
    if file.read(len(_AR_MAGIC)) != _AR_MAGIC:
        raise ValueError("no ar header")
    while header := file.read(_AR_HEADER):
        if len(header) < _AR_HEADER or header[58:60] != b"`\n":
            raise ValueError("broken ar header")
        name = header[:16].decode("ascii", "replace").strip().rstrip("/")
        size = int(header[48:58])
        if size < 0:
            raise ValueError("broken ar header")
        if name.startswith("data.tar"):
            return name, size
        file.seek(size + size % 2, io.SEEK_CUR)
    raise ValueError("no data.tar member")


def _decompress(name: str, section: IO[bytes], deb: Path) -> IO[bytes]:
    suffix = name.removeprefix("data.tar")
    match suffix:
        case ".xz":
            return cast("IO[bytes]", lzma.LZMAFile(section))
        case ".gz":
            return cast("IO[bytes]", gzip.GzipFile(fileobj=section))
        case ".bz2":
            return cast("IO[bytes]", bz2.BZ2File(section))
        case "":
            return section
        case ".zst":
            return _zstd(section, deb)
    raise ValueError(f"unknown compression {suffix!r}")


def _zstd(section: IO[bytes], deb: Path) -> IO[bytes]:
    # Debian packs with xz, Ubuntu with zstd, which the standard library reads only from Python 3.14 on.
    for module, call in (("compression.zstd", "ZstdFile"), ("zstandard", "open")):
        try:
            opener = getattr(importlib.import_module(module), call)
        except ImportError:
            continue
        return cast("IO[bytes]", opener(section, "rb"))
    raise CounterGroundError(
        f"{deb} is packed with zstd, which this Python cannot read; run `pip install zstandard` "
        "or bring Debian's own package, which is packed with xz."
    )


def _absolute(name: str) -> str:
    return "/" + name.removeprefix("./").lstrip("/")


class _Section(io.RawIOBase):
    """The next ``size`` bytes of a file; a shorter file is an error, not a quiet end."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._left = size

    def readable(self) -> bool:
        """A section can only be read."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill ``buffer``; return how many bytes were read."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        chunk = self._file.read(min(len(view), self._left))
        if not chunk and self._left and len(view):
            raise EOFError("the file is cut short")
        view[: len(chunk)] = chunk
        self._left -= len(chunk)
        return len(chunk)
