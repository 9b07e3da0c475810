"""Fetch a benchmark's archive and unpack it, within bounds."""

from __future__ import annotations

import hashlib
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from counterground.benchmarks._packages import sha256
from counterground.errors import CounterGroundError, UsageError, error_message, needs_extra
from counterground.files import atomic_path, cache_dir, is_file, is_folder
from counterground.hostile import BoundedTarInfo, check_tar_end, check_zip_start, is_tar
from counterground.http import check_online, without_query
from counterground.progress import progress_bar

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


_RETRIES = 3
_DEPTH = 4  # levels that are searched: an unpacker, a mirror or a user may wrap the data in folders


def nearest_folders(data: Path) -> Iterator[Path]:
    """Yield a folder and those in it, the nearest first, as deep as the data may be wrapped in folders."""
    level = [data]
    for _ in range(_DEPTH):
        yield from level
        level = [child for folder in level for child in subfolders(folder)]


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted, except hidden ones."""
    return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))


@contextmanager
def data_folder(
    title: str, given: Path | None, folder: Path, *, urls: Sequence[str], remedy: str, show_progress: bool
) -> Iterator[Path]:
    """Yield the folder of a data set. Earlier unpacked folders are removed once the caller is done.

    Args:
        title: what it is called in progress bars, and in the names of downloads.
        given: an archive, or the folder it was unpacked to, which is used in place; None: download.
        folder: where archives are unpacked, each set of them in a folder named after its content, so that two
            sets never mix, and the same one resumes where it stopped.
        urls: the archives to download; they are unpacked into one folder.
        remedy: sentence that ends messages on a failed download: what to do.
        show_progress: show bars on standard error.

    Raises:
        UsageError: ``given`` does not exist.
        CounterGroundError: a download fails, or an archive is unsafe or broken.
    """
    downloads: list[Path] = []
    if given is None:
        for number, url in enumerate(urls, 1):
            store = cache_dir() / "downloads" / (title if len(urls) == 1 else f"{title}-{number}")
            with progress_bar(f"Downloading {title}", "bytes", shown=show_progress) as bar:
                downloads.append(download_archive(url, store, remedy=remedy, progress=bar.update))
    elif not is_file(given) and not is_folder(given):
        raise UsageError(f"{given} does not exist, or is neither a file nor a folder.")
    if given is not None and is_folder(given):
        root = given
    else:
        archives = downloads if given is None else [given]
        try:
            root = _unpacked(title, archives, folder, show_progress=show_progress)
        except BrokenArchiveError:
            for archive in downloads:
                archive.unlink(missing_ok=True)
            raise
    yield root
    used = root.resolve()
    for old in folder.resolve().glob("unpacked*"):
        if not used.is_relative_to(old) and not old.is_relative_to(used):
            shutil.rmtree(old, ignore_errors=True)
    for archive in downloads:
        archive.unlink(missing_ok=True)


def _unpacked(title: str, archives: Sequence[Path], folder: Path, *, show_progress: bool) -> Path:
    """Unpack into a folder named after the archives' content, so that only the same ones resume in it."""
    contents = [sha256(archive) for archive in archives]
    content = contents[0] if len(contents) == 1 else hashlib.sha256("".join(contents).encode()).hexdigest()
    into = folder / f"unpacked-{content[:12]}"
    try:
        for archive in archives:
            with progress_bar(f"Unpacking {title}", "files", shown=show_progress) as bar:
                unpack(archive, into, bar.update)
    except BrokenArchiveError:
        shutil.rmtree(into, ignore_errors=True)
        raise
    return into


def download_archive(
    url: str, target: Path, *, remedy: str, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Fetch the archive at ``url`` (Google Drive's pages are followed) to ``target`` and return it.

    Args:
        url: http(s) address.
        target: file to write; if it exists, it is complete; a partial one resumes where it stopped.
        remedy: sentence that ends every message: what to do if the download fails.
        progress: called with (bytes done, bytes in all; 0 if unknown).

    Raises:
        MissingExtraError: gdown is not installed.
        CounterGroundError: no network, the file is gone or over its quota, or the result is not an archive.
    """
    check_online(f"Downloading {without_query(url)}")
    with needs_extra("web"):
        import gdown
        import requests
        from gdown.exceptions import DownloadError

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        gdown.download(
            url=url,
            output=str(target),
            quiet=True,
            resume=True,
            use_cookies=False,
            retries=_RETRIES,
            timeout=60,
            progress=(lambda done, total: progress(done, total or 0)) if progress else None,
        )
    except DownloadError as error:
        if isinstance(error.__cause__, requests.RequestException):
            raise CounterGroundError(
                f"Cannot download {url}: {_reason(error.__cause__)}. {remedy}"
            ) from error
        if "byte range" in str(error):
            for half in target.parent.glob(f"{target.name}*.part"):  # it would be refused for ever
                half.unlink(missing_ok=True)
            remedy = f"The next try starts from the beginning. {remedy}"
        raise CounterGroundError(f"Cannot download {url}: {error_message(error)}. {remedy}") from error
    except requests.RequestException as error:
        raise CounterGroundError(f"Cannot download {url}: {_reason(error)}. {remedy}") from error
    except OSError as error:
        raise CounterGroundError(
            f"Cannot write {target}: {error.strerror or error}. Free some space."
        ) from error
    if not is_archive(target):
        # A web page in place of the file would be taken as complete next time.
        target.unlink()
        raise CounterGroundError(f"{url} sent a page or a broken file instead of an archive. {remedy}")
    return target


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server answered {response.status_code}"
    return "no connection" if "Connection" in type(error).__name__ else type(error).__name__
