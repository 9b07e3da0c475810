"""``python -m counterground.paper.training RECIPE --out DIR``: train a small CLIP."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from counterground.errors import CounterGroundError, UsageError
from counterground.paper.training._stamps import DOSE, RECIPES, SCHEDULE, Recipe, train_stamps

_FOLDER = click.Path(path_type=Path)


@click.command(help="Train a small CLIP on photographic stamps; a stopped training resumes from --out.")
@click.argument("recipe", type=click.Choice(RECIPES))
@click.option("--out", type=_FOLDER, required=True, help="Folder to write and resume from.")
@click.option("--packages", type=_FOLDER, help="Folder with the .deb files.")
@click.option("--dose", default=DOSE, help="Percent of photos on the planted background.", show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--steps", default=SCHEDULE.steps, show_default=True)
@click.option("--threads", default=1, help="Of PyTorch; weights depend on it.", show_default=True)
@click.option("--quiet", is_flag=True, help="No progress bar.")
def command(
    recipe: Recipe,
    *,
    out: Path,
    packages: Path | None,
    dose: float,
    seed: int,
    steps: int,
    threads: int,
    quiet: bool,
) -> None:
    """Train and say where."""
    import torch

    torch.set_num_threads(threads)
    train_stamps(recipe, out, packages=packages, dose=dose, seed=seed, steps=steps, progress=not quiet)
    click.echo(f"Wrote {out}; load it as open_clip:{out}.")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status (0 done, 1 failed, 2 wrong usage)."""
    try:
        command(arguments, standalone_mode=False)
    except (CounterGroundError, click.UsageError) as error:
        click.echo(error, err=True)
        return 2 if isinstance(error, UsageError | click.UsageError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
