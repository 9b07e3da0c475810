"""A benchmark as its authors lay it out in a folder, and a copy of it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path, PurePosixPath

import polars as pl
from PIL import Image

from counterground.benchmarks._builtin import BuiltInBenchmark
from counterground.benchmarks._fetch import data_folder, nearest_folders
from counterground.errors import CounterGroundError, error_message
from counterground.files import atomic_path, cache_dir, is_file, write_text
from counterground.hostile import is_outside
from counterground.metrics import Design
from counterground.photos import (
    IMAGE_SUFFIXES,
    Benchmark,
    LabelSpace,
    UnreadablePhoto,
    benchmark_of_frame,
    load_photo,
    read_benchmark,
    read_table,
    write_benchmark,
)
from counterground.progress import progress_bar

Change = Callable[[Image.Image], Image.Image] | None
"""Function that changes a photo in RGB; None: the file is linked or copied as it is.

It raises a ``ValueError`` that says why a photo cannot be changed.
"""

_WORKERS = 4


@dataclass
class Copy:
    """A user's copy of a data set, as its reader sees it.

    Attributes:
        root: the folder that holds the benchmark's marks; paths in the reader's frame are relative to it.
        made: the benchmark's own folder, for photos made from those of the copy.
        classes: names in order -> the ImageNet-1K indices that each covers, none if it is not in ImageNet; a
            reader may replace it if the copy says what they are.
        notes: what every output must say; a reader may add to it.
        show_progress: show a bar on standard error while photos are made.
    """

    root: Path
    made: Path
    classes: dict[str, tuple[int, ...]]
    notes: list[str] = field(default_factory=list)
    show_progress: bool = False

    def grid(
        self,
        template: str,
        *,
        suffixes: Collection[str] = IMAGE_SUFFIXES,
        **values: Sequence[str] | Mapping[str, str],
    ) -> pl.DataFrame:
        """Return a row for each photo in a template's folders, with what its folder stands for.

        Args:
            template: path of the folders from the root, such as ``test/{class_name}/{background}``.
            suffixes: suffixes of photos, in lower case; other files are ignored.
            values: the folder names for each column, or a mapping from them to its values.

        Returns:
            ``path`` and the columns of ``values``.

        Raises:
            CounterGroundError: a folder is missing.
        """
        columns: dict[str, list[str]] = {name: [] for name in ("path", *values)}
        for chosen in product(*(list(names) for names in values.values())):
            folder = template.format(**dict(zip(values, chosen, strict=True)))
            names = self.entries(folder)
            found = [f"{folder}/{name}" for name in names if PurePosixPath(name).suffix.lower() in suffixes]
            columns["path"] += found
            for name, written in zip(values, chosen, strict=True):
                meanings = values[name]
                meaning = meanings[written] if isinstance(meanings, Mapping) else written
                columns[name] += [meaning] * len(found)
        return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))

    def entries(self, folder: str) -> list[str]:
        """Return the sorted names of what lies in a folder of the copy, except hidden ones.

        Raises:
            CounterGroundError: no such folder.
        """
        try:
            names = sorted(entry.name for entry in (self.root / folder).iterdir())
        except OSError as error:
            raise CounterGroundError(
                f"{self.root} has no folder {folder!r}: this copy is not complete, or is another data set."
            ) from error
        return [name for name in names if not name.startswith(".")]

    def table(self, name: str, columns: Sequence[str]) -> pl.DataFrame:
        """Return columns of a table in the copy as texts.

        Raises:
            CounterGroundError: no such file or column.
        """
        with as_published(self.root / name):
            return read_table(self.root / name).select(pl.col(columns).cast(pl.String))

    def make(self, photos: Mapping[str, tuple[Path, Change]]) -> None:
        """Write photos below ``made``.

        Args:
            photos: path below ``made`` -> a photo of the copy, and what is done to it; a changed photo is
                written as PNG, without loss.

        Raises:
            CounterGroundError: a photo cannot be read, changed or written, or its path leads out of ``made``.
        """
        if outside := list(filter(is_outside, photos)):
            raise CounterGroundError(f"{outside[0]!r} would be written outside {self.made}.")
        with (
            progress_bar("Making photos", total=len(photos), shown=self.show_progress) as bar,
            ThreadPoolExecutor(max_workers=_WORKERS) as pool,
        ):
            jobs = [pool.submit(_make, self.made / to, *how) for to, how in photos.items()]
            try:
                for job in jobs:
                    job.result()
                    bar.advance()
            except OSError as error:
                raise CounterGroundError(
                    f"Cannot write {error.filename or self.made}: {error.strerror}. Free some space."
                ) from error
            finally:
                pool.shutdown(cancel_futures=True)


def _make(target: Path, source: Path, change: Change) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if change is None:
        if not is_file(source):
            raise UnreadablePhoto(source, "missing")
        target.unlink(missing_ok=True)
        try:
            os.link(source.resolve(), target)
        except OSError:
            shutil.copyfile(source, target)
        return
    photo = load_photo(source)
    try:
        changed = change(photo.image)
    except ValueError as error:
        raise UnreadablePhoto(source, error_message(error)) from error
    with atomic_path(target, sync=False) as draft:
        changed.save(draft, "PNG", compress_level=1)


@contextmanager
def as_published(path: Path) -> Iterator[None]:
    """Report whatever is wrong with a file or folder of a copy.

    Raises:
        CounterGroundError: it cannot be read, or does not hold what its authors published.
    """
    try:
        yield
    except (
        OSError,
        sqlite3.Error,
        KeyError,
        IndexError,
        ValueError,
        AttributeError,
        TypeError,
        pl.exceptions.PolarsError,
    ) as error:
        raise CounterGroundError(f"{path} is not as published: {error_message(error)}.") from error


def common_if(usual: pl.Expr, other: str = "counter") -> pl.Expr:
    """Return "common" where a photo shows what is usual for its class, else the other word."""
    return pl.when(usual).then(pl.lit("common")).otherwise(pl.lit(other))


_LISTED = 4  # differences that a note names


@dataclass(frozen=True)
class LayoutBenchmark:
    """A published data set: how to read a copy of it, and what the literature measures on it.

    Attributes:
        name: what commands call it; for a variant, with its options, as in ``waterbirds?split=val``.
        description: one line for ``counterground benchmarks``.
        marks: files or folders, or patterns of them, that lie in the root of every copy: by them it is found.
        read: function from a copy to a frame with ``path``, ``class_name`` and any other manifest columns,
            including attributes and covariates.
        classes: names in order, with the ImageNet-1K indices that each covers, if any.
        design: cells, contrasts and weights.
        counts: published number of photos of each cell of the design; empty if not published.
        n_photos: published number of photos in all, if ``counts`` is empty.
        licence: licence of the photos, in a few words.
        homepage: where it is published.
        by_hand: a sentence on how to get it if no program can.
        urls: archives that a program can download; together they are one copy.
        makes: whether its photos are made from those of the copy (``Copy.make``): paths are then relative to
            ``Copy.made``.
    """

    name: str
    description: str
    marks: tuple[str, ...]
    read: Callable[[Copy], pl.DataFrame]
    classes: Mapping[str, tuple[int, ...]] | Sequence[str]
    licence: str
    homepage: str
    by_hand: str
    design: Design = field(default_factory=Design)
    counts: Mapping[tuple[str, ...], int] = field(default_factory=dict)
    n_photos: int = 0
    urls: tuple[str, ...] = ()
    makes: bool = False

    def built_in(self) -> BuiltInBenchmark:
        """Return what the registry of benchmarks takes."""
        return BuiltInBenchmark(
            name=self.name,
            description=self.description,
            n_photos=sum(self.counts.values()) or self.n_photos,
            folder=self._folder,
            is_ready=lambda: self._is_complete() or self._known_copy() is not None,
            get=self.get,
            licence=self.licence,
            homepage=self.homepage,
        )

    def get(self, given: Path | None, show_progress: bool) -> Benchmark:
        """Read a copy, or download one if a program can; write its manifest to the cache; return it.

        Args:
            given: a folder or archive; None: the copy that was read before, else a download.
            show_progress: show bars on standard error.

        Raises:
            UsageError: ``given`` does not exist.
            CounterGroundError: there is no copy, it cannot be downloaded, or it is not this data set.
        """
        folder = self._folder()
        if given is None and self._is_complete():
            return read_benchmark(folder)
        given = given or self._known_copy()
        if given is None and not self.urls:
            raise CounterGroundError(
                f"{self.name} cannot be downloaded by a program. {self.by_hand} "
                f"Then run `counterground benchmarks get '{self.name}' --from FOLDER`."
            )
        store = self._store()
        remedy = f"{self.by_hand} Give it with `--from ARCHIVE`, or the folder it was unpacked to."
        with data_folder(
            self.name, given, store, urls=self.urls, remedy=remedy, show_progress=show_progress
        ) as data:
            benchmark = self._of_copy(
                Copy(self._root(data), folder / "photos", self._classes(), show_progress=show_progress)
            )
            self._forget_other_copies(data)
            write_benchmark(benchmark, folder)
            source = {"copy": str(data.resolve()), "urls": None if given else list(self.urls)}
            write_text(store / "copy.json", json.dumps(source) + "\n")
        return benchmark

    def _store(self) -> Path:
        return cache_dir() / "benchmarks" / self.name.partition("?")[0]

    def _folder(self) -> Path:
        """Return the folder of the manifest; all variants share one store and one copy."""
        return self._store() / (self.name.partition("?")[2] or "default")

    def _is_complete(self) -> bool:
        return (self._folder() / "benchmark.json").is_file()

    def _known_copy(self) -> Path | None:
        """Return the copy that this benchmark, or another variant of it, was read from."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            source = json.loads((self._store() / "copy.json").read_text(encoding="utf-8"))
            copy = Path(source["copy"])
            if copy.is_dir() and source["urls"] in (None, list(self.urls)):
                return copy
        return None

    def _forget_other_copies(self, data: Path) -> None:
        if self._known_copy() != data.resolve():
            for other in self._store().glob("*"):
                if other.is_dir() and other != self._folder() and not other.name.startswith("unpacked"):
                    shutil.rmtree(other)

    def _classes(self) -> dict[str, tuple[int, ...]]:
        return dict(self.classes) if isinstance(self.classes, Mapping) else dict.fromkeys(self.classes, ())

    def _root(self, data: Path) -> Path:
        """Return the folder in or below ``data`` that holds all marks."""
        for folder in nearest_folders(data):
            if all(any(folder.glob(mark)) for mark in self.marks):
                return folder
        raise CounterGroundError(
            f"{data} holds no {' and '.join(self.marks)}: is it {self.name} as published ({self.homepage})? "
            f"{self.by_hand}"
        )

    def _of_copy(self, copy: Copy) -> Benchmark:
        frame = self.read(copy)
        if frame.is_empty():
            raise CounterGroundError(f"{copy.root} has no photo: this copy is not complete.")
        if absent := sorted(set(copy.classes) - set(frame["class_name"])):
            raise CounterGroundError(
                f"{copy.root} has no photo of {', '.join(absent[:_LISTED])}: this copy is not complete."
            )
        frame = frame.with_columns(licence=pl.lit(self.licence), source=pl.lit(self.homepage))
        root = copy.made if self.makes else copy.root
        benchmark = benchmark_of_frame(
            frame.drop("class_index", strict=False), root, self.name, classes=_classes_of(copy.classes)
        )
        notes = dict.fromkeys((*benchmark.notes, *copy.notes, *self._differences(benchmark.photos)))
        return benchmark.described(notes=notes, design=self.design)

    def _differences(self, photos: pl.DataFrame) -> Iterator[str]:
        """Yield sentences on cells whose numbers of photos differ from the published ones."""
        if not self.counts:
            if self.n_photos not in (0, len(photos)):
                yield f"This copy has {len(photos):,} photos; {self.n_photos:,} were published."
            return
        found = {tuple(row[:-1]): row[-1] for row in photos.group_by(self.design.cells).len().iter_rows()}
        cells = [cell for cell in {**self.counts, **found} if found.get(cell, 0) != self.counts.get(cell, 0)]
        if cells:
            listed = "; ".join(
                f"{', '.join(map(str, cell))}: {found.get(cell, 0):,} instead of {self.counts.get(cell, 0):,}"
                for cell in cells[:_LISTED]
            )
            more = f"; and {len(cells) - _LISTED} more" if len(cells) > _LISTED else ""
            yield f"This copy has other numbers of photos than were published: {listed}{more}."


def _classes_of(classes: Mapping[str, tuple[int, ...]]) -> LabelSpace:
    names, members = tuple(classes), tuple(classes.values())
    if all(len(indices) <= 1 for indices in members):
        return LabelSpace("benchmark", names, tuple(next(iter(indices), None) for indices in members))
    return LabelSpace("benchmark", names, (None,) * len(names), members=members)


def with_options(make: Callable[..., LayoutBenchmark], **options: tuple[str, ...]) -> BuiltInBenchmark:
    """Return a benchmark whose name may choose among the values of options, as in ``waterbirds?split=val``.

    Args:
        make: function that takes the value of every option as keywords.
        options: values of each option, the default first.
    """

    def variant(**values: str) -> BuiltInBenchmark:
        found = make(**values)
        chosen = [f"{option}={value}" for option, value in values.items() if value != options[option][0]]
        named = replace(found, name="?".join(filter(None, (found.name, "&".join(chosen)))))
        return replace(named.built_in(), options=options, variant=variant)

    return variant(**{option: values[0] for option, values in options.items()})
