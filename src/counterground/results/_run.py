"""A run: predictions and scores of some models on one benchmark, and how they were made."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from counterground.arguments import texts
from counterground.errors import CounterGroundError, UsageError, did_you_mean, first_problem
from counterground.files import given_path, is_file, read_parquet, read_text, scan_parquet
from counterground.metrics import (
    DROP,
    GROUPS,
    PHOTO_COLUMNS,
    SCORES_SCHEMA,
    Answers,
    Contrast,
    Design,
    attributes,
    by_key,
    check_columns,
    read_answers,
    score_by,
    score_contrast,
    swap_effects,
)
from counterground.results._checks import check_tables
from counterground.results._schema import PREDICTIONS_SCHEMA, RUN_FILES, RunInfo
from counterground.results._scores_table import ScoresView, run_html
from counterground.results.tables import plain_text
from counterground.text import counted


class _OpenedFile:
    """The rows of a file, as long as it is the one that was opened: a run may be replaced by another."""

    def __init__(self, file: Path, rows: pl.LazyFrame) -> None:
        self._file, self._rows, self._state = file, rows, _state(file)

    def lazy(self) -> pl.LazyFrame:
        """Return the rows, not yet read.

        Raises:
            CounterGroundError: the file was replaced, or is no longer there.
        """
        if _state(self._file) != self._state:
            raise CounterGroundError(
                f"The run in {self._file.parent} was replaced, moved or deleted after it was opened: open it "
                "again."
            )
        return self._rows


def _state(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


_Given = pl.DataFrame | pl.LazyFrame | _OpenedFile


class _Predictions:
    """A frame, or a file that is read once, when all of its rows are requested."""

    def __get__(self, run: Run | None, _: type[Run]) -> pl.DataFrame:
        if run is None:
            raise AttributeError  # it has no default
        given: _Given = run.__dict__["given"]
        if not isinstance(given, pl.DataFrame):
            with _reading(run.path):
                given = run.__dict__["given"] = given.lazy().collect()
        return given

    def __set__(self, run: Run, given: _Given) -> None:
        run.__dict__["given"] = given


@dataclass(frozen=True, eq=False)
class Run:
    """Predictions and scores of some models on one benchmark, as kept in a folder.

    Two runs are equal if all that they record and measured is equal, whatever their folders are called.
    ``predictions`` are all rows of ``predictions.parquet`` (``PREDICTIONS_SCHEMA``), ``scores`` those of
    ``scores.parquet`` (``metrics.SCORES_SCHEMA``, fractions). Millions of rows need not be read at once:
    ``answers``, ``photos`` and ``by_setting`` read one model at a time. Whatever reads a file raises
    CounterGroundError if it is damaged.
    """

    path: Path
    info: RunInfo
    predictions: _Predictions = _Predictions()  # a descriptor, no default
    scores: pl.DataFrame  # type: ignore[misc]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Run):
            return NotImplemented
        return self is other or (
            self.info == other.info
            and self.scores.equals(other.scores)
            and self.predictions.equals(other.predictions)
        )

    def __hash__(self) -> int:
        return hash((self.info.created, self.info.request))

    @property
    def rows(self) -> pl.LazyFrame:
        """The predictions, perhaps not yet read."""
        given: _Given = self.__dict__["given"]
        return given.lazy()

    @cached_property
    def answers(self) -> dict[tuple[Any, ...], Answers]:
        """What each model got right and predicted under each setting (``metrics.KEYS``), photos by path."""
        with _reading(self.path):
            further = attributes(self.rows.collect_schema())
            columns = (*PHOTO_COLUMNS, *further, "correct", "predicted_index")
            read = read_answers(self.rows, columns=columns, design=self.design)
            return {
                key: replace(answers, rows=answers.rows.select("correct", "predicted_index"))
                for key, answers in read
            }

    @cached_property
    def photos(self) -> pl.DataFrame:
        """The photos that any model saw, by path: the columns that describe them."""
        strata = {id(answers.photos): answers.photos for answers in self.answers.values()}
        frames = [each.photos for each in strata.values() if each.photos is not None]
        return frames[0] if len(frames) == 1 else pl.concat(frames).unique(maintain_order=True).sort("path")

    def by_setting(self, columns: Sequence[str]) -> Iterator[tuple[tuple[Any, ...], pl.DataFrame]]:
        """Read columns one model and setting at a time: values of ``metrics.KEYS``, rows by path."""
        with _reading(self.path):
            yield from by_key(self.rows, columns=columns)

    @property
    def design(self) -> Design:
        """Cells, contrasts and shares of the benchmark."""
        return self.info.benchmark.scored

    def contrast(self, contrast: str | Contrast | None = None) -> Contrast:
        """Return a contrast of the design by its name, the one that an expression defines, or the first one.

        Raises:
            UsageError: there is none, or it does not fit these photos.
        """
        if contrast is None:
            return self.design.contrasts[0]
        known = str(contrast) in ("drop", str(DROP)) and DROP not in self.design.contrasts
        if known and not self.info.mixes_groups and (self.scores["metric"] == "drop").any():
            return DROP
        found = self.design.find(str(contrast), self.photos)
        if found == DROP and self.info.mixes_groups:
            raise UsageError(
                f"{self.path} holds composites of several kinds, which have no drop together; its contrasts: "
                f"{', '.join(each.name for each in self.design.contrasts)}."
            )
        return found

    def with_contrast(self, contrast: str | Contrast) -> Run:
        """Return the run with the scores of a contrast, even if its design does not have it.

        ``Contrast.difference_key`` and ``side_keys`` say where they are in the scores.

        Raises:
            UsageError: a contrast that `contrast` refuses.
        """
        if contrast not in (DROP, *self.design.contrasts):
            contrast = self.contrast(contrast)
        if contrast in (DROP, *self.design.contrasts):
            return self
        with _reading(self.path):
            rows = score_contrast(self.rows, contrast, design=self.design)
        return Run(self.path, self.info, self.__dict__["given"], pl.concat([self.scores, rows]))

    def by(self, columns: str | Sequence[str], *, balanced: bool = True) -> pl.DataFrame:
        """Return `metrics.score_by`.

        Raises:
            UsageError: no column, one that is named twice or unknown, or one with numbers.
        """
        columns = texts("columns", columns)
        if not columns or len(set(columns)) < len(columns):
            raise UsageError("A breakdown is by one column or several, each named once.")
        check_columns(columns, self.rows.collect_schema(), "a breakdown")
        with _reading(self.path):
            return score_by(self.rows, columns, balanced=balanced, design=self.design)

    def effects(self, *, by_class: bool = True) -> pl.DataFrame:
        """Return `metrics.swap_effects`.

        Raises:
            UsageError: the run is not of composites.
        """
        with _reading(self.path):
            chance = self.info.candidates.chance
            return swap_effects(self.rows, design=self.design, chance=chance, by_class=by_class)

    def __repr__(self) -> str:
        """The table of scores, as on a terminal."""
        info = self.info
        photos = f"{counted(info.counts.photos, 'photo')}, {counted(len(info.models), 'model')}"
        return f"Run {self.path}: {info.benchmark.name}, {photos}\n{plain_text(ScoresView(self.scores))}"

    def _repr_html_(self) -> str:
        return run_html(self.info, self.photos["class_index"].n_unique(), self.scores)


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """Say that a run is damaged if its files cannot be read."""
    try:
        yield
    except (ValueError, OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise CounterGroundError(
            f"The run in {folder} is damaged ({_reason(error)}). Delete the folder and evaluate again; "
            "stored features make that quick."
        ) from error


def open_run(path: Path | str) -> Run:
    """Read a run folder and check that its tables agree.

    Raises:
        UsageError: a file, or something that is not a path.
        CounterGroundError: the folder holds no run, or an empty, changed or contradictory one.
    """
    if not isinstance(path, str | os.PathLike):
        raise UsageError(f"A run is given as its folder, not as {type(path).__name__}.")
    folder = given_path(os.fspath(path))
    if folder.is_file():
        raise UsageError(f"{folder} is a file; a run is a folder: give {folder.parent}.")
    if not (folder / "run.json").is_file():
        raise CounterGroundError(
            f"{folder} is not a run folder (run.json is missing). Make one with `counterground evaluate`."
        )
    with _reading(folder):
        info = RunInfo.model_validate_json(read_text(folder / "run.json"))
        # The working folder may change before all rows are read.
        file = (folder / "predictions.parquet").absolute()
        rows = scan_parquet(file)
        opened = _OpenedFile(file, rows)
        scores = read_parquet(folder / "scores.parquet")
        columns = rows.collect_schema().names()
        columns = [name for name in columns if name not in attributes(rows.collect_schema())]
    if difference := _other_columns({"predictions.parquet": columns, "scores.parquet": scores.columns}):
        raise CounterGroundError(
            f"The run in {folder} was written by another version of CounterGround "
            f"({info.counterground_version}: {difference}). Evaluate again into a new folder, or with "
            "--overwrite into this one; stored features make that quick."
        )
    with _reading(folder):
        predicted = rows.select("model").unique().collect()["model"]
    if obstacle := _unusable(folder, info, predicted, scores["model"].unique()):
        raise CounterGroundError(
            f"{obstacle} Delete the folder and evaluate again; stored features make that quick."
        )
    with _reading(folder):
        check_tables(info, rows, scores)
    return Run(folder, info, opened, without_mixtures(scores, info))


def without_mixtures(scores: pl.DataFrame, info: RunInfo) -> pl.DataFrame:
    """Return scores without those of common and counter rows if these are composites of several kinds."""
    if not info.mixes_groups:
        return scores
    mixed = (pl.col("metric") == DROP.name) | pl.col("group").is_in(GROUPS).fill_null(value=False)
    return scores.filter(~mixed)


AnyRuns = Run | Path | str | Iterable[Run | Path | str]
"""One run or several, opened or by their folders."""


def open_runs(runs: AnyRuns, *, least: int = 0) -> list[Run]:
    """Open runs, each once: the models of a folder that is given twice would count twice.

    Args:
        runs: one run or several, opened or by their folders.
        least: the fewest runs that are accepted.

    Raises:
        UsageError: something that is not a run or a folder, a run given twice, or fewer runs.
        CounterGroundError: see `open_run`.
    """
    if isinstance(runs, Run | Path | str):
        listed: list[Run | Path | str] = [runs]
    elif hasattr(runs, "columns"):
        raise UsageError(
            f"A table ({type(runs).__name__}) is not a run: give runs or their folders. format_scores also "
            "takes scores as a Polars DataFrame."
        )
    elif isinstance(runs, Iterable) and not isinstance(runs, bytes):
        listed = list(runs)
    else:
        raise UsageError(f"Runs are given as runs or their folders, not as {type(runs).__name__}.")
    if strange := [run for run in listed if not isinstance(run, Run | Path | str)]:
        raise UsageError(f"A run is given as a Run or its folder, not as {type(strange[0]).__name__}.")
    if len(listed) < least:
        raise UsageError("There is no run: give at least one.")
    opened = [run if isinstance(run, Run) else open_run(run) for run in listed]
    folders = [run.path.resolve() for run in opened]
    if twice := [run for place, run in enumerate(opened) if folders[place] in folders[:place]]:
        raise UsageError(f"The run {twice[0].path} is given twice; give each folder once.")
    return opened


def refuse_run_file(option: str, file: Path) -> None:
    """Refuse an output that would replace a file of a run.

    Raises:
        UsageError: it is one.
    """
    if file.name in RUN_FILES and is_file(file.parent / "run.json"):
        raise UsageError(f"{option} {file} is a file of the run in {file.parent}: choose another name.")


def _reason(error: BaseException) -> str:
    """Return in a few words what is wrong with a file of a run."""
    if isinstance(error, ValidationError):
        return f"run.json: {first_problem(error)}"
    return str(error).splitlines()[0]


def _other_columns(tables: Mapping[str, list[str]]) -> str:
    """Name the first table whose columns are not those of this version, and how they differ."""
    schemas = {"predictions.parquet": PREDICTIONS_SCHEMA, "scores.parquet": SCORES_SCHEMA}
    for name, columns in tables.items():
        lacking = [column for column in schemas[name] if column not in columns]
        if lacking:
            return f"{name} lacks {', '.join(lacking)}"
        if columns != list(schemas[name]):
            return f"{name} has other columns"
    return ""


def _unusable(folder: Path, info: RunInfo, predicted: pl.Series, scored: pl.Series) -> str:
    """Say what a run's tables lack, or what its run.json lacks of their models; empty if they agree."""
    for name, models in {"predictions.parquet": predicted, "scores.parquet": scored}.items():
        if models.is_empty():
            return f"The run in {folder} is empty ({name} has no rows)."
        if models.dtype != pl.String or models.has_nulls():
            return f"The run in {folder} is damaged (a model of {name} has no name)."
        unknown = sorted(set(models) - {model.name for model in info.models})
        if unknown:
            listed = ", ".join(unknown)
            return (
                f"The run in {folder} is damaged ({folder / 'run.json'} lacks {listed}, which {name} holds)."
            )
    return ""


