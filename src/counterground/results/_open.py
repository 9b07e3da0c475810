"""Opening of runs: a folder, or a table of predictions that carries its record."""

from __future__ import annotations

import os
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import polars as pl

from counterground.errors import CounterGroundError, UsageError
from counterground.files import given_path, is_file, read_text, scan_parquet
from counterground.metrics import KEYS
from counterground.results._run import OpenedFile, Run, reading
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
        raise CounterGroundError(
            f"{path} is not a run folder (run.json is missing). Make one with `counterground evaluate`."
        )
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
    return Run(path, info, OpenedFile(file, rows))


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
