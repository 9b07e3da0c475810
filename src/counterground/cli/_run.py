"""``counterground evaluate``, ``discover``, ``swap`` and ``mitigate``: what runs models."""

from __future__ import annotations

from pathlib import Path

import click

from counterground.cli.help import Command
from counterground.cli.options import format_option, model_option, out_option, settings_option
from counterground.settings import DiscoverSettings, EvaluateSettings, MitigateSettings, SwapSettings

_MODELS = "Model to evaluate; repeatable. 'NAME=MODEL' sets its name in tables and charts."


@click.command(
    cls=Command,
    examples="""
        counterground evaluate stamps -m efficientnet-lite0 -o runs/first
        counterground evaluate my-photos -m efficientnet-lite0 --limit 20 -o trial
        counterground evaluate my-photos -m open_clip:ViT-B-32/laion2b_s34b_b79k \\
          -m hf:google/siglip2-base-patch16-224 -o runs/both
        counterground evaluate my-photos -m hf:llava-hf/llava-1.5-7b-hf \\
          --label-space benchmark -X precision=bf16 -o runs/llava
        counterground evaluate my-photos -m 'efficientnet-lite0?head=prototypes' \\
          --label-space benchmark -o runs/fitted
    """,
)
@click.argument("data")
@model_option("models", _MODELS, required=True, multiple=True)
@out_option("Output folder for the run: run.json, predictions.parquet, scores.parquet, report.html.")
@settings_option(EvaluateSettings)
def evaluate(data: str, models: tuple[str, ...], out: Path, settings: EvaluateSettings) -> None:
    """Evaluate models on DATA and write a run, with a report, into a folder.

    DATA is a built-in benchmark, a folder of photos, a pool, a table of paths or URLs
    ('photos.csv?image=url&label=kind'), COCO annotations, a data set ('hf:NAME?split=test') or tar files on
    the web ('https://HOST/{00..09}.tar'); `counterground models` lists models. The same command resumes a
    run that was stopped. To add a model to a finished run, evaluate it into another folder: scores, compare
    and report take several runs.
    """
    from counterground.api import evaluate as run_evaluation
    from counterground.cli.show import show_run

    show_run(run_evaluation(data, models, out=out, settings=settings))
    _say_report(out, written=settings.report)


def _say_report(out: Path, *, written: bool) -> None:
    if written:
        click.echo(f"Report: {out / 'report.html'}")


@click.command(
    cls=Command,
    examples="""
        counterground discover stamps --referee efficientnet-lite0 -o pairs
        counterground discover my-pool --referee efficientnet-lite0 --split cross \\
          -o pairs
    """,
)
@click.argument("data")
@click.option(
    "--referee",
    "referees",
    required=True,
    multiple=True,
    metavar="MODEL",
    help="Model whose accuracy chooses the backgrounds; repeat to use the mean of several. 'NAME=MODEL' "
    "sets its name.",
)
@out_option("Output folder for the benchmark; photos are not copied.")
@settings_option(DiscoverSettings)
def discover(data: str, referees: tuple[str, ...], out: Path, settings: DiscoverSettings) -> None:
    """Find each class's best (common) and worst (counter) background for a referee model.

    Photos need backgrounds: folders <class>/<background>/, a column of the manifest, or the labels of a pool.
    With --split half, pairs are chosen on one half of the photos and the benchmark holds the other half.
    If their drop is no larger than chance explains, one line says so and no benchmark is written.
    """
    from counterground.api import discover as run_discovery
    from counterground.cli.show import show_discovery

    discovery = run_discovery(data, referees, out=out, settings=settings)
    show_discovery(discovery)
    if discovery.benchmark is not None:
        click.echo(f"Benchmark: {out}")


@click.command(
    cls=Command,
    examples="""
        counterground swap my-photos -m efficientnet-lite0 --masks my-masks \\
          --examples 8 -o runs/swap
        counterground swap my-photos -m efficientnet-lite0 --masks annotations.json \\
          --kinds original,same,other,grey -o runs/swap
    """,
)
@click.argument("data")
@model_option("models", _MODELS, required=True, multiple=True)
@out_option("Output folder for the run, as in evaluate.")
@settings_option(SwapSettings)
def swap(data: str, models: tuple[str, ...], out: Path, settings: SwapSettings) -> None:
    """Put the objects of DATA on other backgrounds and evaluate models on the composites.

    The same object on each background shows what the background causes. DATA needs masks of its objects
    and labels of its backgrounds; with groups (folders common-<background> and counter-<background>, or
    discover), the drop is decomposed. The run is like one of evaluate: scores, compare and report read it.
    """
    from counterground.api import swap as run_swap
    from counterground.cli.show import show_swap

    show_swap(run_swap(data, models, out=out, settings=settings))
    if settings.examples:
        click.echo(f"Examples: {out / 'examples.png'}")
    _say_report(out, written=settings.report)


@click.command(
    cls=Command,
    examples="""
        counterground mitigate pairs -m counterground:stamps-biased \\
          --method text-projection --method roboshot -o runs/mitigated
        counterground mitigate pairs -m efficientnet-lite0 --method all \\
          --label-space benchmark -o runs/mitigated-lite
        counterground mitigate --list
    """,
)
@click.argument("data", required=False)
@model_option(
    "model", "Model to mitigate: a dual encoder (CLIP) or a classifier. 'NAME=MODEL' sets its name."
)
@click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="METHOD",
    help="Method to try; repeatable. 'all': every method that this model and DATA allow.",
)
@click.option("--list", "listed", is_flag=True, help="List the methods and what each needs, then exit.")
@out_option(
    "Output folder for the run, mitigation.json, mitigation.csv and the mitigated heads.",
    required=False,
)
@settings_option(MitigateSettings)
@format_option(help_text="Output format; csv and json hold fractions.")
def mitigate(
    data: str | None,
    model: str | None,
    methods: tuple[str, ...],
    *,
    listed: bool,
    out: Path | None,
    style: str,
    settings: MitigateSettings,
) -> None:
    """Make a model rely less on the background, and measure what that costs.

    Works on stored features: no weight of the model is changed, only its head, or how features reach it. Each
    method is fitted on a third of the clusters (observers, background photographs), its setting is chosen on
    another third, and it is judged on the last. The thirds take turns, so every photo is judged once. The
    folder is a run like any other: scores, compare and report read it.
    """
    from counterground.api import mitigate as mitigate_model
    from counterground.cli.show import print_text, show_methods, show_mitigated

    if listed:
        show_methods()
        return
    for value, name in ((data, "DATA"), (model, "--model"), (out, "--out"), (methods, "--method")):
        if not value:
            raise click.UsageError(f"Missing {name}.")
    assert data is not None
    assert model is not None
    assert out is not None
    missing: list[str] = []
    mitigated = mitigate_model(data, model, methods, out=out, settings=settings, warn=missing.append)
    if style == "table":
        show_mitigated(mitigated, out)
    else:
        print_text(mitigated.record.write(style))
    for line in missing:
        click.echo(line, err=True)
