"""WebDataset shards by name: ``https://host/{00000..00009}.tar``, or the same on this disk."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit

from counterground.errors import CounterGroundError, UsageError, needs_extra
from counterground.files import cache_dir, check_writable, file_lock, write_bytes
from counterground.http import Client, DownloadSettings, FetchError, Task, without_query
from counterground.photos._benchmark import Benchmark
from counterground.photos.shards._shards import CLASS_NAMES_FILE, read_some
from counterground.photos.sources import FileLoop, Source, expand_braces, is_web, problem_of_url
from counterground.progress import progress_bar

_SETTINGS = DownloadSettings(jobs=2, longest=6 * 3600.0, timeout=60.0, most_bytes=64 * 2**30)
_ABSENT = (403, 404, 410)


def read_webdataset(source: Source, *, show_progress: bool = False) -> Benchmark:
    """Read the tars that braces stand for; those on the web are fetched into the cache first, each once.

    The next call resumes a shard whose download broke off. Names of numbered classes come from the file that
    ``names=`` gives, else from ``classnames.txt`` beside the shards or, on the web, one folder above.

    Raises:
        UsageError: not tars, or an unknown setting.
        CounterGroundError: a shard cannot be fetched or read: none is left out.
    """
    source.only("names")
    if source.columns:
        raise UsageError(f"{source.text}: tars have no columns; of the settings only names= is for them.")
    places = expand_braces(source.place)
    paths = [urlsplit(place).path if is_web(place) else place for place in places]
    if not all(path.lower().endswith(".tar") for path in paths):
        raise UsageError(
            f"{source.text} is neither a table nor a tar: shards are named as in https://HOST/{{00000..00009}}.tar."
        )
    given = Path(source.options["names"]) if "names" in source.options else None
    if is_web(source.place):
        files = _fetch(places, with_names=given is None, show_progress=show_progress)
        first = PurePosixPath(unquote(paths[0]))
        name = first.parent.name or first.stem
    else:
        files = [Path(place) for place in places]
        if missing := [file for file in files if not file.is_file()]:
            raise UsageError(f"The shard {missing[0]} does not exist ({len(missing)} of {len(files)}).")
        name = files[0].parent.resolve().name if len(files) > 1 else files[0].stem
    return read_some(files[0].parent, files, "webdataset", given).described(name=name)


def _fetch(urls: Sequence[str], *, with_names: bool, show_progress: bool) -> list[Path]:
    """Return the shards in the cache, beside the names of their classes."""
    for url in urls:
        if problem := problem_of_url(url):
            raise UsageError(f"{url!r} {problem}.")
    folder = cache_dir() / "fetched" / f"shards-{hashlib.sha256(' '.join(urls).encode()).hexdigest()[:32]}"
    check_writable(folder)
    files = [folder / f"{number:06d}.tar" for number in range(len(urls))]
    with (
        progress_bar("Fetching shards", "files", total=len(urls), shown=show_progress) as bar,
        # Without it, two processes would append to one part of a shard.
        file_lock(folder / ".fetching.lock", lambda: bar.note("waiting for another process")),
    ):
        wanted = [Task(url, file) for url, file in zip(urls, files, strict=True) if not file.is_file()]
        if wanted:
            with needs_extra("web"):
                import requests  # noqa: F401 - one clear line before anything else
            bar.update(len(urls) - len(wanted), len(urls))
            _ShardLoop(wanted, _SETTINGS, bar.advance).run()
        asked = folder / ".asked"  # for the names of the classes
        if with_names and not asked.is_file():
            _fetch_names(urls[0], folder / CLASS_NAMES_FILE)
            write_bytes(asked, b"")
    return files


class _ShardLoop(FileLoop):
    def save(self, task: Task[Path]) -> int:
        return self.client.save(task.url, task.payload, stop=self.stop)

    def give_up(self, task: Task[Path], reason: str, *, again: bool) -> None:
        then = " What was fetched is kept: run the same command again." if again else ""
        raise CounterGroundError(f"The shard {without_query(task.url)} cannot be fetched: {reason}.{then}")


def _fetch_names(shard: str, file: Path) -> None:
    """Fetch the names of the classes, if there are any beside the shards or in the folder above."""
    client = Client(_SETTINGS.user_agent)
    try:
        for place in (CLASS_NAMES_FILE, f"../{CLASS_NAMES_FILE}"):
            url = urljoin(shard, place)
            try:
                write_bytes(file, client.fetch(url).body)
            except FetchError as error:
                if error.status not in _ABSENT:
                    raise CounterGroundError(f"{without_query(url)}: {error.reason}.") from error
            else:
                return
    finally:
        client.close()
