"""``counterground evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from counterground.cli._options import generative_options, model_options, out_option


@click.command()
@click.argument("benchmark")
@click.option(
    "-m", "--model", "model_specs", required=True, multiple=True, metavar="MODEL", help="Repeat for several."
)
@model_options
@generative_options
@click.option("--referee", metavar="MODEL", help="The model that chooses the confusable names.")
@out_option("Folder of the run: run.json, predictions.parquet, scores.parquet, report.html.")
def evaluate(benchmark: str, model_specs: tuple[str, ...], out: Path, **settings: Any) -> None:
    """Evaluate models on BENCHMARK: a built-in name, a folder of photos, or a .parquet manifest.

    \b
    counterground evaluate stamps -m efficientnet-lite0 --out runs/first
    counterground evaluate my-photos -m hf:llava-hf/llava-1.5-7b-hf --precision bf16 --out runs/llava
    counterground evaluate my-photos -m open_clip:ViT-B-32/laion2b_s34b_b79k --out runs/mine
    """
    from counterground.api import evaluate as run_evaluation
    from counterground.cli._show import show_run
    from counterground.construction.discover import read_discovery
    from counterground.errors import MissingExtraError
    from counterground.report import write_report

    run = run_evaluation(benchmark, model_specs, out=out, show_progress=True, **settings)
    # Photos are put into a page only by `counterground report`, where one can say whether they may be.
    path = out / "report.html"
    discovery = read_discovery(Path(benchmark))
    try:
        write_report([run], path, discovery=discovery, photos=False)
    except MissingExtraError as error:
        show_run(run)
        click.echo(f"{path} was not written: {error} Then: counterground report {out} --out {path}", err=True)
        return
    show_run(run)
    click.echo(f"Report: {path}")
