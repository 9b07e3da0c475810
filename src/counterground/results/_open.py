"""Opening of runs: a folder, or a table of predictions that carries its record."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from counterground.errors import CounterGroundError, UsageError
from counterground.files import given_path, is_file, read_text, scan_parquet
from counterground.metrics import KEYS
from counterground.results._run import OpenedFile, Run, reading
from counterground.results._schema import PREDICTIONS_SCHEMA, RUN_FILES, RunInfo

_NEEDED = ("path", "class_index", "class_name", "model", "correct")
_NOT_NEGATIVE = ("class_index", "true_index", "predicted_index", "true_rank", "top2_gap")
_FINITE = ("confidence", "top2_gap", "loss_sum", "loss_mean")
_AGAIN = "Delete the folder and evaluate again; stored features make that quick."


def open_run(path: Path | str) -> Run:
    """Open a run by its folder.

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
    with reading(folder):
        info = RunInfo.model_validate_json(read_text(folder / "run.json"))
        # The working folder may change before all rows are read.
        file = (folder / "predictions.parquet").absolute()
        rows = scan_parquet(file)
        opened = OpenedFile(file, rows)
        _check_rows(folder, info, rows)
    return Run(folder, info, opened)


def _check_rows(folder: Path, info: RunInfo, rows: pl.LazyFrame) -> None:
    """Refuse predictions that contradict the record, or hold values that no model gives.

    Raises:
        CounterGroundError: a column is missing, or there are no rows.
        ValueError: what is wrong.
    """
    name, types = "predictions.parquet", rows.collect_schema()
    if lacking := [column for column in PREDICTIONS_SCHEMA if column not in types]:
        raise CounterGroundError(
            f"The run in {folder} was written by another version of CounterGround "
            f"({info.counterground_version}: {name} lacks {', '.join(lacking)}). Evaluate again into a new "
            "folder, or with --overwrite into this one; stored features make that quick."
        )
    for column, kind in PREDICTIONS_SCHEMA.items():
        if types[column] != kind:
            raise ValueError(f"{name}: the column {column} holds {types[column]}, not {kind}")
    wrong = {
        **{f"{column} is null": pl.col(column).is_null() for column in _NEEDED},
        **{f"{column} is negative": pl.col(column) < 0 for column in _NOT_NEGATIVE},
        **{f"{column} is not finite": ~pl.col(column).is_finite() for column in _FINITE},
        "confidence is not from 0 to 1": ~pl.col("confidence").is_between(0, 1),
        "group is neither common nor counter": ~pl.col("group").is_in(["common", "counter"]),
    }
    problems = rows.select(condition.any().alias(what) for what, condition in wrong.items()).collect()
    for what in wrong:
        if problems[what][0]:
            raise ValueError(f"{name}: {what}")
    sizes = rows.group_by(KEYS).agg(rows=pl.len(), photos=pl.col("path").n_unique()).collect()
    if sizes.is_empty():
        raise CounterGroundError(f"The run in {folder} is empty ({name} has no rows). {_AGAIN}")
    if unknown := sorted(set(sizes["model"]) - {model.name for model in info.models}):
        raise ValueError(f"{folder / 'run.json'} lacks {', '.join(unknown)}, which {name} holds")
    expected = info.counts.photos - info.counts.unreadable
    for model, count, photos in sizes.select("model", "rows", "photos").iter_rows():
        if photos != count:
            raise ValueError(f"{name}: a photo of {model} occurs twice")
        if count != expected:
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
