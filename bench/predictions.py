"""Time and memory of ``evaluate --predictions`` and of what reads its run, in whole processes.

python bench/predictions.py [MODELS PHOTOS]    # by default 43 models x 232,658 photos, from Parquet and CSV
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from _pairs import alone, process, publish
from _runs import make_photos


def write_tables(folder: Path, photos: pl.DataFrame, models: int, suffix: str) -> tuple[Path, Path]:
    """Write what is true, and predictions that are right in four of five photos; return both files."""
    random = np.random.default_rng(0)
    truth = photos.select("path", "class_name", "background", "group", "cluster")
    names = truth["class_name"].unique(maintain_order=True)
    tables = []
    for model in range(models):
        wrong = names.sample(photos.height, with_replacement=True, seed=model)
        right = pl.Series(random.random(photos.height) < 0.8)
        tables.append(
            truth.select(
                "path",
                pl.lit(f"model-{model}").alias("model"),
                pl.when(right).then("class_name").otherwise(wrong).alias("prediction"),
                pl.Series("confidence", random.random(photos.height).round(4)),
            )
        )
    given = pl.concat(tables)
    file, data = folder / f"given.{suffix}", folder / "data.csv"
    truth.write_csv(data)
    given.write_csv(file) if suffix == "csv" else given.write_parquet(file)
    return data, file


def measure(models: int, photos: int, suffix: str) -> None:
    counterground = [sys.executable, "-m", "counterground"]
    with tempfile.TemporaryDirectory() as folder:
        data, file = write_tables(Path(folder), make_photos(photos / 13_100), models, suffix)
        run, size = str(Path(folder) / "run"), f"{models * photos / 1e6:.2f} million, {suffix}"
        given = [
            "evaluate",
            str(data),
            "--predictions",
            str(file),
            "-X",
            "report=no",
            "--overwrite",
            "-o",
            run,
        ]
        commands = {"evaluate --predictions": (given, "3 s" if models == 1 else "15 s, 1.5 GB")}
        if models == 1:
            commands |= {each: ([each, run], "0.6 s") for each in ("scores", "compare")}
            commands |= {"check": (["check", run, "--max-drop", "50%"], "0.6 s")}
        for name, (words, wanted) in commands.items():
            work = partial(process, [*counterground, *words], cold=False)
            publish(alone(f"{name}, {size}", work, runs=3, wanted=wanted, clock="whole processes"))


def main() -> None:
    models, photos = (int(text) for text in (sys.argv[1:3] if len(sys.argv) > 2 else (43, 232_658)))
    measure(1, 20_000, "csv")
    for suffix in ("parquet", "csv"):
        measure(models, photos, suffix)


if __name__ == "__main__":
    main()
