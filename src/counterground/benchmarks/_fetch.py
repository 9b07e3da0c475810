"""The folder of a data set: as given, or unpacked from given or downloaded archives."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from counterground.benchmarks._archive import BrokenArchiveError, is_archive, unpack
from counterground.benchmarks._packages import sha256
from counterground.errors import CounterGroundError, UsageError, error_message, needs_extra
from counterground.files import cache_dir, is_file, is_folder
from counterground.http import check_online, without_query
from counterground.progress import progress_bar

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
