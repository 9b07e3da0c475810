"""Time and memory for ten million prediction rows: making scores, ``scores``, ``compare``, ``report``.

python bench/large_run.py [MODELS [PHOTOS]]    # by default 43 models x 232,658 photos; 500 MB of disk
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

from _pairs import alone, process, publish
from _runs import make_photos, write_made_run

SCORE = """
import sys
import polars as pl
from counterground.metrics import score_predictions
folder = sys.argv[1]
score_predictions(pl.scan_parquet(folder + "/predictions.parquet")).write_parquet(folder + "/scores.parquet")
"""


def main() -> None:
    models = int(sys.argv[1]) if len(sys.argv) > 1 else 43
    photos = make_photos((int(sys.argv[2]) if len(sys.argv) > 2 else 232_658) / 13_100)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        write_made_run(run, photos, models)
        rows = f"{models * photos.height / 1e6:.1f} million rows ({models} models x {photos.height:,} photos)"
        counterground = [sys.executable, "-m", "counterground"]
        commands = {
            "scores made of the predictions": [sys.executable, "-c", SCORE, str(run)],
            "scores RUN": [*counterground, "scores", str(run)],
            "compare RUN": [*counterground, "compare", str(run)],
            "report RUN --no-photos": [
                *counterground,
                *("report", str(run), "--no-photos", "-o", str(run / "report.html")),
            ],
        }
        for work, command in commands.items():
            publish(
                alone(
                    f"{work}, {rows}",
                    partial(process, command, cold=False),
                    wanted="60 s, 4 GB",
                    clock="whole processes",
                )
            )


if __name__ == "__main__":
    main()
