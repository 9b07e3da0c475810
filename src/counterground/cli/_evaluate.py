"""``counterground evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from counterground.cli.help import Command, is_quiet
from counterground.cli.options import (
    cluster_options,
    generative_options,
    limit_option,
    model_option,
    out_option,
    overwrite_option,
    photos_option,
    running_options,
)


@click.command(
    cls=Command,
    examples="""
        counterground evaluate stamps -m efficientnet-lite0 -o runs/first
        counterground evaluate my-photos -m efficientnet-lite0 --limit 20 -o trial
        counterground evaluate my-photos -m open_clip:ViT-B-32/laion2b_s34b_b79k \\
          -m hf:google/siglip2-base-patch16-224 -o runs/both
        counterground evaluate my-photos -m hf:llava-hf/llava-1.5-7b-hf \\
          --label-space benchmark --precision bf16 -o runs/llava
        counterground evaluate my-photos -m 'efficientnet-lite0?head=prototypes' \\
          --label-space benchmark -o runs/fitted
    """,
)
@click.argument("benchmark")
@model_option(
    "model_specs",
    "Model to evaluate; repeatable. 'NAME=MODEL' sets its name in tables and charts.",
    required=True,
    multiple=True,
)
@out_option("Output folder for the run: run.json, predictions.parquet, scores.parquet, report.html.")
@overwrite_option("run")
@limit_option()
@click.option(
    "--train",
    metavar="BENCHMARK",
    help="Photos to fit heads ('MODEL?head=knn') on.  [default: other clusters of BENCHMARK]",
)
@running_options(referee=True)
@click.option("--referee", metavar="MODEL", help="Model that chooses the confusable names.")
@generative_options
@cluster_options
@photos_option("Include small copies of the photos in report.html.")
def evaluate(benchmark: str, model_specs: tuple[str, ...], out: Path, **settings: Any) -> None:
    """Evaluate models on BENCHMARK and write a run, with a report, into a folder.

    BENCHMARK is a built-in name, a folder of photos, a pool, a table of paths or URLs
    ('photos.csv?image=url&label=kind'), COCO annotations, a data set ('hf:NAME?split=test') or tar files on
    the web ('https://HOST/{00..09}.tar'); `counterground models` lists models. The same command resumes a
    run that was stopped. To add a model to a finished run, evaluate it into another folder: scores, compare
    and report take several runs.
    """
    from counterground.api import evaluate as run_evaluation
    from counterground.cli.show import show_run

    show_run(run_evaluation(benchmark, model_specs, out=out, show_progress=not is_quiet(), **settings))
    click.echo(f"Report: {out / 'report.html'}")
