"""``counterground share``, ``audit`` and ``board``: results that others can check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from counterground.cli.help import Command, is_quiet
from counterground.cli.options import format_option, model_option, out_option

if TYPE_CHECKING:
    from counterground.sharing import ResultFormat

_ALTERED = 3


@click.command(
    cls=Command,
    examples="""
        counterground share runs/first -o bundle
        counterground share --check board/first --data my-photos
        counterground share runs/first --format every-eval-ever -o results
    """,
)
@click.argument("run", type=click.Path(path_type=Path))
@out_option("Folder for the bundle or the results.", required=False)
@model_option("model", "Model of RUN to share, if it has several.")
@click.option(
    "--check",
    "checks",
    is_flag=True,
    help="RUN is a bundle: compute its scores again and compare its photos with its benchmark.",
)
@click.option(
    "--data", metavar="DATA", help="Benchmark to --check with.  [default: the built-in of that name]"
)
@format_option(
    ("bundle", "every-eval-ever", "hub", "timm"), "What to write: a bundle, or results for others."
)
def share(
    *, run: Path, out: Path | None, model: str | None, checks: bool, data: str | None, style: ResultFormat
) -> None:
    """Write a RUN of one model as a bundle that others can check, without photos and paths.

    A bundle is a run, too: scores, compare and report read it. It holds settings, the model's hash, photo
    hashes, predictions and scores.
    """
    from counterground.api import share as share_run
    from counterground.errors import UsageError
    from counterground.sharing import benchmark_of, check_against, check_bundle

    if checks:
        bundle = check_bundle(run)
        check_against(bundle, benchmark_of(bundle, data, files=False, show_progress=not is_quiet()))
        click.echo(f"{run}: its scores follow from its predictions, on the photos of the benchmark.")
    elif out is None:
        raise UsageError("Name the folder for the bundle with --out, or --check a bundle.")
    else:
        click.echo(f"Shared: {share_run(run, out, model=model, format=style)}")


@click.command(
    cls=Command,
    examples="""
        counterground audit board/first my-photos
        counterground audit board/first my-photos --photos 200 --salt 4f2a91c
    """,
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("data")
@click.option(
    "--photos", metavar="N", type=click.IntRange(1), default=60, help="Photos to run.  [default: 60]"
)
@model_option("model", "The bundle's model, if it names a file, code or an address.")
@click.option(
    "--salt",
    metavar="TEXT",
    default="",
    help="Text that enters the draw, such as the commit that received BUNDLE, so that its author could not "
    "try alterations until the draw misses them.",
)
@click.option("--device", metavar="auto|cpu|cuda|mps", default="auto", help="Device to run the model on.")
def audit(*, bundle: Path, data: str, photos: int, model: str | None, salt: str, device: str) -> None:
    """Run the model of BUNDLE again on photos of DATA, drawn by its hash, and write audit.json into it.

    Exit status: 0 no prediction was altered, 3 some were, 1 the work failed, 2 wrong usage.
    """
    from counterground.api import audit as run_audit

    found = run_audit(
        bundle, data, photos=photos, model=model, salt=salt, device=device, show_progress=not is_quiet()
    )
    click.echo(str(found))
    if found.altered:
        click.get_current_context().exit(_ALTERED)


@click.command(
    cls=Command,
    examples="""
        counterground board board --check
        counterground board board -o index.html
    """,
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@out_option("HTML file to write.", file=True, required=False)
@click.option("--check", "checks", is_flag=True, help="Only check the bundles, as before a merge.")
def board(*, folder: Path, out: Path | None, checks: bool) -> None:
    """Check all bundles below DIR and write them, with the paper's models, as one page."""
    from counterground.errors import UsageError
    from counterground.sharing import read_board, write_board

    if checks == (out is not None):
        raise UsageError("Give either --check or the HTML file to write (--out).")
    entries, problems = read_board(folder)
    for entry in entries if checks else ():
        click.echo(f"{entry.origin:10} {entry.bundle.path}")
    for problem in problems:
        click.echo(f"Error: {problem}", err=True)
    if problems:
        click.get_current_context().exit(1)
    if out is not None:
        click.echo(f"Board: {write_board(entries, out)}")
