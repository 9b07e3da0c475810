"""All mitigations, on models that were trained on ``stamps`` to rely on the background.

python bench/mitigate.py --out DIR                                   # the shipped stamps-biased
python bench/mitigate.py --out DIR stamps-balanced 25 50 stamps-biased    # a table over doses

A model is a shipped one, or a folder that ``python -m counterground.paper.training stamps-biased --dose D
--out FOLDER`` wrote; name it by its dose. Common is the background planted on a photo's class, counter
every other one, so nothing was selected on these photos. A run that is already in DIR is read, not
repeated. With several models, times are not measured.
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
from counterground.metrics import Estimate
from counterground.results import HALF, MitigationRecord, read_mitigation

SHIPPED = {"stamps-balanced": "17", "stamps-biased": "95"}
"""Doses in percent; the six backgrounds of a balanced caption are equally likely."""


def folder_of(model: str) -> Path:
    """Return the folder of a model: of a shipped one, or as named."""
    return Path(str(files("counterground"))) / "models" / "data" / model if model in SHIPPED else Path(model)


def planted_benchmark(model: str) -> cg.Benchmark:
    """Return ``stamps`` with the planted background of each class as common, all others as counter."""
    stamps = cg.open_benchmark("stamps", show_progress=True)
    planted = json.loads((folder_of(model) / "planted.json").read_text())
    own = pl.col("background") == pl.col("class_name").replace_strict(planted)
    group = pl.when(own).then(pl.lit("common")).otherwise(pl.lit("counter"))
    return replace(stamps, photos=stamps.photos.with_columns(group=group), name="stamps, planted pairs")


def mend(
    model: str, out: Path, methods: list[str], *, timed: bool, **options: int | None
) -> MitigationRecord:
    """Run the methods and return their record; ``timed``: after a run of two methods stored all features."""
    spec = f"counterground:{model}" if model in SHIPPED else f"open_clip:{model}"
    benchmark = planted_benchmark(model)
    options |= {"label_space": "benchmark", "overwrite": True}
    if timed:
        cg.mitigate(benchmark, spec, ["image-projection", "foreground"], out=out / "first", **options)
    wall, processor = time.perf_counter(), time.process_time()
    record = cg.mitigate(benchmark, spec, methods, out=out / "all", **options).record
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    Console(width=170).print(record)
    print("\n".join([*record.sentences, *record.notes]))
    for name, reason in record.left_out.items():
        print(f"left out: {name}: {reason}")
    for each in record.methods:
        print(f"{each.name}: {each.tried} settings, {each.cpu_seconds:.1f} s, chosen {each.settings}")
    if timed:
        print(f"{wall:.0f} s, {processor:.0f} s of processor time, {os.cpu_count()} cores")
    return record


def dose_table(records: dict[str, MitigationRecord]) -> str:
    """Return gain and cost of each method at each dose; bold: half the drop gone, at most 1 point lost."""
    drops = [_shown(record.unmitigated.drop) for record in records.values()]
    lines = [
        f"| dose, % | {' | '.join(records)} |",
        "|---" * (1 + len(records)) + "|",
        f"| (the drop) | {' | '.join(drops)} |",
    ]
    for name in [each.name for each in next(iter(records.values())).methods]:
        cells = []
        for record in records.values():
            found = next(each for each in record.methods if each.name == name)
            gain, cost = found.gain.value or 0.0, found.cost.value or 0.0
            mark = "**" * (found.before > 0 and gain >= HALF * found.before and cost <= 0.01)
            cells.append(f"{mark}{_shown(found.gain)}<br>{_shown(found.cost)}{mark}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _shown(figure: Estimate) -> str:
    return f"{figure.text} {figure.interval}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=["stamps-biased"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--method", nargs="*", default=["all"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="so many photos only")
    given = parser.parse_args()
    options = {"seed": given.seed, "limit": given.limit, "timed": len(given.models) == 1}
    records = {}
    for model in given.models:
        name = Path(model).name
        out = given.out / name
        made = (out / "all" / "mitigation.json").is_file()
        records[SHIPPED.get(name, name)] = (
            read_mitigation(out / "all") if made else mend(model, out, given.method, **options)
        )
    if len(records) > 1:
        print(dose_table(records))


if __name__ == "__main__":
    main()
