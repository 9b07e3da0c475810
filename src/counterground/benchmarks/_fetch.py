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
from functools import partial
from pathlib import Path
from typing import IO

from counterground.errors import CounterGroundError, UsageError, error_message, needs_extra
from counterground.files import cache_dir, draft_folder, file_sha256, is_file, is_folder, place_once
from counterground.hostile import BoundedTarInfo, check_tar_end, check_zip_start, is_outside, is_tar
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


def unpack(archives: Sequence[Path], into: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Unpack zips or tars (plain, gzip, bzip2, xz) into one folder; one that is there is complete, and kept.

    The folder appears once everything is in it.

    Args:
        archives: at most 64 GiB unpacked, 256 MiB per file, 200,000 members.
        into: target folder.
        progress: called with (files done, 0).

    Raises:
        CounterGroundError: not an archive, cut short, corrupt, encrypted, too large, a member that is a link
            or device or would land outside ``into``, or ``into`` cannot be written.
    """
    if into.is_dir():
        return
    count = total = 0
    try:
        with draft_folder(into) as draft:
            for archive in archives:
                for name, size, is_file, source in _members(archive):
                    path = draft / name
                    count, total = count + 1, total + size
                    why = ""
                    if is_outside(name):
                        why = "would land outside its folder"
                    elif not is_file:
                        why = "is not a regular file"
                    elif size > MAX_MEMBER_BYTES or total > MAX_TOTAL_BYTES or count > MAX_MEMBERS:
                        why = "goes beyond 64 GiB in all, 256 MiB a file or 200,000 members"
                    elif path.is_file():
                        why = "occurs twice"
                    if why:
                        raise BrokenArchiveError(
                            f"{archive} is not safe to unpack: {name!r} {why}. Get the archive from its "
                            "authors again."
                        )
                    _write(path, size, source)
                    if progress is not None:
                        progress(count, 0)
            place_once(draft, into)
    except (*_BROKEN, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # a broken gzip gives one without a number
            raise CounterGroundError(
                f"Cannot unpack into {into}: {error.strerror}. Free some space or choose another folder."
            ) from error
        raise BrokenArchiveError(
            f"{archive} is cut short or corrupt ({error or type(error).__name__}); get it again."
        ) from error


def _members(archive: Path) -> Iterator[tuple[str, int, bool, Callable[[], IO[bytes]]]]:
    """Yield name and size of each member, whether it is a file that can be read, and how; no folders."""
    if not archive.is_file():
        raise CounterGroundError(f"{archive} does not exist or is not a file.")
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            check_zip_start(opened)
            for entry in opened.infolist():
                kind = stat.S_IFMT(entry.external_attr >> 16)
                if not entry.filename.endswith("/"):  # `is_dir` fails if the name is empty
                    plain = kind in (0, stat.S_IFREG) and not entry.flag_bits & 0x1  # encrypted
                    yield entry.orig_filename, entry.file_size, plain, partial(opened.open, entry)
    elif is_tar(archive):
        with tarfile.open(archive, tarinfo=BoundedTarInfo) as tar:
            for member in tar:
                if not member.isdir():
                    yield member.name, member.size, member.isreg(), partial(_opened, tar, member)
            check_tar_end(tar)  # reads to the very end, where gzip and xz have their checksum
    else:
        raise BrokenArchiveError(
            f"{archive} is not a zip or tar archive, or is cut short or corrupt; get it again."
        )


def _opened(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(member)
    assert content is not None
    return content


def _write(path: Path, size: int, source: Callable[[], IO[bytes]]) -> None:
    if "__MACOSX" in path.parts or path.name == ".DS_Store" or path.name.startswith("._"):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with source() as content, path.open("wb") as written:
        shutil.copyfileobj(content, written)
        if written.tell() != size:
            raise EOFError(f"{path.name} is shorter than stated")


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
            sets never mix.
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
            digest = hashlib.sha256("".join(map(file_sha256, archives)).encode()).hexdigest()
        except OSError as error:
            raise CounterGroundError(f"Cannot read {error.filename}: {error.strerror or error}.") from error
        root = folder / f"unpacked-{digest[:12]}"
        try:
            with progress_bar(f"Unpacking {title}", "files", shown=show_progress) as bar:
                unpack(archives, root, bar.update)
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
    except (DownloadError, requests.RequestException) as error:
        if "byte range" in str(error):
            for half in target.parent.glob(f"{target.name}*.part"):  # it would be refused for ever
                half.unlink(missing_ok=True)
            remedy = f"The next try starts from the beginning. {remedy}"
        raise CounterGroundError(f"Cannot download {url}: {_reason(error)}. {remedy}") from error
    except OSError as error:
        raise CounterGroundError(
            f"Cannot write {target}: {error.strerror or error}. Free some space."
        ) from error
    if not (zipfile.is_zipfile(target) or is_tar(target)):
        # A web page in place of the file would be taken as complete next time.
        target.unlink()
        raise CounterGroundError(f"{url} sent a page or a broken file instead of an archive. {remedy}")
    return target


def _reason(error: BaseException) -> str:
    while (response := getattr(error, "response", None)) is None and error.__cause__ is not None:
        error = error.__cause__
    if response is not None:
        return f"the server answered {response.status_code}"
    return "no connection" if "Connection" in type(error).__name__ else error_message(error)
