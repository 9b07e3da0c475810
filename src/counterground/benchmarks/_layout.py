"""Benchmarks that others published: read from a copy in the layout that their authors gave it.

A copy may come from any mirror: what counts is that it holds the published folders, and how many photos are in
each cell. Where these differ from what was published, the benchmark says so.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl
from PIL import Image

from counterground.benchmarks._builtin import BuiltInBenchmark
from counterground.benchmarks._fetch import data_folder
from counterground.errors import CounterGroundError
from counterground.files import atomic_path, cache_dir, write_text
from counterground.metrics import Design
from counterground.photos import (
    IMAGE_SUFFIXES,
    Benchmark,
    LabelSpace,
    benchmark_of_frame,
    load_photo,
    read_benchmark,
    read_table,
    write_benchmark,
)
from counterground.progress import progress_bar
from counterground.text import counted

_DEPTH = 4  # folders of an unpacker, a mirror or a user around the data
_LISTED = 4  # differences, or unknown folders, that a note names
_WORKERS = 4


@dataclass
class Copy:
    """Somebody's copy of a data set, as its reader sees it.

    Attributes:
        root: the folder that holds the benchmark's marks; paths in the reader's frame are relative to it.
        made: a folder of the benchmark's own, for photos that are made from those of the copy.
        classes: names in order -> the ImageNet-1K indices that each covers, none where it is none of
            ImageNet's; a reader may replace it where the copy says what they are.
        notes: what every output must say; a reader may add to it.
        show_progress: show a bar on standard error where photos are made.
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
        ignored: Collection[str] = (),
        **values: Sequence[str] | Mapping[str, str],
    ) -> pl.DataFrame:
        """Return a row for each photo in the folders of a template, with the values that its folder stands for.

        Args:
            template: the way to the folders from the root, as ``test/{class_name}/{background}``.
            suffixes: of photos, in lower case; other files are not looked at.
            ignored: names of folders beside these that are known, and not noted.
            values: the names that folders have for each column, or a mapping from them to its values.

        Raises:
            CounterGroundError: a folder is missing.
        """
        columns: dict[str, list[str]] = {name: [] for name in ("path", *values)}
        folders = set()
        for chosen in product(*(list(names) for names in values.values())):
            folder = template.format(**dict(zip(values, chosen, strict=True)))
            folders.add(folder)
            found = self._photos(folder, suffixes)
            columns["path"] += found
            for name, written in zip(values, chosen, strict=True):
                meanings = values[name]
                meaning = meanings[written] if isinstance(meanings, Mapping) else written
                columns[name] += [meaning] * len(found)
        self._note_unknown(template, folders, ignored)
        return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))

    def _photos(self, folder: str, suffixes: Collection[str]) -> list[str]:
        try:
            with os.scandir(self.root / folder) as entries:
                names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
        except OSError as error:
            raise CounterGroundError(
                f"{self.root} has no folder {folder!r}: this copy is not complete, or is another data set."
            ) from error
        return [f"{folder}/{name}" for name in names if PurePosixPath(name).suffix.lower() in suffixes]

    def _note_unknown(self, template: str, folders: set[str], ignored: Collection[str]) -> None:
        """Note folders with photos that stand where those of the template do and are none of them."""
        known = folders | {str(above) for folder in folders for above in PurePosixPath(folder).parents}
        start = str(PurePosixPath(template[: template.index("{")] + "x").parent)
        parents = sorted(above for above in known - folders if _is_below(above, start))
        beside = (
            f"{parent}/{name}".removeprefix("./")
            for parent in parents
            for name in sorted(entry.name for entry in os.scandir(self.root / parent) if entry.is_dir())
            if not name.startswith(".") and name not in ignored
        )
        unknown = [folder for folder in beside if folder not in known and _holds_photos(self.root / folder)]
        if unknown:
            more = f" and {len(unknown) - _LISTED} more" if len(unknown) > _LISTED else ""
            self.notes.append(
                f"Skipped {counted(len(unknown), 'folder')} that the benchmark does not have: "
                f"{', '.join(unknown[:_LISTED])}{more}."
            )

    def table(self, name: str, columns: Mapping[str, Mapping[str, str] | None]) -> pl.DataFrame:
        """Return columns of a table in the copy as texts.

        Args:
            name: its file.
            columns: those that are needed -> what each of its values means; None: any value, as it is.

        Raises:
            CounterGroundError: no such file or column, or a value without a meaning, naming its row.
        """
        if not (self.root / name).is_file():
            raise CounterGroundError(f"{self.root} has no file {name}: this copy is not complete.")
        frame = read_table(self.root / name)
        if missing := [column for column in columns if column not in frame.columns]:
            raise CounterGroundError(
                f"{self.root / name} has no column {missing[0]!r}; it has {', '.join(frame.columns)}."
            )
        frame = frame.select(pl.col(column).cast(pl.String) for column in columns)
        for column, meanings in columns.items():
            if meanings is not None:
                frame = frame.with_columns(_meant(frame[column], meanings, f"{self.root / name}: row"))
        return frame

    def json(self, name: str) -> Any:
        """Return the content of a JSON file of the copy.

        Raises:
            CounterGroundError: it cannot be read.
        """
        try:
            return json.loads((self.root / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise CounterGroundError(f"Cannot read {self.root / name}: {reason}.") from error

    def make(
        self, photos: Mapping[str, tuple[Path, Callable[[Image.Image], Image.Image] | None]]
    ) -> None:
        """Write photos below ``made``; those that are there already, made from the same files, are kept.

        Args:
            photos: path below ``made`` -> a photo of the copy and what is done to it, in RGB; None: nothing,
                and the file itself is linked or copied. Changed photos are written as PNG, without loss.

        Raises:
            CounterGroundError: a photo cannot be read, or written.
        """
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


def _make(target: Path, source: Path, change: Callable[[Image.Image], Image.Image] | None) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if change is None:
        target.unlink(missing_ok=True)
        try:
            os.link(source.resolve(), target)
        except OSError:
            shutil.copyfile(source, target)
        return
    photo = load_photo(source)
    made_from = source.stat().st_mtime_ns
    if target.is_file() and target.stat().st_mtime_ns == made_from:
        return
    with atomic_path(target, sync=False) as draft:
        change(photo.image).save(draft, "PNG", compress_level=1)
    os.utime(target, ns=(made_from, made_from))


def _is_below(folder: str, start: str) -> bool:
    return start == "." or folder == start or folder.startswith(f"{start}/")


def _holds_photos(folder: Path) -> bool:
    return any(
        PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
        for _, _, names in os.walk(folder)
        for name in names
    )


def _meant(column: pl.Series, meanings: Mapping[str, str], where: str) -> pl.Series:
    for row, value in enumerate(column, 1):
        if value not in meanings:
            raise CounterGroundError(
                f"{where} {row} has {value!r} as {column.name}; it must be one of {', '.join(meanings)}."
            )
    return column.replace_strict(dict(meanings), return_dtype=pl.String)


@dataclass(frozen=True)
class LayoutBenchmark:
    """A published data set: how a copy of it is read, and what its field measures on it.

    Attributes:
        name: what commands call it; of a variant with its options, as in ``waterbirds?split=val``.
        description: one line for ``counterground benchmarks``.
        marks: files or folders that lie in the root of every copy, by which it is found.
        read: from a copy to a frame with ``path``, ``class_name`` and any other columns of a manifest, among
            them attributes and covariates.
        classes: names in their order, with the ImageNet-1K indices that each covers where there are any.
        design: cells, contrasts and weights.
        counts: published number of photos of each cell of the design; empty where it was not published.
        n_photos: published number of photos in all, where ``counts`` are empty.
        licence: of the photos, in a few words.
        homepage: where it is published.
        by_hand: a sentence that says how to get it where no program can.
        urls: archives that a program can download; together they are one copy.
        cite: keys of known references, or BibTeX entries.
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
    cite: tuple[str, ...] = ()
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
            cite=self.cite,
            licence=self.licence,
            homepage=self.homepage,
        )

    def get(self, given: Path | None, show_progress: bool) -> Benchmark:
        """Read a copy, or download one where a program can, write the manifest into the cache, return it.

        Args:
            given: a folder or archive; None: the copy that was read before, else a download.
            show_progress: show bars on standard error.

        Raises:
            UsageError: ``given`` does not exist.
            CounterGroundError: there is no copy, or it is not this data set.
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
            benchmark = self._of_copy(Copy(
                self._root(data), folder / "photos", self._classes(), show_progress=show_progress
            ))
            self._forget_other_copies(data)
            write_benchmark(benchmark, folder)
            source = {"copy": str(data.resolve()), "urls": None if given else list(self.urls)}
            write_text(store / "copy.json", json.dumps(source) + "\n")
        return benchmark

    def _store(self) -> Path:
        return cache_dir() / "benchmarks" / self.name.partition("?")[0]

    def _folder(self) -> Path:
        """The folder of the manifest; all variants are in one store, and have one copy."""
        return self._store() / self.name.partition("?")[2]

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
            for description in self._store().glob("**/benchmark.json"):
                description.unlink()

    def _classes(self) -> dict[str, tuple[int, ...]]:
        return dict(self.classes) if isinstance(self.classes, Mapping) else dict.fromkeys(self.classes, ())

    def _root(self, data: Path) -> Path:
        """Return the folder in or below ``data`` that holds all marks."""
        for folder in _levels(data):
            if all((folder / mark).exists() for mark in self.marks):
                return folder
        raise CounterGroundError(
            f"{data} holds no {' and '.join(self.marks)}: is it {self.name} as published ({self.homepage})? "
            f"{self.by_hand}"
        )

    def _of_copy(self, copy: Copy) -> Benchmark:
        frame = self.read(copy)
        names = list(copy.classes)
        if absent := sorted(set(names) - set(frame["class_name"])):
            raise CounterGroundError(
                f"{copy.root} has no photo of {', '.join(absent[:_LISTED])}: this copy is not complete."
            )
        space = _label_space(self.name, copy.classes)
        index = dict(zip(names, range(len(names)), strict=True))
        imagenet = dict(zip(names, space.imagenet, strict=True))
        frame = frame.with_columns(
            class_index=pl.col("class_name").replace_strict(index, return_dtype=pl.Int32),
            imagenet_index=pl.col("class_name").replace_strict(imagenet, return_dtype=pl.Int32),
            licence=pl.lit(self.licence),
            source=pl.lit(self.homepage),
        )
        benchmark = benchmark_of_frame(frame, copy.made if self.makes else copy.root, self.name)
        notes = (*benchmark.notes, *copy.notes, *self._differences(benchmark.photos))
        return replace(benchmark, label_space=space, notes=notes, design=self.design)

    def _differences(self, photos: pl.DataFrame) -> Iterator[str]:
        """Say which cells have other numbers of photos than were published."""
        if not self.counts:
            if self.n_photos not in (0, len(photos)):
                yield f"This copy has {len(photos):,} photos; {self.n_photos:,} were published."
            return
        found = {tuple(row[:-1]): row[-1] for row in photos.group_by(self.design.cells).len().iter_rows()}
        cells = [cell for cell in self.counts | found if found.get(cell, 0) != self.counts.get(cell, 0)]
        if cells:
            listed = "; ".join(
                f"{', '.join(map(str, cell))}: {found.get(cell, 0):,} instead of {self.counts.get(cell, 0):,}"
                for cell in cells[:_LISTED]
            )
            more = f"; and {len(cells) - _LISTED} more" if len(cells) > _LISTED else ""
            yield f"This copy has other numbers of photos than were published: {listed}{more}."


def _label_space(name: str, classes: Mapping[str, tuple[int, ...]]) -> LabelSpace:
    sizes = {len(members) for members in classes.values()}
    none = (None,) * len(classes)
    if sizes == {1}:
        return LabelSpace("benchmark", tuple(classes), tuple(index for (index,) in classes.values()))
    members = None if sizes == {0} else tuple(classes.values())
    return LabelSpace("benchmark", tuple(classes), none, members=members)


def _levels(data: Path) -> Iterator[Path]:
    """Yield ``data`` and the folders below it, the nearest first."""
    level = [data]
    for _ in range(_DEPTH):
        yield from level
        level = [
            child
            for folder in level
            for child in sorted(folder.iterdir())
            if child.is_dir() and not child.name.startswith(".")
        ]
