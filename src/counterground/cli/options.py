"""Options of commands: those that follow from a record of settings, and those that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from counterground.cli.help import is_quiet
from counterground.errors import UsageError, did_you_mean
from counterground.settings import Record, Setting, find_setting, settings_of

_Command = Callable[..., Any]
_Decorator = Callable[[_Command], _Command]
FORMATS = ("table", "csv", "json", "markdown", "latex")
CONFIG = "counterground.toml"
_SHORT = {"models": "-m", "class_name": "-c"}
_SPELLING = {  # where a repeatable option reads better in the singular
    "accept_licences": ("--accept-licence", "--accept-license"),
    "annotators": ("--annotator",),
    "benchmarks": ("--benchmark",),
    "categories": ("--category",),
    "class_name": ("--class",),
    "licence_for_unknown": ("--licence-for-unknown", "--license-for-unknown"),
    "licences": ("--licence", "--license"),
    "models": ("--model",),
    "objectives": ("--objective",),
    "strengths": ("--strength",),
    "taxa": ("--taxon",),
}


def settings_option(record: type[Record]) -> _Decorator:
    """Add the usual settings of a record as options, and ``-X`` for all, passed as ``settings``.

    An option goes before ``-X``, this before the environment, and this before ``counterground.toml``.
    """

    def add(command: _Command) -> _Command:
        known = {each.name: each for each in settings_of(record)}

        @wraps(command)
        def with_settings(*given: Any, further: Sequence[str], **options: Any) -> Any:
            context = click.get_current_context()
            values = {**_from_file(context, record), **_from_environment(record), **_further(record, further)}
            for name in record.usual:
                value = options.pop(name)
                if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                    values[name] = known[name].checked(value, spellings(known[name])[0])
            if "show_progress" in known:
                values["show_progress"] = not is_quiet()
            return command(*given, settings=record(**values), **options)

        with_settings.settings = record  # type: ignore[attr-defined] # for the reference
        rarer = sum(each.settable for each in known.values()) - len(record.usual)
        and_more = f" `-X help` lists all, {rarer} more than here." if rarer else ""
        further = click.option(
            "-X",
            "further",
            multiple=True,
            metavar="NAME=VALUE",
            is_eager=True,
            callback=_listing(record),
            help=f"Any setting, also those that have no option; repeatable.{and_more}",
        )
        return _with_all(with_settings, [*(_option(known[name]) for name in record.usual), further])

    return add


def spellings(setting: Setting) -> tuple[str, ...]:
    """Return how a setting is written as an option."""
    return _SPELLING.get(setting.name, (setting.option,))


def _option(setting: Setting) -> _Decorator:
    names = spellings(setting)
    if setting.kind is bool:
        flags = names if setting.default is False else [f"{name}/--no-{name[2:]}" for name in names]
        return click.option(
            *flags, setting.name, is_flag=True, default=setting.default, help=setting.described
        )
    short = [_SHORT[setting.name]] if setting.name in _SHORT else []
    return click.option(
        *short,
        *names,
        setting.name,
        multiple=setting.repeatable and "," not in setting.placeholder,
        metavar=setting.placeholder,
        help=setting.described,
    )


def _listing(record: type[Record]) -> Callable[..., Sequence[str]]:
    """Return what answers ``-X help``: all settings of a record, in the form that ``-X`` takes."""

    def answer(context: click.Context, _option: click.Parameter, words: Sequence[str]) -> Sequence[str]:
        if "help" in words:
            formatter = click.HelpFormatter(max_width=80)
            formatter.write_dl(
                [
                    (f"{each.option[2:]}={each.placeholder}", each.described)
                    for each in settings_of(record)
                    if each.settable
                ],
                col_max=24,
            )
            click.echo(formatter.getvalue().rstrip())
            context.exit()
        return words

    return answer


def _further(record: type[Record], words: Sequence[str]) -> dict[str, Any]:
    """Read ``NAME=VALUE`` words; a name that is given again adds a value, or replaces the only one."""
    texts: dict[str, list[str]] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise UsageError(f"-X takes NAME=VALUE, not {word!r}; -X help lists the names.")
        texts.setdefault(find_setting(record, name, "-X").name, []).append(text)
    known = {each.name: each for each in settings_of(record)}
    values: dict[str, Any] = {}
    for name, given in texts.items():
        several = known[name].repeatable and len(given) > 1
        values[name] = known[name].checked(given if several else given[-1], f"-X {known[name].option[2:]}")
    return values


def _from_environment(record: type[Record]) -> dict[str, Any]:
    return {
        each.name: each.checked(os.environ[each.about.env], f"${each.about.env}")
        for each in settings_of(record)
        if os.environ.get(each.about.env)
    }


def _from_file(context: click.Context, record: type[Record]) -> dict[str, Any]:
    """Return the defaults of the nearest ``counterground.toml``, in the working folder or above."""
    folder = Path.cwd()
    file = next((each / CONFIG for each in (folder, *folder.parents) if (each / CONFIG).is_file()), None)
    if file is None:
        return {}
    import tomllib

    try:
        table: Any = tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read: {error}.") from None
    root = context.find_root().command
    assert isinstance(root, click.Group)
    known = root.list_commands(context)
    if unknown := [name for name in table if name not in known]:
        raise UsageError(f"{file}: there is no command {unknown[0]!r}.{did_you_mean(unknown[0], known)}")
    for name in context.command_path.split()[1:]:
        table = table.get(name, {}) if isinstance(table, Mapping) else {}
    where = f"{file}: {context.command_path.partition(' ')[2]}"
    values = {}
    for name, value in table.items():
        found = find_setting(record, name, where)
        values[found.name] = found.checked(value, f"{where}: {name}")
    return values


def out_option(what: str, *, file: bool = False, **attributes: Any) -> _Decorator:
    """Add ``--out``, which is required unless ``attributes`` say otherwise."""
    return click.option(
        "-o",
        "--out",
        metavar="FILE" if file else "DIR",
        help=what,
        **{"required": True, "type": click.Path(path_type=Path), **attributes},
    )


def model_option(name: str, help_text: str, **attributes: Any) -> _Decorator:
    """Add ``--model``."""
    return click.option("-m", "--model", name, **{"metavar": "MODEL", "help": help_text, **attributes})


def contrast_option(what: str) -> _Decorator:
    """Add ``--contrast``: a contrast of the benchmark, or an expression."""
    return click.option(
        "--contrast",
        metavar="NAME|TEXT",
        help=f"{what}, instead of the benchmark's own: a name, or LEFT - RIGHT within COLUMN, such as "
        "'place=water - place=land within class_name'.",
    )


def format_option(choices: Sequence[str] = FORMATS, help_text: str = "Output format.") -> _Decorator:
    """Add ``--format``, passed as ``style``, with the first of ``choices`` as default."""
    return click.option(
        "--format",
        "style",
        type=click.Choice(choices),
        default=choices[0],
        metavar="|".join(choices),
        help=f"{help_text}  [default: {choices[0]}]",
    )


def refuse_given(*names: str, because: str) -> None:
    """Refuse options of the running command that were given but would have no effect.

    Raises:
        UsageError: one was given; ``because`` follows its name in the message.
    """
    context = click.get_current_context()
    for option in context.command.params:
        if option.name in names and context.get_parameter_source(option.name) is ParameterSource.COMMANDLINE:
            spelling = next(each for each in option.opts if each.startswith("--"))
            raise UsageError(f"{spelling} {because}.")


def _with_all(command: _Command, options: Sequence[_Decorator]) -> _Command:
    for option in reversed(options):
        command = option(command)
    return command
