"""A run: predictions and scores of some models on one benchmark, and how they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from pydantic import ValidationError

from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.metrics import SCORES_SCHEMA, Confidence, score_backgrounds, score_predictions
from counterground.results._schema import PREDICTIONS_SCHEMA, RunInfo
from counterground.results._scores_table import ScoresView, run_html
from counterground.results.tables import plain_text
from counterground.text import counted

_FIRST_SCORES = [
    name for name in SCORES_SCHEMA if name not in {"anytime", "p_value", "classes_low", "classes_high"}
]
"""Columns of ``scores.parquet`` of version 0.1, which lacks what was added since."""


@dataclass(frozen=True)
class Run:
    """Predictions and scores of some models on one benchmark, as kept in a folder."""

    path: Path
    info: RunInfo
    predictions: pl.DataFrame
    scores: pl.DataFrame

    @property
    def could_stop(self) -> bool:
        """Whether it could stop early, so that its intervals must hold at every look."""
        return self.info.stopping is not None

    def by_background(self) -> pl.DataFrame:
        """Return `metrics.score_backgrounds`, with the kind of interval that the run needs."""
        return score_backgrounds(self.predictions, confidence=Confidence(anytime=self.could_stop))

    def __repr__(self) -> str:
        """The table of scores, as on a terminal."""
        info = self.info
        photos = f"{counted(info.counts.photos, 'photo')}, {counted(len(info.models), 'model')}"
        return f"Run {self.path}: {info.benchmark.name}, {photos}\n{plain_text(ScoresView(self.scores))}"

    def _repr_html_(self) -> str:
        return run_html(self.info, self.predictions["class_index"].n_unique(), self.scores)


def open_run(path: Path | str) -> Run:
    """Read a run folder; scores that lack what was added since are made again from the predictions.

    Raises:
        CounterGroundError: the folder holds no run, an empty or a damaged one.
    """
    folder = Path(path)
    if folder.is_file():
        raise UsageError(f"{folder} is a file; a run is a folder: give {folder.parent}.")
    if not (folder / "run.json").is_file():
        raise CounterGroundError(
            f"{folder} is not a run folder (run.json is missing). Make one with `counterground evaluate`."
        )
    try:
        info = RunInfo.model_validate_json((folder / "run.json").read_bytes())
        predictions = pl.read_parquet(folder / "predictions.parquet")
        scores = pl.read_parquet(folder / "scores.parquet")
    except (ValidationError, OSError, pl.exceptions.PolarsError) as error:
        raise CounterGroundError(
            f"The run in {folder} is damaged ({_reason(error)}). Delete the folder and evaluate again; "
            "stored features make that quick."
        ) from error
    if scores.columns == _FIRST_SCORES and predictions.columns == list(PREDICTIONS_SCHEMA):
        scores = score_predictions(predictions)
    if difference := _other_columns({"predictions.parquet": predictions, "scores.parquet": scores}):
        raise CounterGroundError(
            f"The run in {folder} was written by another version of CounterGround "
            f"({info.counterground_version}: {difference}). Evaluate again into a new folder, or with "
            "--overwrite into this one; stored features make that quick."
        )
    if obstacle := _unusable(folder, info, predictions, scores):
        raise CounterGroundError(
            f"{obstacle} Delete the folder and evaluate again; stored features make that quick."
        )
    return Run(folder, info, predictions, scores)


def _reason(error: Exception) -> str:
    """Return in a few words what is wrong with a file of a run."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return ": ".join(["run.json", ".".join(map(str, first["loc"])), first["msg"]]).replace(": : ", ": ")
    return str(error).splitlines()[0]


def _other_columns(tables: Mapping[str, pl.DataFrame]) -> str:
    """Name the first table whose columns are not those of this version, and how they differ."""
    schemas = {"predictions.parquet": PREDICTIONS_SCHEMA, "scores.parquet": SCORES_SCHEMA}
    for name, table in tables.items():
        lacking = [column for column in schemas[name] if column not in table.columns]
        if lacking:
            return f"{name} lacks {', '.join(lacking)}"
        if table.columns != list(schemas[name]):
            return f"{name} has other columns"
    return ""


def _unusable(folder: Path, info: RunInfo, predictions: pl.DataFrame, scores: pl.DataFrame) -> str:
    """Say what a run's tables lack, or what its run.json lacks of them; empty where they agree."""
    tables = {"predictions.parquet": predictions, "scores.parquet": scores}
    for name, table in tables.items():
        if table.is_empty():
            return f"The run in {folder} is empty ({name} has no rows)."
        unknown = sorted(set(table["model"]) - {model.name for model in info.models})
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
    """Return the names of the models of runs that have this name, else of those of this specification.

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


def _with_models(run: Run, names: Sequence[str]) -> Run:
    selected = pl.col("model").is_in(names)
    info = run.info.with_models(names)
    return Run(run.path, info, run.predictions.filter(selected), run.scores.filter(selected))


def class_names(runs: Sequence[Run]) -> dict[int, str]:
    """Return the names of the classes of runs, by class index.

    Raises:
        UsageError: the runs number different classes alike.
    """
    named = pl.concat([run.predictions.select("class_index", "class_name") for run in runs]).unique()
    if named["class_index"].is_duplicated().any():
        raise UsageError("These runs have different classes: show them one at a time by class.")
    return dict(named.iter_rows())


def join_scores(runs: Sequence[Run], *, named: bool) -> pl.DataFrame:
    """Return the scores of several runs; ``named`` puts a column ``run`` with the folder of each in front."""
    frames = [run.scores for run in runs]
    if named:
        frames = [
            frame.select(pl.lit(str(run.path)).alias("run"), pl.all())
            for run, frame in zip(runs, frames, strict=True)
        ]
    return pl.concat(frames)
