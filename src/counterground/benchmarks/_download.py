"""Download one large file that may die on the way: resumed, checked, one clear line when it is gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from counterground.benchmarks._archive import is_archive
from counterground.errors import CounterGroundError

_RETRIES = 3


def download_archive(
    url: str, target: Path, *, remedy: str, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Fetch the archive at ``url`` (Google Drive's pages are followed) to ``target`` and return it.

    Args:
        url: http(s) address.
        target: file to write; where it exists it is complete, and a half of it goes on where it stopped.
        remedy: sentence that ends every message: what to do where the download is dead.
        progress: called with (bytes done, bytes in all; 0 where unknown).

    Raises:
        CounterGroundError: no network, the file is gone or over its quota, or what came is no archive.
    """
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
            _drop_halves(target)
            remedy = f"The next try starts anew. {remedy}"
        raise CounterGroundError(f"Cannot download {url}: {_first_line(error)} {remedy}") from error
    except requests.RequestException as error:
        raise CounterGroundError(f"Cannot download {url}: {_reason(error)}. {remedy}") from error
    except OSError as error:
        raise CounterGroundError(
            f"Cannot write {target}: {error.strerror or error}. Free some space."
        ) from error
    if not is_archive(target):
        # A page in place of the file would be taken as complete the next time.
        target.unlink()
        raise CounterGroundError(f"{url} sent a page or a broken file instead of an archive. {remedy}")
    return target


def _drop_halves(target: Path) -> None:
    """A server that cannot resume would refuse the same half for ever."""
    for half in target.parent.glob(f"{target.name}*.part"):
        half.unlink(missing_ok=True)


def _first_line(error: Exception) -> str:
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return line if line.endswith(".") else f"{line}."


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server answered {response.status_code}"
    return "no connection" if "Connection" in type(error).__name__ else type(error).__name__
