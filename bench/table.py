"""All compared timings in one table: ``make bench``, or ``make bench ROWS="head rn50"`` for some.

A script in this folder measures each row, and also runs alone. The table is printed, and all measurements are
written to ``runs/bench.json``. ``BENCH_PAIRS`` in the environment sets the number of pairs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from _pairs import HEADER, machine

FOLDER = Path(__file__).parent
OUT = FOLDER.parent / "runs" / "bench.json"
# Name of the row(s) -> script and its arguments.
ROWS: dict[str, list[str]] = {
    "head": ["text_head.py"],
    **{name: ["evaluate.py", name] for name in ("lite", "rn50", "resnet50", "vitb32", "five", "small")},
    **{name: ["evaluate.py", name] for name in ("forward", "second")},
    "scores": ["scores.py"],
    "large": ["large_run.py"],
    "predictions": ["predictions.py"],
    "ray": ["ray_workers.py"],
}


def measured(name: str, into: Path) -> list[dict[str, str]]:
    """Run a script; return its rows, with ``markdown`` as printed."""
    print(f"== {name}", flush=True)
    into.unlink(missing_ok=True)
    command = [sys.executable, str(FOLDER / ROWS[name][0]), *ROWS[name][1:]]
    subprocess.run(command, env={**os.environ, "BENCH_JSON": str(into)}, check=True)
    return [json.loads(line) for line in into.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    names = sys.argv[1:] or list(ROWS)
    if unknown := [name for name in names if name not in ROWS]:
        sys.exit(f"No row is called {unknown[0]}. There are: {', '.join(ROWS)}.")
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for name in names for row in measured(name, Path(folder) / "rows.jsonl")]
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(f"\n{HEADER}")
    for row in rows:
        print(row["markdown"])
    print(f"\n{machine()}. All that was measured: {OUT.relative_to(FOLDER.parent)}")


if __name__ == "__main__":
    main()
