"""Benchmarks that others published: read from a copy in the layout that their authors gave it.

A copy may come from any mirror. It must hold the published folders; if its numbers of photos per cell differ
from the published ones, the benchmark says so.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from counterground.benchmarks._builtin import BuiltInBenchmark
from counterground.benchmarks._copy import Copy
from counterground.benchmarks._fetch import data_folder, nearest_folders
from counterground.errors import CounterGroundError
from counterground.files import cache_dir, write_text
from counterground.metrics import Design
from counterground.photos import Benchmark, LabelSpace, benchmark_of_frame, read_benchmark, write_benchmark

_LISTED = 4  # differences that a note names


@dataclass(frozen=True)
class LayoutBenchmark:
    """A published data set: how to read a copy of it, and what the literature measures on it.

    Attributes:
        name: what commands call it; for a variant, with its options, as in ``waterbirds?split=val``.
        description: one line for ``counterground benchmarks``.
        marks: files or folders that lie in the root of every copy, by which it is found.
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
            if all((folder / mark).exists() for mark in self.marks):
                return folder
        raise CounterGroundError(
            f"{data} holds no {' and '.join(self.marks)}: is it {self.name} as published ({self.homepage})? "
            f"{self.by_hand}"
        )

    def _of_copy(self, copy: Copy) -> Benchmark:
        frame = self.read(copy)
        if frame.is_empty():
            raise CounterGroundError(f"{copy.root} has no photo: this copy is not complete.")
        names = list(copy.classes)
        if absent := sorted(set(names) - set(frame["class_name"])):
            raise CounterGroundError(
                f"{copy.root} has no photo of {', '.join(absent[:_LISTED])}: this copy is not complete."
            )
        space = _classes_of(copy.classes)
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
        return replace(benchmark, classes=space, notes=notes, design=self.design)

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
    sizes = {len(members) for members in classes.values()}
    none = (None,) * len(classes)
    if sizes <= {0, 1}:
        known = tuple(members[0] if members else None for members in classes.values())
        return LabelSpace("benchmark", tuple(classes), known)
    members = tuple(classes.values())
    return LabelSpace("benchmark", tuple(classes), none, members=members)
