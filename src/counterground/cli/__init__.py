"""The command line: one thin file per command; this one maps errors to exit statuses. See README.md."""

from __future__ import annotations

import atexit
import gc
import io
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

import click

from counterground._version import __version__
from counterground.cli._commands import (
    check,
    compare,
    discover,
    evaluate,
    mitigate,
    plan,
    report,
    scores,
    swap,
)
from counterground.cli._lists import benchmarks, cache, models
from counterground.cli._sharing import audit, board, share
from counterground.cli.help import Group, RootGroup, settings, start_page
from counterground.errors import (
    CounterGroundError,
    OtherNamesWarning,
    UsageError,
    error_summary,
    missing_model_library,
    raised_in,
)
from counterground.files import DamagedCacheWarning
from counterground.http import is_offline, masked, offline
from counterground.plugins import plugin_modules
from counterground.text import one_line

__all__ = ["console", "counterground", "main"]

_COMPLETION = "_COUNTERGROUND_COMPLETE"  # click's variable, for a shell that completes a command


@click.group(cls=RootGroup, context_settings=settings(), invoke_without_command=True)
@click.version_option(__version__)
@click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    help="Show the traceback of an error (works anywhere in the command).",
)
@click.option(
    "--offline",
    is_flag=True,
    expose_value=False,
    help="Never use the network, only files on this machine (works anywhere in the command).",
)
@click.pass_context
def counterground(context: click.Context) -> None:
    """Measure how much worse a vision model gets when the background changes.

    Run `counterground COMMAND --help` for the options and examples of a command.
    """
    if context.invoked_subcommand is None:
        click.echo(start_page(context))
        context.exit(2)


counterground.add_under("Measure", evaluate, scores, compare, report)
counterground.add_under("Plan and decide", plan, check)
counterground.add_under("Choose common and counter backgrounds", discover)
counterground.add_under("Intervene on backgrounds", swap, mitigate)
counterground.add_under("Share results that others can check", share, audit, board)
counterground.add_under("Look up what is available", models, benchmarks, cache)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0 done, 1 the work failed, 2 wrong usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug, stdout, show = "--debug" in given, sys.stdout, warnings.showwarning

    def show_in_one_line(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, DamagedCacheWarning | OtherNamesWarning):
            click.echo(f"Warning: {message}", err=True)
        else:
            show(message, category, *where, **more)

    warnings.showwarning = show_in_one_line
    try:
        words = [word for word in given if word not in ("--debug", "--offline")]
        without_network = "--offline" in given or is_offline()
        with offline(forbid=without_network, libraries=True):
            status = counterground.main(words, prog_name="counterground", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "")
        return 2
    except click.ClickException as error:
        message = error.format_message()
        message = message if message.endswith((".", "?", ")")) else f"{message}."
        click.echo(f"Error: {message} Run `{_command_path(given)} --help`.", err=True)
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped. Finished work is kept; the same command continues from there.", err=True)
        return 130
    except SystemExit as error:
        return _ended(error, stdout)
    except Exception as caught:
        failed = missing_model_library(caught) or caught
        if debug:
            click.echo(masked(traceback.format_exc()), err=True)
        click.echo(masked(_one_line(failed)), err=True)
        return 2 if isinstance(failed, UsageError) else 1
    finally:
        warnings.showwarning = show


def console() -> NoReturn:
    """Run the command line and end the process with its exit status.

    Nothing is torn down: freeing PyTorch's modules takes a second and gains nothing.
    """
    _prepare_streams()
    # Libraries create half a million objects that stay: collect garbage less often.
    gc.set_threshold(10_000, 10, 20)
    status = main()
    atexit._run_exitfuncs()  # noqa: SLF001 - what packages asked to be called
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        pass  # the reader has gone
    except OSError as error:
        status = status or 1
        click.echo(f"Error: cannot write the output: {error.strerror}.", err=True)
    os._exit(status)


def _prepare_streams() -> None:
    """Open standard streams that are closed, and let streams write characters that they cannot encode."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:  # the next file would get its number, and libraries would take it for the stream
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _command_path(given: Sequence[str]) -> str:
    """Return the command path that ``given`` begins with."""
    path, command = "counterground", counterground
    for word in given:
        found = command.find(word) if isinstance(command, Group) else None
        if found is None:
            break
        path, command = f"{path} {word}", found  # type: ignore[assignment]
    return path


def _ended(error: SystemExit, stdout: TextIO) -> int:
    """Return 0 if the reader has gone (`| head`; click then replaces stdout), 1 if other code exits."""
    if sys.stdout is not stdout:
        return 0
    if _COMPLETION in os.environ:  # click has answered a shell
        return error.code if isinstance(error.code, int) else 1
    click.echo(f"Error: code that was called ended the program with {error.code!r}.", err=True)
    return 1


def _one_line(error: Exception) -> str:
    if isinstance(error, CounterGroundError):
        return f"Error: {one_line(str(error))}"  # it may hold untrusted text
    if isinstance(error, UnicodeEncodeError):  # a name of a file in another encoding
        return f"Error: {error.object[:200]!r} is not UTF-8: rename it."
    if isinstance(error, OSError):
        return f"Error: {error.strerror or error}{f': {error.filename}' if error.filename else ''}."
    if raised_in(error, plugin_modules()):
        return f"Error: {one_line(error_summary(error, plugin_modules()))}. --debug shows the traceback."
    return (
        f"Error: {type(error).__name__}: {one_line(str(error))} "
        "-- this is a bug in CounterGround; --debug shows where. Please report it."
    )
