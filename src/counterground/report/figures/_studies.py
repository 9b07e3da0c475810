"""What ``counterground study`` leaves in a folder, read as it stands there."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from counterground.errors import CounterGroundError
from counterground.report.figures._material import StudyResults

_TABLES: dict[str, dict[str, tuple[str, ...]]] = {
    "coloredcoco": {"results": ("model", "strength", "objective", "id", "ood", "id_low", "ood_high")},
    "multicoloredmnist": {"table8": ("k", "p_inv", "p_spu", "method", "rand_mean", "rev_std")},
    "theory": {"grid": ("mu_spu", "p_spu", "prompt", "error_misleads", "exact_error_misleads")},
}


def read_study(folder: Path) -> StudyResults:
    """Read the tables that figures are drawn from.

    Raises:
        CounterGroundError: the folder holds no study, an unfinished or a damaged one.
    """
    record = folder / "run.json"
    if not record.is_file():
        raise CounterGroundError(
            f"{folder} holds no finished study (run.json is missing): run `counterground study` with this "
            "folder as --out, again where it was stopped."
        )
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CounterGroundError(f"{record} is damaged: run the study again.") from error
    name = content.get("study") if isinstance(content, dict) else None
    if name not in _TABLES:
        raise CounterGroundError(
            f"{folder} holds no study that figures are drawn from ({', '.join(_TABLES)}). A run is named "
            "without --study."
        )
    frames = {stem: _read(folder / f"{stem}.parquet", columns) for stem, columns in _TABLES[name].items()}
    return StudyResults(name, folder, frames)


def _read(path: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise CounterGroundError(f"{path} is missing or damaged: run the study again.") from error
    lacking = [column for column in columns if column not in frame.columns]
    if lacking or frame.is_empty():
        what = f"has no column {lacking[0]!r}" if lacking else "is empty"
        raise CounterGroundError(f"{path} {what}: run the study again with this version.")
    return frame
