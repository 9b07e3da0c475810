"""Click commands whose help fits into 80 columns, uses whole sentences and ends with examples."""

from __future__ import annotations

import inspect
from typing import Any

import click

from counterground.plugins import Registry

_WIDTH = 80
_QUIET = "counterground.quiet"

_START = {
    "counterground evaluate my-photos -m efficientnet-lite0 -o runs/first": (
        "Evaluate a model on photos in folders <class>/common-<background>/ and "
        "<class>/counter-<background>/, and write a report."
    ),
    "counterground discover my-photos --referee efficientnet-lite0 -o pairs": (
        "Choose the common and the counter background of each class, if the folders are "
        "<class>/<background>/."
    ),
    "counterground models": "List the models that you can evaluate, and what each needs.",
}


class _WithExamples(click.Command):
    """A command with examples after its options."""

    def __init__(self, *given: Any, examples: str = "", **attributes: Any) -> None:
        super().__init__(*given, **attributes)
        self.examples = inspect.cleandoc(examples)

    def format_epilog(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, exactly as they are typed."""
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples.splitlines():
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class Command(_WithExamples):
    """A command that does the work, with ``--quiet``."""

    def __init__(self, *given: Any, **attributes: Any) -> None:
        super().__init__(*given, **attributes)
        self.params.append(
            click.Option(
                ["-q", "--quiet"],
                is_flag=True,
                expose_value=False,
                callback=_be_quiet,
                help="Hide progress and notes; show only results, warnings and errors.",
            )
        )


class Group(_WithExamples, click.Group):
    """A group of commands, listed under headings in the order of the work."""

    command_class = Command

    def __init__(self, *given: Any, **attributes: Any) -> None:
        super().__init__(*given, **attributes)
        self.headings: dict[str, list[str]] = {}

    def add_under(self, heading: str, *commands: click.Command) -> None:
        """Add commands that the help lists under a heading."""
        for command in commands:
            self.add_command(command)
        self.headings[heading] = [command.name or "" for command in commands]

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Return the commands in the order they were added, not sorted by name."""
        return list(self.commands)

    def find(self, name: str) -> click.Command | None:
        """Return the command of this name, None if there is none."""
        return self.commands.get(name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each command with the first sentence of its help, which is never cut."""
        for heading, names in (self.headings or {"Commands": self.list_commands(ctx)}).items():
            found = [(name, self.find(name)) for name in names]
            with formatter.section(heading):
                formatter.write_dl([(name, _first_sentence(each)) for name, each in found if each])


class RootGroup(Group):
    """A group with more groups below it, added by entry points of the group ``counterground.commands``.

    One is imported when it is run or listed.
    """

    def __init__(self, *given: Any, **attributes: Any) -> None:
        super().__init__(*given, **attributes)
        self._groups = Registry("counterground.commands", click.Group, {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order they were added, then the groups."""
        return [*super().list_commands(ctx), *self._groups.names()]

    def find(self, name: str) -> click.Command | None:
        """Return the command or group of this name, None if there is none."""
        return super().find(name) or self._groups.find(name)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command or group of this name, None if there is none."""
        return self.find(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, then the groups."""
        super().format_commands(ctx, formatter)
        groups = self._groups.each(lambda line: click.echo(f"Warning: {line}", err=True))
        with formatter.section("Groups of commands"):
            formatter.write_dl([(each.name or "", _first_sentence(each)) for each in groups])


def settings() -> dict[str, Any]:
    """Return the settings that all help pages share."""
    return {"help_option_names": ["-h", "--help"], "max_content_width": _WIDTH}


def start_page(ctx: click.Context) -> str:
    """Return the page shown if no command is named: the three commands to begin with."""
    formatter = ctx.make_formatter()
    formatter.write_text(_first_sentence(ctx.command))
    with formatter.section("Begin with"):
        for example, what in _START.items():
            formatter.write_text(example)
            formatter.indent()
            formatter.write_text(what)
            formatter.dedent()
    formatter.write_paragraph()
    formatter.write_text("counterground --help lists all commands.")
    return formatter.getvalue().rstrip("\n")


def is_quiet() -> bool:
    """Whether ``--quiet`` was given to the running command."""
    context = click.get_current_context(silent=True)
    return bool(context and context.meta.get(_QUIET))


def _be_quiet(ctx: click.Context, _option: click.Parameter, given: bool) -> None:
    ctx.meta[_QUIET] = given


def _first_sentence(command: click.Command) -> str:
    paragraph = " ".join(inspect.cleandoc(command.help or "").partition("\n\n")[0].split())
    return f"{paragraph.partition('. ')[0].rstrip('.')}."
