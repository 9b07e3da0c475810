"""Unpack an untrusted archive: nothing lands outside the target, sizes are limited, no work is repeated."""

from __future__ import annotations

import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from counterground.errors import CounterGroundError
from counterground.files import atomic_path
from counterground.hostile import BoundedTarInfo, check_tar_end, check_zip_start, is_tar

MAX_TOTAL_BYTES = 64 * 2**30  # as much as 13,100 photos at 5 MB each, the size of an original
MAX_MEMBER_BYTES = 256 * 2**20  # no photograph is larger
MAX_MEMBERS = 200_000
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    NotImplementedError,
    UnicodeDecodeError,  # a name in a zip that is not what it says
)


class BrokenArchiveError(CounterGroundError):
    """The archive is cut short, corrupt or unsafe: only another copy helps."""


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    crc: int | None
    kind: str  # "file", "folder", or what is refused: "link", "device", "encrypted file"
    open: Callable[[], IO[bytes]]


def is_archive(path: Path) -> bool:
    """Return whether ``path`` looks like a zip or a (compressed) tar archive."""
    return zipfile.is_zipfile(path) or is_tar(path)


def unpack(archive: Path, into: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Unpack a zip, tar, tar.gz, tar.bz2 or tar.xz under ``into``; complete files already there are kept.

    The whole archive is checked before anything is written; for a tar that is one more pass. Each file
    appears in one rename, so an interrupted unpacking resumes where it stopped.

    Args:
        archive: at most 64 GiB unpacked, 256 MiB per file, 200,000 members.
        into: target folder, created if it does not exist.
        progress: called with (files done, files in all).

    Raises:
        CounterGroundError: not an archive, cut short, corrupt, encrypted, too large, a member that is a link
            or device or would land outside ``into``, or ``into`` cannot be written.
    """
    try:
        with _members(archive) as (members, total):
            for done, (member, path) in enumerate(_checked(archive, members), 1):
                _extract(member, into / path, into)
                if progress is not None:
                    progress(done, total)
    except _BROKEN as error:
        raise BrokenArchiveError(
            f"{archive} is cut short or corrupt ({error or type(error).__name__}); get it again."
        ) from error
    except OSError as error:
        # gzip reports a broken stream as an OSError without a number.
        if error.errno is None:
            raise BrokenArchiveError(f"{archive} is cut short or corrupt ({error}); get it again.") from error
        where = error.filename or into
        raise CounterGroundError(
            f"Cannot unpack {archive}: {where}: {error.strerror}. Free some space or choose another folder."
        ) from error


@contextmanager
def _members(archive: Path) -> Iterator[tuple[Iterator[_Member], int]]:
    """Check a whole archive, then yield its members and how many there are."""
    if not archive.is_file():
        raise CounterGroundError(f"{archive} does not exist or is not a file.")
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            check_zip_start(opened)
            listed = [_zip_member(opened, info) for info in opened.infolist()]
            total = sum(1 for _ in _checked(archive, iter(listed)))
            yield iter(listed), total
    elif is_tar(archive):
        with tarfile.open(archive, tarinfo=BoundedTarInfo) as tar:
            total = sum(1 for _ in _checked(archive, (_tar_member(tar, info) for info in tar)))
            check_tar_end(tar)  # reads to the very end, where gzip and xz have their checksum
        with tarfile.open(archive, tarinfo=BoundedTarInfo) as tar:
            yield (_tar_member(tar, info) for info in tar), total
    else:
        raise BrokenArchiveError(
            f"{archive} is not a zip or tar archive, or is cut short or corrupt; get it again."
        )


def _zip_member(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    mode = info.external_attr >> 16
    kind = "folder" if info.filename.endswith("/") else "file"  # `is_dir` fails if the name is empty
    if stat.S_ISLNK(mode):
        kind = "link"
    elif stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        kind = "device"
    elif info.flag_bits & 0x1:
        kind = "encrypted file"
    return _Member(info.orig_filename, info.file_size, info.CRC, kind, lambda: opened.open(info))


def _tar_member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    kind = "file" if info.isreg() else "folder" if info.isdir() else "device"
    if info.issym() or info.islnk():
        kind = "link"

    def read() -> IO[bytes]:
        content = tar.extractfile(info)
        assert content is not None
        return content

    return _Member(info.name, info.size, None, kind, read)


def _checked(archive: Path, members: Iterator[_Member]) -> Iterator[tuple[_Member, PurePosixPath]]:
    """Yield the members with their safe relative paths; refuse the archive at the first bad one."""
    total = 0
    seen: set[str] = set()
    for count, member in enumerate(members, 1):
        path = PurePosixPath(member.name)
        if _escapes(member.name):
            _refuse(archive, member, "would land outside its folder")
        if member.kind not in ("file", "folder"):
            _refuse(archive, member, f"is not a regular file ({member.kind})")
        total += member.size
        if member.size > MAX_MEMBER_BYTES or total > MAX_TOTAL_BYTES or count > MAX_MEMBERS:
            _refuse(archive, member, "goes beyond 64 GiB in all, 256 MiB a file or 200,000 members")
        if member.kind == "folder" or _is_litter(path):
            continue
        if str(path) in seen:
            _refuse(archive, member, "occurs twice")
        seen.add(str(path))
        yield member, path


def _escapes(name: str) -> bool:
    return (
        not name
        or name.startswith("/")
        or "\\" in name
        or "\0" in name
        or ":" in name.split("/", maxsplit=1)[0]
        or ".." in name.split("/")
    )


def _is_litter(path: PurePosixPath) -> bool:
    return "__MACOSX" in path.parts or path.name == ".DS_Store" or path.name.startswith("._")


def _refuse(archive: Path, member: _Member, why: str) -> None:
    raise BrokenArchiveError(
        f"{archive} is not safe to unpack: {member.name!r} {why}. Get the archive from its authors again."
    )


def _extract(member: _Member, target: Path, into: Path) -> None:
    if _is_whole(member, target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.parent.resolve().is_relative_to(into.resolve()):
        raise CounterGroundError(f"{target.parent} is a link that leads out of {into}; remove it.")
    with member.open() as source, atomic_path(target, sync=False) as draft:
        with draft.open("wb") as written:
            while block := _read(source):
                written.write(block)
        if draft.stat().st_size != member.size:
            raise EOFError(f"{member.name} is shorter than stated")


def _read(source: IO[bytes]) -> bytes:
    try:
        return source.read(2**20)
    except OSError as error:  # gzip's error about a broken stream does not concern the file being written
        if error.errno is not None:
            raise
        raise EOFError(str(error)) from error


def _is_whole(member: _Member, target: Path) -> bool:
    if target.is_symlink() or not target.is_file() or target.stat().st_size != member.size:
        return False
    return member.crc is None or zlib.crc32(target.read_bytes()) == member.crc
