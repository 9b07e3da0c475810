"""The folder of a run: whether it may be written, and its files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from counterground.errors import CounterGroundError
from counterground.files import (
    atomic_path,
    check_only,
    check_writable,
    scan_parquet,
    write_parquet,
    write_text,
)
from counterground.metrics import SCORES_METADATA
from counterground.photos import LABEL_SPACE_FILE, LabelSpace
from counterground.results._run import Run, open_run
from counterground.results._schema import RUN_FILES
from counterground.text import counted

LEFT_OUT = "left_out.csv"
_BESIDE = (
    LEFT_OUT,
    "answers.parquet",
    "report.html",
    "mitigation.*",
    "heads/*-all-photos.safetensors",
)


def check_free(out: Path, request_hash: str, *, overwrite: bool) -> None:
    """Refuse a folder that must not be written to, before any photo is read.

    Raises:
        UsageError: ``out`` holds files that are not a run.
        CounterGroundError: ``out`` holds a run of another request and ``overwrite`` is not set, or ``out``
            cannot be written.
    """
    if not all((out / name).exists() for name in ("run.json", "predictions.parquet")):
        check_only(out, RUN_FILES, "a run")  # a study has a run.json, too
    if (out / "run.json").exists() and not overwrite:
        info = open_run(out).info
        if info.request != request_hash:
            raise CounterGroundError(
                f"{out} holds another run ({info.benchmark.name}, {counted(len(info.models), 'model')}, "
                f"{info.created}). Choose another --out (scores, compare and report take several runs), or "
                "replace it with --overwrite."
            )
    check_writable(out)


def write_run(
    run: Run,
    space: LabelSpace,
    unreadable: pl.DataFrame,
    answers: pl.DataFrame | None = None,
    left_out: Sequence[pl.DataFrame | None] = (),
) -> Run:
    """Write the files of a run, each atomically, and return it; ``run.json`` is removed first, written last.

    Other files of an earlier run in the folder are removed. ``left_out`` are lists of rows of tables that do
    not count. Predictions that are not in memory are written in parts, and read back.
    """
    for pattern in ("run.json", *_BESIDE):  # the others are replaced
        for file in run.path.glob(pattern):
            file.unlink(missing_ok=True)
    file = run.path / "predictions.parquet"
    if run.is_read:
        write_parquet(file, run.predictions, run.info.as_metadata)
    else:
        with atomic_path(file) as draft:
            run.rows.sink_parquet(
                draft, compression="zstd", compression_level=1, metadata=run.info.as_metadata
            )
        run = Run(run.path, run.info, scan_parquet(file))
    write_parquet(run.path / "scores.parquet", run.all_scores(), SCORES_METADATA)
    if answers is not None:
        write_parquet(run.path / "answers.parquet", answers)
    lists = [rows for rows in left_out if rows is not None and len(rows)]
    if lists:
        write_text(run.path / LEFT_OUT, pl.concat(lists, how="diagonal_relaxed").write_csv())
    write_text(run.path / "unreadable.csv", unreadable.write_csv())
    space.save(run.path / LABEL_SPACE_FILE)
    write_text(run.path / "run.json", run.info.model_dump_json(indent=2))
    return run
