"""A user's copy of a published data set: what readers of layouts use."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl
from PIL import Image

from counterground.errors import CounterGroundError, error_message
from counterground.files import atomic_path, is_file, read_json
from counterground.photos import IMAGE_SUFFIXES, UnreadablePhoto, load_photo, read_table
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

    def table(self, name: str, columns: Mapping[str, Mapping[str, str] | None]) -> pl.DataFrame:
        """Return columns of a table in the copy as texts.

        Args:
            name: file name of the table.
            columns: needed columns -> what each of their values means; None: any value, as it is.

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
            return read_json(self.root / name)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise CounterGroundError(f"Cannot read {self.root / name}: {reason}.") from error

    def make(self, photos: Mapping[str, tuple[Path, Change, *tuple[Path, ...]]]) -> None:
        """Write photos below ``made``; existing ones made from the same files are kept.

        Args:
            photos: path below ``made`` -> a photo of the copy, what is done to it, and the other files that
                this reads, such as a mask; a changed photo is written as PNG, without loss.

        Raises:
            CounterGroundError: a photo cannot be read, changed or written, or its path leads out of ``made``.
        """
        if outside := [to for to in photos if to.startswith("/") or ".." in PurePosixPath(to).parts]:
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


def _make(target: Path, source: Path, change: Change, *others: Path) -> None:
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
    # The mean of the time stamps: it changes with each of them, whether the new one is later or earlier.
    stamps = [file.stat().st_mtime_ns for file in (source, *others)]
    made_from = sum(stamps) // len(stamps)
    if target.is_file() and target.stat().st_mtime_ns == made_from:
        return
    try:
        changed = change(photo.image)
    except ValueError as error:
        raise UnreadablePhoto(source, error_message(error)) from error
    with atomic_path(target, sync=False) as draft:
        changed.save(draft, "PNG", compress_level=1)
    os.utime(target, ns=(made_from, made_from))


def _meant(column: pl.Series, meanings: Mapping[str, str], where: str) -> pl.Series:
    for row, value in enumerate(column, 1):
        if value not in meanings:
            raise CounterGroundError(
                f"{where} {row} has {value!r} as {column.name}; it must be one of {', '.join(meanings)}."
            )
    return column.replace_strict(dict(meanings), return_dtype=pl.String)
