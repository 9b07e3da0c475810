"""All mitigations of a planted model on ``stamps``: ``python bench/mitigate.py --out DIR``.

Common is the background that was planted on the class of a photo, counter every other one, so that nothing
was selected on these photos. The first pass stores the features, and is not timed.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import polars as pl
from rich.console import Console

import counterground as cg

MODEL = "counterground:stamps-biased"


def planted_benchmark(dose: str = "stamps-biased") -> cg.Benchmark:
    """Return ``stamps`` with the planted background of each class as common, all others as counter."""
    stamps = cg.open_benchmark("stamps", show_progress=True)
    planted = json.loads((files("counterground") / "models" / "data" / dose / "planted.json").read_text())
    own = pl.col("background") == pl.col("class_name").replace_strict(planted)
    group = pl.when(own).then(pl.lit("common")).otherwise(pl.lit("counter"))
    return replace(stamps, photos=stamps.photos.with_columns(group=group), name="stamps, planted pairs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--method", nargs="*", default=["all"])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    benchmark, options = planted_benchmark(), {"label_space": "benchmark", "seed": given.seed}
    cg.mitigate(
        benchmark,
        given.model,
        "image-projection",
        out=given.out / "first",
        overwrite=True,
        figure=False,
        **options,
    )
    wall, processor = time.perf_counter(), time.process_time()
    found = cg.mitigate(
        benchmark, given.model, given.method, out=given.out / "all", overwrite=True, **options
    )
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    Console(width=170).print(found.record)
    print("\n".join([*found.record.sentences, *found.record.notes]))
    for name, reason in found.record.left_out.items():
        print(f"left out: {name}: {reason}")
    for each in found.record.methods:
        print(f"{each.name}: {each.tried} settings, {each.cpu_seconds:.1f} s, chosen {each.settings}")
    print(f"{wall:.0f} s, {processor:.0f} s of processor time, {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
