"""``counterground check``."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from counterground.cli.help import Command
from counterground.cli.options import format_option, settings_option
from counterground.settings import CheckSettings


@click.command(
    cls=Command,
    examples="""
        counterground check runs/first --max-drop 10%
        counterground check runs/a --max-drop 10% --min-accuracy 80% --junit a.xml
        counterground check runs/a --baseline runs/b --margin 2%
    """,
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--junit",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the verdicts as JUnit XML.",
)
@settings_option(CheckSettings)
@format_option(help_text="Output format; csv and json hold fractions.")
def check(run: Path, *, junit: Path | None, style: str, settings: CheckSettings) -> None:
    """Check the models of RUN against limits on drop and accuracy: pass, fail or undecided.

    A model passes if its whole 95 % interval is within the limit, fails if the whole interval is beyond it,
    and is undecided otherwise. With several models or limits, the intervals are corrected for their number. A
    model that chose the pairs on the same photos cannot fail by its drop, which selection inflates. For a run
    on composites (swap), the background effect takes the place of the drop.

    Exit status: 0 all pass, 3 some fail, 4 some are undecided and none fails, 1 the work failed, 2 wrong
    usage.
    """
    from counterground.api import check as check_models
    from counterground.cli.show import print_view
    from counterground.decision import STATUS
    from counterground.files import write_text
    from counterground.results import refuse_run_file

    if junit is not None:
        refuse_run_file("--junit", junit)
    found = check_models(run, settings=settings)
    if junit is not None:
        write_text(junit, found.junit())
    with suppress(BrokenPipeError):  # if the reader has gone (`| grep -q`), the verdict remains
        print_view(found, style)
    click.get_current_context().exit(STATUS[found.verdict])
