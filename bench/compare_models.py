"""``counterground compare RUN`` with 43 models, all pairs, against an earlier commit of this repository.

git worktree add /tmp/base b73423d
python bench/compare_models.py /tmp/base [MODELS]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from _pairs import paired, process, publish
from _runs import make_photos, write_made_run
from counterground.files import write_parquet
from counterground.metrics import score_predictions
from counterground.results import PREDICTIONS_SCHEMA

SOURCE = Path(__file__).parents[1] / "src"
# The run in the format of the earlier commit, which computes the scores itself.
EARLIER = """
import json, sys
from pathlib import Path
import polars as pl
from counterground.inference import _run as schema
from counterground.metrics import score_predictions

def known(model, record):
    return {name: value for name, value in record.items() if name in model.model_fields}

run, out = map(Path, sys.argv[1:])
out.mkdir()
rows = pl.read_parquet(run / "predictions.parquet").select(list(schema.PREDICTIONS_SCHEMA))
rows.write_parquet(out / "predictions.parquet")
score_predictions(rows, method="analytic").write_parquet(out / "scores.parquet")
info = known(schema.RunInfo, json.loads((run / "run.json").read_text()))
info["benchmark"] = known(schema.BenchmarkRecord, info["benchmark"])
info["label_space"] = known(schema.CandidatesRecord, info["label_space"])
info["counts"] = known(schema.CountsRecord, info["counts"])
info["models"] = [known(schema.ModelRecord, model) for model in info["models"]]
(out / "run.json").write_text(schema.RunInfo(**info).model_dump_json())
"""


def compare(source: Path, run: Path):
    """Return a function that runs the command of the sources in a folder."""
    command = [sys.executable, "-m", "counterground", "compare", str(run)]
    return partial(process, command, env={"PYTHONPATH": str(source)}, cold=False)


def main() -> None:
    import polars as pl

    base, models = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 43
    photos = make_photos()
    with tempfile.TemporaryDirectory() as folder:
        run, earlier = Path(folder) / "run", Path(folder) / "earlier"
        write_made_run(run, photos, models)
        rows = pl.read_parquet(run / "predictions.parquet", columns=list(PREDICTIONS_SCHEMA))
        write_parquet(run / "predictions.parquet", rows)
        write_parquet(run / "scores.parquet", score_predictions(rows))
        command = [sys.executable, "-c", EARLIER, str(run), str(earlier)]
        subprocess.run(command, env={**os.environ, "PYTHONPATH": str(base / "src")}, check=True)
        publish(
            paired(
                f"compare, {models} models x {photos.height:,} photos, all pairs, with ranks",
                compare(SOURCE, run),
                f"the same at {base.name}",
                compare(base / "src", earlier),
                wanted="10",
                clock="whole processes, from the run's files to the printed tables",
            )
        )


if __name__ == "__main__":
    main()
