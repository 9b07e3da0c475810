"""Check what could not be checked during development: with a network, real weights and a GPU.

    make real                                  # every step, into real/
    python scripts/real.py --only clip --only siglip2 --out real

Each step is one command. If one fails, the others go on, and running the same command later resumes what was
stopped. Only ``reproduce`` needs another step, whose run it reads: ``--only clip --only reproduce``. Results
are written to ``real/form.json`` and, for reading and sending, to ``real/form.md``. The form holds figures,
versions and the last lines of commands, no photos and no paths.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import polars as pl

from counterground.published import load_table

CLIP = "open_clip:ViT-B-32/laion400m_e31"
PACKAGES = ("counterground", "torch", "torchvision", "open_clip_torch", "timm", "transformers")
_LAST = 12
_COMMAND = [sys.executable, "-m", "counterground"]

Facts = dict[str, Any]


def nothing(_folder: Path) -> Facts:
    """Return no figures: what the command prints is enough."""
    return {}


@dataclass(frozen=True)
class Step:
    """One thing to check.

    Attributes:
        name: what ``--only`` calls it.
        title: what it checks.
        command: after ``counterground``; ``{out}`` is the folder of the form.
        expected: what a reader should compare the results with.
        read: reads figures from the folder once the command has succeeded.
        folder: relative to that of the form.
        hours: after how long it is stopped.
    """

    name: str
    title: str
    command: tuple[str, ...]
    expected: str
    read: Callable[[Path], Facts] = nothing
    folder: str = ""
    hours: float = 1.0


def scores_of(folder: Path) -> Facts:
    """Return accuracies and drops of a run in percent with intervals, and its warnings and device."""
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    scores = pl.read_parquet(folder / "scores.parquet").filter(pl.col("class_index").is_null())
    named = {("accuracy", "common"): "common", ("accuracy", "counter"): "counter", ("drop", None): "drop"}
    figures = [
        {"model": row["model"], "figure": named[row["metric"], row["level"]], "n": row["n"]}
        | {end: None if row[end] is None else round(100 * row[end], 2) for end in ("value", "low", "high")}
        for row in scores.iter_rows(named=True)
        if (row["metric"], row["level"]) in named
    ]
    return {"figures": figures, "warnings": run.get("warnings", []), "device": run.get("device")}


def beside_the_paper(folder: Path) -> Facts:
    """Return the figures of the paper's referee, measured and printed."""
    printed = load_table("clip_results").filter(
        table="Table 3", backbone="ViT/B/32", pretrain_dataset="LAION400M"
    )
    return scores_of(folder) | {"printed": printed.select("common", "counter", "drop").row(0, named=True)}


def collected(folder: Path) -> Facts:
    """Return how many photos a pool holds, by class and licence."""
    photos = pl.read_parquet(folder / "photos.parquet")
    columns = [name for name in ("class_name", "licence") if name in photos.columns]
    return {"photos": photos.height, "by": photos.group_by(columns).len().sort(columns).to_dicts()}


STEPS = (
    Step(
        "counteranimal",
        "The authors' archive is fetched, unpacked and compared with the paper",
        ("benchmarks", "get", "counteranimal"),
        "45 classes, 5,926 counter photos, and 7,174 common ones (7,408 if the prairie chicken has 259).",
    ),
    Step(
        "clip",
        "The paper's referee on CounterAnimal, as it was trained",
        ("evaluate", "counteranimal", "-m", CLIP, "--names", "wordnet", "--out", "{out}/clip"),
        "A reproduction of 2025 found 70.1 and 41.3; the paper prints 67.1 and 37.0.",
        beside_the_paper,
        "clip",
        hours=2,
    ),
    Step(
        "as-published",
        "The same as the paper seems to have loaded it",
        (
            "evaluate",
            "counteranimal",
            "-m",
            f"{CLIP}?as_published",
            "--names",
            "wordnet",
            "--out",
            "{out}/as-published",
        ),
        "67.1 and 37.0, if the paper ran it without QuickGELU.",
        beside_the_paper,
        "as-published",
        hours=2,
    ),
    Step(
        "reproduce",
        "Printed and measured values, row by row",
        ("paper", "reproduce", "{out}/clip"),
        "One row, with the differences from the paper and from the reproduction.",
    ),
    Step(
        "siglip2",
        "SigLIP 2 by transformers",
        ("evaluate", "counteranimal", "-m", "hf:google/siglip2-base-patch16-224", "--out", "{out}/siglip2"),
        "Accuracy on common photos well above that of the referee; a drop above 0.",
        scores_of,
        "siglip2",
        hours=2,
    ),
    Step(
        "llava",
        "LLaVA-1.5 answers 400 photos among 20 confusable names",
        (
            *(
                "evaluate",
                "counteranimal",
                "-m",
                "hf:llava-hf/llava-1.5-7b-hf",
                "--label-space",
                "confusable",
            ),
            *("--referee", CLIP, "--limit", "400", "--precision", "bf16", "--out", "{out}/llava"),
        ),
        "A drop above 0; needs about 16 GB on the GPU.",
        scores_of,
        "llava",
        hours=4,
    ),
    Step(
        "inaturalist",
        "Ten photos of one class from iNaturalist",
        ("data", "collect", "{out}/pool", "-c", "ostrich", "--per-class", "10"),
        "Ten photos with licence and credit.",
        collected,
        "pool",
    ),
)


