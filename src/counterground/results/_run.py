"""A run: predictions of some models on one benchmark, and how they were made."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import ValidationError

from counterground.errors import CounterGroundError, UsageError, did_you_mean, first_problem
from counterground.files import given_path, is_file, read_text, scan_parquet
from counterground.metrics import (
    DROP,
    GROUPS,
    KEYS,
    PHOTO_COLUMNS,
    Answers,
    Contrast,
    Design,
    ScoreKey,
    attributes,
    by_key,
    check_columns,
    correct_contrast,
    read_answers,
    score_by,
    score_contrast,
    score_predictions,
    swap_effects,
)
from counterground.results._schema import (
    PREDICTIONS_SCHEMA,
    RECORD,
    RUN_FILES,
    BenchmarkRecord,
    CandidatesRecord,
    CountsRecord,
    ModelRecord,
    RunInfo,
)
from counterground.results._scores_table import ScoresTable, run_html
from counterground.results._view import plain_text
from counterground.text import counted

if TYPE_CHECKING:
    from counterground.comparison import Comparison


class _Predictions:
    """A frame, or a file that is read once, when all of its rows are requested."""

    def __get__(self, run: Run | None, _: type[Run]) -> pl.DataFrame:
        if run is None:
            raise AttributeError  # it has no default
        given: pl.DataFrame | pl.LazyFrame = run.__dict__["given"]
        if not isinstance(given, pl.DataFrame):
            with reading(run.path):
                given = run.__dict__["given"] = given.collect()
        return given

    def __set__(self, run: Run, given: pl.DataFrame | pl.LazyFrame) -> None:
        run.__dict__["given"] = given


@dataclass(frozen=True, eq=False)
class Run:
    """Predictions of some models on one benchmark, and what follows from them.

    Two runs are equal if all that they record and measured is equal, whatever their folders are called.
    ``predictions`` are all rows of ``predictions.parquet`` (``PREDICTIONS_SCHEMA``). Millions of rows need
    not be read at once: ``answers``, ``photos`` and ``by_setting`` read one model at a time. Whatever reads a
    file raises CounterGroundError if it is damaged.
    """

    path: Path
    info: RunInfo
    predictions: _Predictions = _Predictions()  # a descriptor, no default

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Run):
            return NotImplemented
        return self is other or (self.info == other.info and self.predictions.equals(other.predictions))

    def __hash__(self) -> int:
        return hash((self.info.created, self.info.request))

    @property
    def rows(self) -> pl.LazyFrame:
        """The predictions, perhaps not yet read."""
        rows: pl.LazyFrame = self.__dict__["given"].lazy()
        return rows

    @property
    def is_read(self) -> bool:
        """Whether the predictions are in memory."""
        return isinstance(self.__dict__["given"], pl.DataFrame)

    @cached_property
    def answers(self) -> dict[tuple[Any, ...], Answers]:
        """What each model got right and predicted under each setting (``metrics.KEYS``), photos by path."""
        with reading(self.path):
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
        with reading(self.path):
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
        if known and self.shows(DROP):
            return DROP
        found = self.design.find(str(contrast), self.photos, self.info.benchmark.columns)
        if not self.shows(found):
            raise UsageError(
                f"{self.path} holds composites of several kinds, which have no drop together; its contrasts: "
                f"{', '.join(each.name for each in self.design.contrasts)}."
            )
        return found

    def shows(self, contrast: Contrast) -> bool:
        """Whether a contrast is of photos of one kind: composites of several kinds have no drop together."""
        return contrast != DROP or self.info.intervention is None

    @cached_property
    def _estimates(self) -> pl.DataFrame:
        with reading(self.path):
            scores = score_predictions(self.rows, design=self.design)
        if self.shows(DROP):
            return scores
        mixed = (pl.col("metric") == DROP.name) | pl.col("level").is_in(GROUPS).fill_null(value=False)
        return scores.filter(~mixed)

    def estimates(self, contrast: str | Contrast | None = None) -> pl.DataFrame:
        """Return `metrics.score_predictions`: the scores over all classes and of each.

        Args:
            contrast: a further contrast, which the design need not have.

        Raises:
            UsageError: a contrast that `contrast` refuses.
        """
        if contrast is not None and contrast not in (DROP, *self.design.contrasts):
            contrast = self.contrast(contrast)
        if contrast is None or contrast in (DROP, *self.design.contrasts):
            return self._estimates
        with reading(self.path):
            rows = score_contrast(self.rows, contrast, design=self.design)
        return pl.concat([self._estimates, rows])

    def all_scores(self) -> pl.DataFrame:
        """Return the rows of ``scores.parquet``: of composites, what backgrounds cause, too."""
        if "swap" not in self.rows.collect_schema():
            return self._estimates
        effects, keys = self.effects(), (*KEYS, *ScoreKey._fields, "class_index")
        rest = self._estimates.join(effects, on=keys, how="anti", nulls_equal=True, maintain_order="left")
        return pl.concat([rest, effects])

    def scores(self, by: str | None = None, contrast: str | Contrast | None = None) -> pl.DataFrame:
        """Return scores (fractions, with 95 % intervals): the columns of ``metrics.SCORES_SCHEMA``.

        Args:
            by: None for those over all classes; ``class`` for those of each class; ``cell``, ``background``
                or an attribute of the photos for the accuracy on each of its values.
            contrast: only one contrast: its name, or an expression such as ``"place=water - place=land within
                class_name"``.

        Raises:
            UsageError: an unknown ``by`` or contrast, or a contrast by something other than class.
        """
        if by not in (None, "class"):
            if contrast is not None:
                raise UsageError(f"Contrasts are shown over all classes or by class: leave out by {by}.")
            return self.by(self.design.cells if by == "cell" else by, balanced=by != "cell")
        contrast = None if contrast is None else self.contrast(contrast)
        rows = self.estimates(contrast).filter(pl.col("class_index").is_null() == (by is None))
        if contrast is None:
            return rows
        picked_from = self.design.picked_from(contrast, self.photos)
        return correct_contrast(contrast.rows_of(rows), contrast, list(self.answers.values()), picked_from)

    def column(self, name: str) -> str:
        """Return what a column of the table of photos is called here."""
        return self.info.benchmark.columns.get(name, name)

    def by(self, columns: str | Sequence[str], *, balanced: bool = True) -> pl.DataFrame:
        """Return `metrics.score_by`.

        Raises:
            UsageError: no column, one that is named twice or unknown, or one with numbers.
        """
        columns = [columns] if isinstance(columns, str) else columns
        columns = [self.column(name) for name in columns]
        if not columns or len(set(columns)) < len(columns):
            raise UsageError("A breakdown is by one column or several, each named once.")
        check_columns(columns, self.photos, "a breakdown")
        with reading(self.path):
            return score_by(self.rows, columns, balanced=balanced, design=self.design)

    def effects(self, *, by_class: bool = True) -> pl.DataFrame:
        """Return `metrics.swap_effects`.

        Raises:
            UsageError: the run is not of composites.
        """
        with reading(self.path):
            chance = self.info.candidates.chance
            return swap_effects(self.rows, design=self.design, chance=chance, by_class=by_class)

    def compare(
        self,
        others: Run | Path | str | Sequence[Run | Path | str] = (),
        *,
        against: str | None = None,
        contrast: str | Contrast | None = None,
    ) -> Comparison:
        """Return `counterground.compare` of the models of this run, and of others."""
        listed = [others] if isinstance(others, Run | Path | str) else others
        found: Comparison = _api().compare([self, *listed], against=against, contrast=contrast)
        return found

    def report(self, path: Path | str, *, contrast: str | Contrast | None = None) -> Path:
        """Write `counterground.report` about this run and return its path."""
        written: Path = _api().report(self, path, contrast=contrast)
        return written

    def __repr__(self) -> str:
        """The table of scores, as on a terminal."""
        info = self.info
        photos = f"{counted(info.counts.photos, 'photo')}, {counted(len(info.models), 'model')}"
        return (
            f"Run {self.path}: {info.benchmark.name}, {photos}\n{plain_text(ScoresTable(self.estimates()))}"
        )

    def _repr_html_(self) -> str:
        return run_html(self.info, self.photos["class_index"].n_unique(), self.estimates())


def _api() -> Any:
    """Return the functions that are above this room."""
    return import_module("counterground.api")


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Say that a run is damaged if its files cannot be read."""
    try:
        yield
    except (ValueError, OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = str(error).splitlines()[0]
        if isinstance(error, ValidationError):
            reason = f"run.json: {first_problem(error)}"
        raise CounterGroundError(f"The run in {folder} is damaged ({reason}). {_AGAIN}") from error


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
    return Run(run.path, info, run.rows.filter(selected))


def class_names(runs: Sequence[Run]) -> dict[int, str]:
    """Return the names of the classes of runs, by class index.

    Raises:
        UsageError: the runs use one index for different classes.
    """
    named = pl.concat([run.photos.select("class_index", "class_name") for run in runs]).unique()
    if named["class_index"].is_duplicated().any():
        raise UsageError("These runs have different classes: show them one at a time by class.")
    return dict(named.iter_rows())


_NEEDED = ("path", "class_index", "class_name", "model", "correct")
_AGAIN = "Delete the folder and evaluate again; stored features make that quick."


def open_run(path: Path | str) -> Run:
    """Open a run by its folder, or by a table of predictions, whose metadata is the run's record.

    Whoever wrote a table without a record, it may be opened if it has the columns of ``PREDICTIONS_SCHEMA``;
    who chose its groups is then not known (``RunInfo.recorded``).

    Raises:
        UsageError: something that is not a path.
        CounterGroundError: there is no run, or an empty, changed or contradictory one.
    """
    if not isinstance(path, str | os.PathLike):
        raise UsageError(f"A run is given as its folder, not as {type(path).__name__}.")
    path = given_path(os.fspath(path))
    # The working folder may change before all rows are read.
    file = (path if is_file(path) else path / "predictions.parquet").absolute()
    if path != file and not is_file(path) and not is_file(path / "run.json"):
        problem = "is not a run folder (run.json is missing)" if path.exists() else "does not exist"
        raise CounterGroundError(f"{path} {problem}. Make a run with `counterground evaluate`.")
    if file.suffix != ".parquet":
        raise UsageError(
            f"{path} is a file of a run: give {path.parent}, or a table of predictions (.parquet)."
        )
    with reading(path):
        rows = scan_parquet(file)
        _check_columns(path, rows.collect_schema())
        if not is_file(path):
            record: str | None = read_text(path / "run.json")
        else:
            record = pl.read_parquet_metadata(file).get(RECORD)
        info = _unrecorded(file, rows) if record is None else RunInfo.model_validate_json(record)
        _check_rows(path, info, rows)
    return Run(path, info, rows)


def _check_columns(path: Path, types: pl.Schema) -> None:
    if lacking := [name for name in PREDICTIONS_SCHEMA if name not in types]:
        raise CounterGroundError(
            f"{path} is not a table of predictions of this version: it lacks {', '.join(lacking)}. Evaluate "
            "again: stored features make that quick."
        )
    for name, kind in PREDICTIONS_SCHEMA.items():
        if types[name] != kind:
            raise ValueError(f"predictions.parquet: the column {name} holds {types[name]}, not {kind}")


def _unrecorded(file: Path, rows: pl.LazyFrame) -> RunInfo:
    """Return the record of a table of predictions that has none."""
    photos = rows.select("path", "photo_id").unique().sort("path").collect()
    known = rows.select("model", "names", "prompts", "label_space").unique().sort("model").collect()
    highest = rows.select(pl.max_horizontal(pl.max("true_index", "predicted_index"))).collect().item()
    names, prompts, space = (
        str(known[name].drop_nulls().first()) for name in ("names", "prompts", "label_space")
    )
    return RunInfo(
        benchmark=BenchmarkRecord(
            name=file.stem,
            version=sha256(photos.write_csv().encode()).hexdigest(),
            n_photos=len(photos),
            notes=[],
        ),
        candidates=CandidatesRecord(name=space, size=int(highest or 0) + 1, source="the predictions"),
        names=names,
        prompts=prompts,
        models=[
            ModelRecord(name=model, spec=model, kind="unknown", fingerprint="", description={})
            for model in known["model"].drop_nulls().unique(maintain_order=True)
        ],
        counts=CountsRecord(photos=len(photos), unreadable=0, converted_to_rgb=0, ties={}),
        recorded=False,
    )


def _check_rows(path: Path, info: RunInfo, rows: pl.LazyFrame) -> None:
    """Refuse predictions that contradict the record, or hold values that no model gives.

    Raises:
        CounterGroundError: there are no rows.
        ValueError: what is wrong.
    """
    name = "predictions.parquet"
    wrong = {
        **{f"{column} is null": pl.col(column).is_null() for column in _NEEDED},
        "group is neither common nor counter": ~pl.col("group").is_in(["common", "counter"]),
    }
    problems = rows.select(condition.any().alias(what) for what, condition in wrong.items()).collect()
    for what in wrong:
        if problems[what][0]:
            raise ValueError(f"{name}: {what}")
    sizes = rows.group_by(KEYS).agg(rows=pl.len(), photos=pl.col("path").n_unique()).collect()
    if sizes.is_empty():
        raise CounterGroundError(f"The run in {path} is empty ({name} has no rows). {_AGAIN}")
    if unknown := sorted(set(sizes["model"]) - {model.name for model in info.models}):
        raise ValueError(f"{path / 'run.json'} lacks {', '.join(unknown)}, which {name} holds")
    expected = info.counts.photos - info.counts.unreadable
    for model, count, photos in sizes.select("model", "rows", "photos").iter_rows():
        if photos != count:
            raise ValueError(f"{name}: a photo of {model} occurs twice")
        if count != expected and info.recorded:
            raise ValueError(f"{name}: {model} has {count} rows, and run.json counts {expected} photos")


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
