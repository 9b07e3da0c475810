"""The command line: one thin file per command; this one maps errors to exit statuses. See README.md."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import TextIO

import click

from counterground._version import __version__
from counterground.cli._benchmarks import benchmarks
from counterground.cli._compare import compare
from counterground.cli._evaluate import evaluate
from counterground.cli._figures import figures
from counterground.cli._models import models
from counterground.cli._report import report
from counterground.cli._scores import scores
from counterground.cli._study import study
from counterground.cli.construction._collect import collect
from counterground.cli.construction._curate import curate
from counterground.cli.construction._discover import discover
from counterground.cli.construction._export import export
from counterground.cli.construction._import import import_
from counterground.cli.construction._label import label
from counterground.cli.construction._pool import pool
from counterground.errors import CounterGroundError, UsageError
from counterground.text import one_line

__all__ = ["counterground", "main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show the traceback of an error (may stand anywhere).")
def counterground(debug: bool) -> None:
    """Tell how far a vision model leans on the background instead of the object."""


for _command in (
    benchmarks,
    collect,
    compare,
    curate,
    discover,
    evaluate,
    export,
    figures,
    import_,
    label,
    models,
    pool,
    report,
    scores,
    study,
):
    counterground.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0 done, 1 the work failed, 2 wrong usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug, stdout = "--debug" in given, sys.stdout
    try:
        status = counterground.main([word for word in given if word != "--debug"], standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "")
        return 2
    except click.ClickException as error:
        click.echo(f"Error: {error.format_message()} Add --help to see what is wanted.", err=True)
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped. What was done is kept; the same command goes on from there.", err=True)
        return 130
    except SystemExit as error:
        return _ended(error, stdout)
    except Exception as error:
        if debug:
            traceback.print_exc()
        click.echo(_one_line(error), err=True)
        return 2 if isinstance(error, UsageError) else 1


def _ended(error: SystemExit, stdout: TextIO) -> int:
    """Tell a reader that left (`| head`; click then puts another stdout in place) from code that exits."""
    if sys.stdout is not stdout:
        return 0
    click.echo(f"Error: code that was called ended the program with {error.code!r}.", err=True)
    return 1


def _one_line(error: Exception) -> str:
    if isinstance(error, CounterGroundError):
        return f"Error: {one_line(str(error))}"  # names in it may be a stranger's
    if isinstance(error, OSError):
        return f"Error: {error.strerror or error}{f': {error.filename}' if error.filename else ''}."
    return (
        f"Error: {type(error).__name__}: {one_line(str(error))} "
        "-- this is a fault of CounterGround; --debug shows where. Please report it."
    )
