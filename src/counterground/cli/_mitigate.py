"""``counterground mitigate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from counterground.cli.help import Command, is_quiet
from counterground.cli.options import (
    format_option,
    limit_option,
    masks_options,
    model_option,
    out_option,
    overwrite_option,
    running_options,
)


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
@click.argument("benchmark", required=False)
@model_option(
    "model", "Model to mitigate: a dual encoder (CLIP) or a classifier. 'NAME=MODEL' sets its name."
)
@click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="METHOD",
    help="Method to try; repeatable. 'all': every method that this model and BENCHMARK allow.",
)
@click.option("--list", "listed", is_flag=True, help="List the methods and what each needs, then exit.")
@out_option(
    "Output folder for the run, mitigation.json and the mitigated heads.",
    required=False,
)
@overwrite_option("run")
@masks_options
@limit_option()
@click.option(
    "--classes",
    default="all",
    show_default=True,
    type=click.Choice(["all", "pairs"]),
    help="Classes to include: all, or pairs, those with photos on both sides. Methods that fit a head need "
    "photos of every competing class; with --label-space benchmark, only the included classes compete.",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Seed for the split of the clusters and the methods' draws.",
)
@running_options()
@format_option(["table", "csv", "json", "markdown", "latex"], "Output format; csv and json hold fractions.")
def mitigate(
    benchmark: str | None,
    model: str | None,
    methods: tuple[str, ...],
    *,
    listed: bool,
    out: Path | None,
    style: Literal["table", "csv", "json", "markdown", "latex"],
    **settings: Any,
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
        if style != "table":
            raise click.UsageError(f"--list is shown as a table only: leave out the format {style}.")
        show_methods()
        return
    for value, name in ((benchmark, "BENCHMARK"), (model, "--model"), (out, "--out"), (methods, "--method")):
        if not value:
            raise click.UsageError(f"Missing {name}.")
    assert benchmark is not None
    assert model is not None
    assert out is not None
    missing: list[str] = []
    mitigated = mitigate_model(
        benchmark,
        model,
        methods,
        out=out,
        show_progress=not is_quiet(),
        warn=missing.append,
        **settings,
    )
    if style == "table":
        show_mitigated(mitigated, out)
    else:
        print_text(mitigated.record.write(style))
    for line in missing:
        click.echo(line, err=True)
