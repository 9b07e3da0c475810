"""A specification of photos, the rows it stands for, and photos behind URLs, fetched once into the cache."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qsl, unquote, urlsplit

import polars as pl

from counterground.errors import CounterGroundError, UsageError, did_you_mean, needs_extra
from counterground.files import cache_dir, write_bytes
from counterground.http import DownloadSettings, FetchError, FetchLoop, Task, without_query
from counterground.photos._benchmark import Benchmark, benchmark_of_frame
from counterground.photos._classified import refuse_patterns, refuse_repeated, usable_rows, with_covariates
from counterground.photos._manifest import MANIFEST_SCHEMA
from counterground.photos._photo import IMAGE_SUFFIXES, image_type, photo_missing, why_missing
from counterground.photos._rows import find_column, with_class_names
from counterground.photos.labels import read_class_names
from counterground.progress import progress_bar
from counterground.text import counted

COLUMNS = {
    "image": "path",
    "label": "class_name",
    "background": "background",
    "group": "group",
    "cluster": "cluster",
    "mask": "mask",
    "licence": "licence",
    "attribution": "attribution",
    "source": "source",
}
"""What a specification calls the columns of a manifest."""

_NEEDED = (
    ("path", (), "image", ("path", "filename", "file_name", "filepath", "image")),
    ("class_name", ("class_index",), "label", ("class_name", "label", "class", "species", "category")),
)
"""A column that every table needs, what may stand for it, its setting, and what it is usually called."""
_WEB = ("http://", "https://")
_BRACES = re.compile(r"\{(\d{1,18})\.\.(\d{1,18})\}")
_MOST_SHARDS = 100_000


@dataclass(frozen=True)
class Source:
    """A parsed specification.

    Attributes:
        text: as the user wrote it, for messages.
        place: a path, ``hf:NAME`` or a URL.
        columns: column of the manifest -> column of the source.
        options: the other settings.
        skip_bad_rows: whether rows that cannot be used are left out, instead of refused.
        files: whether the photos must be on this machine.
    """

    text: str
    place: str
    columns: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    skip_bad_rows: bool = False
    files: bool = True

    def with_columns(self, columns: Mapping[str, str]) -> Source:
        """Return it with further columns, column of the manifest -> column of the source.

        Raises:
            UsageError: a manifest has no such column, or one column is named as background and as cluster.
        """
        for ours in columns:
            if ours not in MANIFEST_SCHEMA:
                raise UsageError(
                    f"--map: a manifest has no column {ours!r}; it has {', '.join(MANIFEST_SCHEMA)}."
                    f"{did_you_mean(ours, MANIFEST_SCHEMA)}"
                )
        columns = {**self.columns, **columns}
        if (site := columns.get("cluster")) is not None and site == columns.get("background"):
            raise UsageError(
                f"{site!r} is named as background and as cluster. A fixed camera or site is a cluster; the "
                "background is the habitat, or day and night. Accuracy by site is counterground scores RUN "
                f"--by {site}."
            )
        return replace(self, columns=columns)

    def only(self, *allowed: str) -> None:
        """Refuse options that this kind of source does not have.

        Raises:
            UsageError: there is one.
        """
        for key in self.options:
            if key not in allowed:
                known = [*COLUMNS, *allowed]
                hint = did_you_mean(key, known)
                raise UsageError(f"{self.text}: unknown setting {key!r}; known are {', '.join(known)}.{hint}")


def parse_source(text: str) -> Source:
    """Parse a specification; a path that exists is taken as it is, whatever characters it has.

    In the query of a URL, only ``names`` and the columns are ours; the rest belongs to the URL.

    Raises:
        UsageError: a setting without a value, or twice.
    """
    place, mark, query = text.partition("?")
    if not mark or _exists(text):
        return Source(text, text)
    pairs = parse_qsl(query, keep_blank_values=True)
    if is_web(text):
        ours = {*COLUMNS, "names"}
        kept = [part for part in query.split("&") if unquote(part.partition("=")[0]) not in ours]
        pairs = [pair for pair in pairs if pair[0] in ours]
        place += f"?{'&'.join(kept)}" if kept else ""
    settings: dict[str, str] = {}
    for key, value in pairs:
        if not value or key in settings:
            raise UsageError(f"{text}: {key!r} {'is given twice' if value else 'has no value'}.")
        settings[key] = value
    columns = {COLUMNS[key]: value for key, value in settings.items() if key in COLUMNS}
    return Source(text, place, columns, {key: value for key, value in settings.items() if key not in COLUMNS})


def names_source(text: str) -> bool:
    """Return whether a text is a specification, not a path or a name."""
    if _exists(text):
        return False
    if text.startswith("hf:") or is_web(text):
        return True
    place = text.partition("?")[0]
    return bool(_BRACES.search(place)) or (place != text and _exists(place))


def is_web(text: str) -> bool:
    """Return whether a text is a web address."""
    return text.lower().startswith(_WEB)


def expand_braces(place: str) -> list[str]:
    """Return the places that ``{00000..00009}`` stands for, with leading zeros if they are written.

    Raises:
        UsageError: the numbers run backwards, or there are far too many.
    """
    match = _BRACES.search(place)
    if match is None:
        return [place]
    first, last = match[1], match[2]
    numbers = range(int(first), int(last) + 1)
    if not 0 < len(numbers) <= _MOST_SHARDS:
        raise UsageError(f"{place}: {match[0]} stands for no shard, or for more than {_MOST_SHARDS:,}.")
    padded = len(first) if first.startswith("0") or len(first) == len(last) else 0
    start, rests = place[: match.start()], expand_braces(place[match.end() :])
    return [f"{start}{number:0{padded}}{rest}" for number in numbers for rest in rests]


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long, or with a null byte
        return False


def benchmark_of_rows(
    frame: pl.DataFrame,
    source: Source,
    root: Path,
    name: str,
    *,
    texts: bool = False,
    show_progress: bool = False,
) -> Benchmark:
    """Return the benchmark of a table whose columns ``source`` names; photos behind URLs are fetched.

    Args:
        frame: one row per photo; its path or URL is in the column that ``image=`` names, else ``path`` or
            ``url``.
        source: which column is which, and ``names``, a file with the names of numbered classes.
        root: the folder of relative paths, of masks also if the photos are behind URLs.
        name: what outputs call the benchmark.
        texts: whether all columns are texts, as in CSV, so that numbers must be recognised.
        show_progress: show a bar while photos are fetched.

    Raises:
        CounterGroundError: a column is missing, a row has no photo or no class, no photo can be fetched, or
            ``benchmark_of_frame`` refuses the table; one line names the place and the row.
    """
    try:
        refuse_patterns(frame)
        frame, columns = _with_our_names(frame, source)
        notes: tuple[str, ...] = ()
        if texts:
            frame = with_covariates(frame)
        if file := source.options.get("names"):
            frame, notes = with_class_names(frame, dict(enumerate(read_class_names(Path(file)))), file)
        masks_root = None
        if frame["path"].dtype == pl.String and frame["path"].str.contains("^(?i)https?://").any():
            masks_root = root
            usable_rows(frame, None, skip=source.skip_bad_rows)  # before anything is fetched
            frame, root, fetched = _fetched(frame, fetch=source.files, show_progress=show_progress)
            notes += fetched
        found = benchmark_of_frame(
            frame, root, name, masks_root, skip_bad_rows=source.skip_bad_rows, files=source.files
        )
    except CounterGroundError as error:
        raise type(error)(f"{source.place}: {error}") from error
    return found.described(notes=(*notes, *found.notes), columns=columns)


def _with_our_names(frame: pl.DataFrame, source: Source) -> tuple[pl.DataFrame, dict[str, str]]:
    """Rename columns; one that has our name but is not the one chosen is left out.

    Returns also what each renamed column was called: its name -> ours. Names of attributes become small.
    """
    columns = {
        ours: find_column(theirs, frame.columns, source.place) for ours, theirs in source.columns.items()
    }
    if "path" not in {*columns, *frame.columns} and "url" in frame.columns:
        columns["path"] = "url"
    for ours, others, setting, usual in _NEEDED:
        if {ours, *others} & {*columns, *frame.columns}:
            continue
        meant = [name for name in frame.columns if name.casefold() in usual and name not in columns.values()]
        if len(meant) != 1:
            raise CounterGroundError(
                f"the manifest has no column {ours!r}; it has {', '.join(frame.columns)}. Say which it is: "
                f"evaluate --map {ours}=COLUMN, or ?{setting}=COLUMN."
            )
        columns[ours] = meant[0]
    taken = {*columns, *columns.values()} - ({"path"} - {*columns})  # it may also be the cluster
    for name in (name for name in frame.columns if name not in taken):
        small = re.sub(r"\W+", "_", name.casefold()).strip("_")
        columns[name if small in {*MANIFEST_SCHEMA, *frame.columns, *columns} else small] = name
    renamed = {theirs: ours for ours, theirs in columns.items() if theirs not in {ours, *MANIFEST_SCHEMA}}
    return frame.select(pl.col(theirs).alias(ours) for ours, theirs in columns.items()), renamed


def _fetched(
    frame: pl.DataFrame, *, fetch: bool, show_progress: bool
) -> tuple[pl.DataFrame, Path, tuple[str, ...]]:
    """Return the frame with the paths of the photos in the cache, their folder, and notes."""
    for row, url in enumerate(frame["path"], 1):
        if url and (problem := problem_of_url(url)):
            raise CounterGroundError(f"Row {row}: {url!r} {problem}: correct it, or remove the row.")
    refuse_repeated(frame, "path")
    urls = frame["path"].drop_nulls().to_list()
    if fetch:
        folder, paths, notes = fetch_photos(urls, show_progress=show_progress)
    else:
        folder, paths, notes = cache_dir() / "fetched", [_path_of(url) for url in urls], ()
    known = {url: (path, without_query(url)) for url, path in zip(urls, paths, strict=True)}
    found = [known.get(url, (None, None)) for url in frame["path"]]
    columns = [pl.Series("path", [path for path, _ in found], pl.String)]
    if "source" not in frame.columns:
        columns.append(pl.Series("source", [source for _, source in found], pl.String))
    return frame.with_columns(columns), folder, notes


_AGAIN = "; the next time it is asked for again"
_SHORT = 1024  # bytes: longer than any file of `photo_missing`


def fetch_photos(urls: Sequence[str], *, show_progress: bool) -> tuple[Path, list[str], tuple[str, ...]]:
    """Fetch the photos that the cache does not have.

    Returns their folder in the cache, the path of each below it (the same on every machine), and what outputs
    must say of photos that could not be fetched.

    If one cannot be fetched, a file says why (``photo_missing``): the row stays, and reading the photo gives
    the reason. The next call retries temporary failures only.

    Args:
        urls: http or https, each once.
        show_progress: show a bar on standard error.

    Raises:
        MissingExtraError: requests is not installed.
        CounterGroundError: no photo could be fetched, or the cache cannot be written.
    """
    folder = cache_dir() / "fetched"
    paths = [_path_of(url) for url in urls]
    why = {url: _why_missing(folder / path) for url, path in zip(urls, paths, strict=True)}
    wanted = [
        Task(url, folder / path)
        for url, path in zip(urls, paths, strict=True)
        if (why[url] or "").endswith(_AGAIN)
    ]
    if wanted:
        with needs_extra("web"):
            import requests  # noqa: F401 - one clear line before anything else
        with progress_bar("Fetching", total=len(wanted), shown=show_progress) as bar:
            _PhotoLoop(wanted, DownloadSettings(), bar.advance).run()
    why |= {task.url: _why_missing(task.payload) for task in wanted}
    missing = [f"{without_query(url)}: {reason}" for url, reason in why.items() if reason is not None]
    if len(missing) == len(urls):
        raise CounterGroundError(f"None of {counted(len(urls), 'photo')} could be fetched; {missing[0]}.")
    if not missing:
        return folder, paths, ()
    note = (
        f"{len(missing):,} of {counted(len(urls), 'photo')} could not be fetched and count as unreadable; "
        f"the first is {missing[0]}."
    )
    return folder, paths, (note,)


def problem_of_url(url: str) -> str:
    """Return what is wrong with a URL, empty if nothing is."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "cannot be read as a URL"
    return "" if parts.scheme.lower() in ("http", "https") and parts.hostname else "is neither http nor https"