def select_models(runs: Mapping[Path, Run], models: Sequence[str]) -> dict[Path, Run]:
    """Return the runs with these models only, by name or specification; a run without any is left out.

    Raises:
        UsageError: no run has one of the models.
    """
    names = [name for model in models for name in find_models(list(runs.values()), model)]
    chosen = {folder: _with_models(run, names) for folder, run in runs.items()}
    return {folder: run for folder, run in chosen.items() if run.info.models}


def find_models(runs: Sequence[Run], model: str) -> list[str]:
    """Return the names of the runs' models that have this name, else of those with this specification.

    Raises:
        UsageError: there are none.
    """
    records = [record for run in runs for record in run.info.models]
    known = list(dict.fromkeys(record.name for record in records))
    if model in known:
        return [model]
    found = list(dict.fromkeys(record.name for record in records if record.spec == model))
    if not found:
        raise UsageError(
            f"No run has the model {model!r}; there are {', '.join(known)}.{did_you_mean(model, known)}"
        )
    return found


def find_model(runs: Sequence[Run], model: str) -> str:
    """Return the name of the one model of the runs that has this name or else this specification.

    Raises:
        UsageError: there is none, or there are several.
    """
    found = find_models(runs, model)
    if len(found) > 1:
        raise UsageError(f"Several models are {model!r}: name one of {', '.join(found)}.")
    return found[0]


