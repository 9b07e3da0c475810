"""``counterground compare``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--against", metavar="MODEL", help="Compare every model with this one only.")
def compare(runs: tuple[Path, ...], against: str | None) -> None:
    """Test differences between the models of RUN folders on the same photos (paired, Holm-corrected)."""
    from counterground.api import compare as run_comparison
    from counterground.cli._show import show_comparison

    show_comparison(run_comparison(runs, against=against))
