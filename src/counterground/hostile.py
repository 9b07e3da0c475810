"""Archives and shards from others: bounded in size, read to their end or refused.

A member may be damaged, an archive may be cut off or hold another one, and a small file may state to be
gigabytes.
"""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from counterground.files import scan_parquet

if TYPE_CHECKING:
    import polars as pl

_CHUNK = 2**20
_MANY_ROWS = 10_000_000
_MOST_HEADER = 2**22  # bytes of a member's name or extended header in a tar
_MOST_SHARED = 100  # fields of a tar that hold for all its members
_LONG_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


class BoundedTarInfo(tarfile.TarInfo):
    """A member of a tar that others made, for `tarfile.open`: headers are bounded, damage is a `TarError`.

    Python reads a header of any size that it states, which a small compressed file can make gigabytes, and
    goes back in the file, perhaps for ever, if a size is negative.
    """

    def _proc_member(self, tar: tarfile.TarFile) -> BoundedTarInfo:
        if self.size < 0 or (self.type in _LONG_HEADERS and self.size > _MOST_HEADER):
            raise tarfile.ReadError(f"a header has {self.size:,} bytes")
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError("it has a sparse file")
        try:
            found: BoundedTarInfo = super()._proc_member(tar)  # type: ignore[misc]
        except (ValueError, RecursionError, tarfile.HeaderError) as error:
            # The reader would take most of them for the end, after what it has skipped by then.
            raise tarfile.ReadError("a header is damaged") from error
        if found.size < 0 or len(tar.pax_headers) > _MOST_SHARED:
            raise tarfile.ReadError("a header is damaged")
        found.pax_headers = {}  # applied by now; each member would keep its own
        return found

    def _proc_gnusparse_10(self, *_: object) -> None:  # the list of parts has no bound
        raise tarfile.ReadError("it has a sparse file")


def is_outside(path: str) -> bool:
    """Return whether the path of a member could lead out of the folder that an archive is unpacked to."""
    first, *others = path.split("/")
    return first in ("", "..") or ":" in first or ".." in others or "\\" in path or "\0" in path


def is_tar(path: Path) -> bool:
    """Return whether a file begins as a tar does, compressed or not; see `BoundedTarInfo`."""
    try:
        tarfile.open(path, tarinfo=BoundedTarInfo).close()
    except (tarfile.TarError, EOFError):  # the latter for a gzip that is cut off
        return False
    return True


def check_tar_end(tar: tarfile.TarFile) -> None:
    """Check that an archive that was read to its end ends where its reader stopped.

    The reader takes a zeroed or damaged header, a cut between two members, and the end of the first of two
    archives in one file for the end of everything.

    Raises:
        tarfile.ReadError: the end marker is missing, or something other than zeros follows.
    """
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"there is no end marker at byte {tar.offset:,}")
    while chunk := tar.fileobj.read(_CHUNK):
        if chunk.strip(b"\0"):
            raise tarfile.ReadError(f"it goes on after the end marker at byte {tar.offset:,}")


def check_zip_start(packed: zipfile.ZipFile) -> None:
    """Check that no archive precedes a zip: of two archives in one file, its reader knows only the last.

    Anything that is not an archive may precede it, as in self-extracting ones.

    Raises:
        zipfile.BadZipFile: another archive, or a member that is not listed.
    """
    assert packed.fp is not None
    first = min((info.header_offset for info in packed.infolist()), default=packed.start_dir)
    packed.fp.seek(0)
    if first and packed.fp.read(4) == b"PK\3\4":
        raise zipfile.BadZipFile("the file begins with a member that is not in its list")


def scan_shard(path: Path) -> pl.LazyFrame:
    """Return the rows of a Parquet file, for use within `no_panic`.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
        PolarsError: it is damaged, not Parquet, or unpacks to more rows than it has bytes.
    """
    import polars as pl

    lazy = scan_parquet(path)
    rows = int(lazy.select(pl.len()).collect().item())
    # The rows of a table differ, and take some bytes each.
    if rows > max(_MANY_ROWS, path.stat().st_size):
        raise pl.exceptions.ComputeError(f"it has {rows:,} rows, more than bytes")
    return lazy