def _with_models(run: Run, names: Sequence[str]) -> Run:
    selected = pl.col("model").is_in(names)
    info = run.info.with_models(names)
    return Run(run.path, info, run.rows.filter(selected), run.scores.filter(selected))


def class_names(runs: Sequence[Run]) -> dict[int, str]:
    """Return the names of the classes of runs, by class index.

    Raises:
        UsageError: the runs use one index for different classes.
    """
    named = pl.concat([run.photos.select("class_index", "class_name") for run in runs]).unique()
    if named["class_index"].is_duplicated().any():
        raise UsageError("These runs have different classes: show them one at a time by class.")
    return dict(named.iter_rows())


def join_scores(runs: Sequence[Run], *, named: bool) -> pl.DataFrame:
    """Return the scores of several runs; ``named`` prepends a column ``run`` with the folder of each."""
    return join_frames(runs, [run.scores for run in runs], named=named)


def join_frames(runs: Sequence[Run], frames: Sequence[pl.DataFrame], *, named: bool) -> pl.DataFrame:
    """Join a frame of each run; ``named`` prepends a column ``run`` with the folder of each."""
    if not named:
        return pl.concat(frames)
    return pl.concat(
        frame.select(pl.lit(str(run.path)).alias("run"), pl.all())
        for run, frame in zip(runs, frames, strict=True)
    )
