"""``counterground study``."""

from __future__ import annotations

from pathlib import Path

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