class FileLoop(FetchLoop[Path, None]):
    """Fetch addresses into files, and call ``advance`` after each."""

    def __init__(
        self, tasks: Sequence[Task[Path]], settings: DownloadSettings, advance: Callable[[], None]
    ) -> None:
        super().__init__(tasks, settings)
        self.advance = advance

    def record(self, task: Task[Path], result: None) -> None:  # noqa: ARG002
        self.advance()


class _PhotoLoop(FileLoop):
    def work(self, task: Task[Path]) -> tuple[None, int]:
        data = self.fetch(task)
        if image_type(data[:16]) is None:  # a page in its place, perhaps a temporary error page
            raise FetchError("not an image", again=task.tries == 0, received=len(data))
        write_bytes(task.payload, data)
        return None, len(data)

    def give_up(self, task: Task[Path], reason: str, *, again: bool) -> None:
        if _why_missing(task.payload) is not None:  # another process may have fetched it meanwhile
            content = photo_missing(f"not fetched: {reason}{_AGAIN if again else ''}", task.url)
            if not task.payload.is_file() or task.payload.read_bytes() != content:
                write_bytes(task.payload, content)
        self.advance()


def _path_of(url: str) -> str:
    """Return where the photo of a URL lies: a folder for its host, a readable name, a hash of the URL."""
    parts = urlsplit(url)
    last = PurePosixPath(unquote(parts.path))
    readable = re.sub(r"[^A-Za-z0-9]+", "-", last.stem)[:40].strip("-") or "photo"
    suffix = last.suffix.lower() if last.suffix.lower() in IMAGE_SUFFIXES else ".jpg"
    host = re.sub(r"[^a-z0-9.]+", "-", parts.netloc.rpartition("@")[2].lower()).strip(".")[:200] or "host"
    return f"{host}/{readable}-{hashlib.sha256(url.encode()).hexdigest()[:16]}{suffix}"


def _why_missing(file: Path) -> str | None:
    """Return why a cached file is not a photo, None if it is one."""
    try:
        return why_missing(file.read_bytes()) if file.stat().st_size <= _SHORT else None
    except FileNotFoundError:
        return f"not fetched{_AGAIN}"
