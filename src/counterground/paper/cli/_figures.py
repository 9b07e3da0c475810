"""``counterground paper figures``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from counterground.cli.help import Command
from counterground.cli.options import class_option, contrast_option, out_option, refuse_given


@click.command(
    cls=Command,
    examples="""
        counterground paper figures --published --only 2a -o figures
        counterground paper figures runs/first --only 2a --format svg -o figures-mine
        counterground paper figures runs/first --only 2a --contrast drop -o figures-drop
        counterground paper figures runs/first --only 1 --benchmark my-photos -c flamingo \\
          -o figure-1
    """,
)
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--published",
    is_flag=True,
    help="Also draw the paper's own figures and tables; the default without RUNS and --study.",
)
@click.option(
    "--study",
    "studies",
    multiple=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Output folder of `paper study`, for figure 10, multicoloredmnist and theory; repeatable.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="1|2a|...|15|mitigation|multicoloredmnist|theory|tables",
    help="Draw only these; repeatable.  [default: everything]",
)
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["pdf", "svg", "png"]),
    help="File format; repeatable.  [default: pdf, png]",
)
@click.option(
    "--benchmark",
    "photos",
    metavar="BENCHMARK",
    help="Benchmark with the photos of figure 1.",
)
@contrast_option("Contrast for figures of RUNS")
@class_option("class_name", "Class to show in figure 1.  [default: the one with the largest drop]")
@out_option("Output folder for figures, tables and captions.md.")
def figures(runs: tuple[Path, ...], published: bool, **options: Any) -> None:
    """Draw the paper's figures for print: from its own numbers, and from RUN folders and studies."""
    from counterground.paper.figures import chosen_names, write_figures

    if "1" not in chosen_names(options["only"]):
        refuse_given("photos", "class_name", because="is for figure 1: add --only 1, or leave it out")
    chosen = {name: value for name, value in options.items() if value not in (None, ())}
    written = write_figures(runs, published=published or None, **chosen)
    for line in (*written.absent, *written.notes):
        click.echo(line, err=True)
    count = sum(path.suffix != ".md" for path in written.files)
    files = "1 file" if count == 1 else f"{count} files"
    click.echo(f"Figures: {written.folder} ({files}; captions.md says what they show)")
