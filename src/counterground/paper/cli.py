"""The command group ``paper``: what the paper claims, shows and did, again."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import click

from counterground.cli.help import Command, Group, settings
from counterground.cli.options import contrast_option, format_option, out_option, settings_option
from counterground.paper.settings import CocoSettings, ColoredSettings, TheorySettings
from counterground.settings import Record


@click.command(
    cls=Command,
    examples="""
        counterground paper compare
        counterground paper compare --format csv
        counterground paper compare runs/a runs/b
    """,
)
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--scale",
    default="probit",
    show_default=True,
    type=click.Choice(["probit", "logit"]),
    help="Transform of the accuracies before fitting the line.",
)
@format_option(help_text="Output format; csv has the claim alone, in fractions; json has everything.")
def compare(runs: tuple[Path, ...], *, scale: str, style: str) -> None:
    """Show whether the paper's claim holds in each of its settings, and what size and data change.

    The claim is that CLIPs are below the line of ImageNet models. With RUN folders, their models beside the
    paper's come first.
    """
    from counterground.cli.show import print_view
    from counterground.comparison import full_comparison
    from counterground.paper.claims import Claims

    print_view(Claims(full_comparison(runs, scale=scale)), style)  # type: ignore[arg-type]


@click.command(
    cls=Command,
    examples="""
        counterground paper reproduce
        counterground paper reproduce --format csv
    """,
)
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@format_option(help_text="Output format; csv and json have the rows alone, in fractions.")
def reproduce(runs: tuple[Path, ...], *, style: str) -> None:
    """Show the paper's rows next to our values: printed, ours, difference, notes.

    Without RUN, the values are those of the 2025 reproduction.
    """
    from counterground.cli.show import print_view
    from counterground.paper.reproduction import Reproduction, left_out
    from counterground.paper.reproduction import reproduce as reproduce_rows
    from counterground.results import open_runs

    opened = open_runs(runs)
    print_view(Reproduction(reproduce_rows(opened), left_out(opened)), style)


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
    metavar="1|2a|...|15|multicoloredmnist|theory|tables",
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
@click.option(
    "-c",
    "--class",
    "class_name",
    metavar="CLASS",
    help="Class to show in figure 1.  [default: the one with the largest drop]",
)
@out_option("Output folder for figures, tables and captions.md.")
def figures(runs: tuple[Path, ...], published: bool, **options: Any) -> None:
    """Draw the paper's figures for print: from its own numbers, and from RUN folders and studies."""
    from counterground.paper.figures import write_figures

    chosen = {name: value for name, value in options.items() if value not in (None, ())}
    written = write_figures(runs, published=published or None, **chosen)
    for line in written.absent:
        click.echo(line, err=True)
    click.echo(f"Figures: {written.folder} (captions.md says what they show)")


@click.group(
    cls=Group,
    examples="""
        counterground paper study theory --quick -o theory
    """,
)
def study() -> None:
    """Show why models rely on backgrounds (paper section 6), beside the paper's results."""


def _add_study(record: type[Record], name: str, about: str, *examples: str) -> None:
    @study.command(name, help=about, examples="\n".join(examples))
    @out_option("Output folder for the results, figures and page; a killed study resumes from there.")
    @settings_option(record)
    def command(out: Path, settings: Record) -> None:
        run = getattr(import_module("counterground.paper"), f"study_{name}")
        click.echo(f"Page: {run(out, settings)}")


_add_study(
    TheorySettings,
    "theory",
    "Compare a simulation of definition 6.1 with exact accuracies and the bounds of theorem 6.2.",
    "counterground paper study theory --quick -o theory",
)
_add_study(
    ColoredSettings,
    "multicoloredmnist",
    "Compare contrastive and supervised training on coloured digits (Table 8).",
    "counterground paper study multicoloredmnist --quick -o mnist",
    "counterground paper study multicoloredmnist --mnist MNIST --k 3 --k 10 -o table-8",
)
_add_study(
    CocoSettings,
    "coloredcoco",
    "Fine-tune CLIPs on objects whose background colour predicts their class (Table 7).",
    "counterground paper study coloredcoco --quick -o coco",
    "counterground paper study coloredcoco --coco COCO -o table-7",
)


@click.group(cls=Group, context_settings=settings())
def paper() -> None:
    """Repeat the paper: its claims, rows, figures and studies, from its numbers and your runs."""


paper.add_under("Its numbers", compare, reproduce, figures)
paper.add_under("Its experiments", study)
