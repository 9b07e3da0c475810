"""``counterground evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from counterground.cli._options import generative_options, model_options, out_option


@click.command()
@click.argument("benchmark")
@click.option(
    "-m",
    "--model",
    "model_specs",
    required=True,
    multiple=True,
    metavar="MODEL",
    help="Repeat for several; 'NAME=MODEL' gives a name for tables and charts.",
)
@model_options
@generative_options
@click.option("--referee", metavar="MODEL", help="The model that chooses the confusable names.")
@out_option("Folder of the run: run.json, predictions.parquet, scores.parquet, report.html.")
def evaluate(benchmark: str, model_specs: tuple[str, ...], out: Path, **settings: Any) -> None:
    """Evaluate models on BENCHMARK: a built-in name, a folder of photos, or a manifest.

    \b
    counterground evaluate stamps -m efficientnet-lite0 --out runs/first
    counterground evaluate my-photos -m hf:llava-hf/llava-1.5-7b-hf --precision bf16 --out runs/llava
    counterground evaluate my-photos -m open_clip:ViT-B-32/laion2b_s34b_b79k --out runs/mine
    """
    from counterground.api import evaluate as run_evaluation
    from counterground.cli._show import show_run

    missing: list[str] = []
    run = run_evaluation(benchmark, model_specs, out=out, show_progress=True, warn=missing.append, **settings)
    show_run(run)
    for line in missing:
        click.echo(line, err=True)
    if not missing:
        click.echo(f"Report: {out / 'report.html'}")