def about_the_machine() -> Facts:
    """Return what figures depend on: versions, processor, GPU."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    import torch  # noqa: PLC0415  not before the options are read

    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "python": platform.python_version(),
        "gpus": gpus,
        "versions": versions,
    }


def without_paths(text: str, out: Path) -> str:
    """Replace this machine's folders, and remove terminal control sequences."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n")
    for folder, shown in ((out.resolve(), "OUT"), (Path.cwd(), "."), (Path.home(), "~")):
        text = text.replace(str(folder), shown)
    return text


def take(step: Step, out: Path) -> Facts:
    """Run one step and return the results."""
    words = [word.format(out=out) for word in step.command]
    shown = without_paths(" ".join(["counterground", *words]), out)
    print(f"=== {step.name}: {step.title}\n$ {shown}", flush=True)
    seen: Facts = {"name": step.name, "title": step.title, "command": shown, "expected": step.expected}
    began = time.monotonic()
    try:
        done = subprocess.run(  # noqa: S603
            [*_COMMAND, *words], capture_output=True, text=True, timeout=3600 * step.hours, check=False
        )
        status, said = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired:
        status, said = None, f"Stopped after {step.hours} hours; the same command continues."
    lines = [line.rstrip() for line in without_paths(said, out).splitlines() if line.strip()]
    seen |= {"seconds": round(time.monotonic() - began, 1), "status": status, "last_lines": lines[-_LAST:]}
    if status == 0:
        try:
            seen |= step.read(out / step.folder)
        except (OSError, KeyError, pl.exceptions.PolarsError) as error:
            seen["unread"] = f"{type(error).__name__}: {without_paths(str(error), out)}"
    print(
        f"{'done' if status == 0 else 'FAILED'} after {seen['seconds']} s: {(lines or ['-'])[-1]}\n",
        flush=True,
    )
    return seen


def as_page(form: Facts) -> str:
    """Return the form as Markdown."""
    machine = form["machine"]
    versions = ", ".join(
        f"{name} {version or 'not installed'}" for name, version in machine["versions"].items()
    )
    lines = [
        "# What `make real` saw\n",
        f"{machine['date']}; {machine['system']}; Python {machine['python']}; {versions}",
        f"GPU: {', '.join(machine['gpus']) or 'none'}\n",
        "| step | status | seconds |",
        "|---|---|---:|",
        *(f"| {seen['name']} | {_status(seen)} | {seen['seconds']} |" for seen in form["steps"]),
    ]
    for seen in form["steps"]:
        lines += ["", f"## {seen['title']}\n", f"    {seen['command']}\n", f"Expected: {seen['expected']}\n"]
        for figure in seen.get("figures", ()):
            lines.append(
                f"- {figure['model']}: {figure['figure']} {figure['value']} "
                f"[{figure['low']}, {figure['high']}], {figure['n']} photos"
            )
        for name in ("printed", "photos", "by", "warnings", "unread"):
            if seen.get(name):
                lines.append(f"- {name}: {seen[name]}")
        lines += ["", "```text", *seen["last_lines"], "```"]
    return "\n".join(lines) + "\n"


def _status(seen: Facts) -> str:
    return (
        "done"
        if seen["status"] == 0
        else "stopped"
        if seen["status"] is None
        else f"failed ({seen['status']})"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the steps, write the form after each, and return 1 if one failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("real"), help="folder of the form and the runs")
    parser.add_argument(
        "--only", action="append", choices=[step.name for step in STEPS], help="take this step; repeatable"
    )
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    form: Facts = {"machine": about_the_machine(), "steps": []}
    earlier = options.out / "form.json"
    kept = (
        {seen["name"]: seen for seen in json.loads(earlier.read_text())["steps"]} if earlier.exists() else {}
    )
    for step in STEPS:
        if options.only and step.name not in options.only:
            continue
        kept[step.name] = take(step, options.out)
        form["steps"] = [kept[each.name] for each in STEPS if each.name in kept]
        earlier.write_text(json.dumps(form, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (options.out / "form.md").write_text(as_page(form), encoding="utf-8")
    print(f"The form is {options.out / 'form.md'}. Read it, then send it (.github/ISSUE_TEMPLATE/real.yml).")
    return int(any(seen["status"] != 0 for seen in form["steps"]))


if __name__ == "__main__":
    sys.exit(main())
