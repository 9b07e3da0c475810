"""A run: predictions and scores of some models on one benchmark, and how they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from pydantic import ValidationError

from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.metrics import SCORES_SCHEMA
from counterground.results._schema import PREDICTIONS_SCHEMA, RunInfo
from counterground.results._scores_table import run_html


@dataclass(frozen=True)
class Run:
    """Predictions and scores of some models on one benchmark, as kept in a folder."""

    path: Path
    info: RunInfo
    predictions: pl.DataFrame
    scores: pl.DataFrame

    def _repr_html_(self) -> str:
        return run_html(self.info, self.predictions["class_index"].n_unique(), self.scores)


def open_run(path: Path | str) -> Run:
    """Read a run folder.

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
        reason = str(error).splitlines()[0]
        raise CounterGroundError(
            f"The run in {folder} is damaged ({reason}). Delete the folder and evaluate again; "
            "stored features make that quick."
        ) from error
    if difference := _other_columns({"predictions.parquet": predictions, "scores.parquet": scores}):
        raise CounterGroundError(
            f"The run in {folder} was written by another version of CounterGround ({difference}). Evaluate "
            "again into a new folder; stored features make that quick."
        )
    if obstacle := _unusable(folder, info, predictions, scores):
        raise CounterGroundError(
            f"{obstacle} Delete the folder and evaluate again; stored features make that quick."
        )
    return Run(folder, info, predictions, scores)


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
        unknown = sorted(set(table["model"]) - {model.spec for model in info.models})
        if unknown:
            listed = ", ".join(unknown)
            return (
                f"The run in {folder} is damaged ({folder / 'run.json'} lacks {listed}, which {name} holds)."
            )
    return ""


def select_models(runs: Mapping[Path, Run], specs: Sequence[str]) -> dict[Path, Run]:
    """Return the runs with these models only; a run that has none of them is left out.

    Raises:
        UsageError: no run has one of the models.
    """
    known = list(dict.fromkeys(model.spec for run in runs.values() for model in run.info.models))
    for spec in specs:
        if spec not in known:
            raise UsageError(
                f"No run has the model {spec!r}; there are {', '.join(known)}.{did_you_mean(spec, known)}"
            )
    chosen = {folder: _with_models(run, specs) for folder, run in runs.items()}
    return {folder: run for folder, run in chosen.items() if run.info.models}


def _with_models(run: Run, specs: Sequence[str]) -> Run:
    selected = pl.col("model").is_in(specs)
    info = run.info.with_models(specs)
    return Run(run.path, info, run.predictions.filter(selected), run.scores.filter(selected))


def join_scores(runs: Sequence[Run], *, named: bool) -> pl.DataFrame:
    """Return the scores of several runs; ``named`` puts a column ``run`` with the folder of each in front."""
    frames = [run.scores for run in runs]
    if named:
        frames = [
            frame.select(pl.lit(str(run.path)).alias("run"), pl.all())
            for run, frame in zip(runs, frames, strict=True)
        ]
    return pl.concat(frames)
