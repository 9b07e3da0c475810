"""Options that several commands share: one spelling and one meaning each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from counterground.errors import UsageError
from counterground.http import OFFLINE

_Command = Callable[..., Any]
_Value = TypeVar("_Value")
_Decorator = Callable[[_Command], _Command]


def device_option(what: str = "models") -> _Decorator:
    """Add ``--device``."""
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="auto|cpu|cuda|mps",
        help=f"Device to run {what} on.",
    )


_RUNNING = (
    click.option(
        "--names",
        default="openai",
        show_default=True,
        metavar="openai|wordnet|FILE",
        help="How to write ImageNet classes in prompts.",
    ),
    click.option(
        "--prompts",
        default="simple",
        show_default=True,
        metavar="simple|openai|FILE",
        help='Prompt template: "A photo of {}.", the mean of 80 templates, or a file with one per line.',
    ),
    device_option(),
    click.option(
        "--precision",
        default="fp32",
        show_default=True,
        type=click.Choice(["fp32", "bf16", "fp16"]),
        help="Precision of the image encoder.",
    ),
    click.option(
        "--batch-size",
        default=32,
        show_default=True,
        type=click.IntRange(min=1),
        help="Photos per forward pass.",
    ),
    click.option(
        "--runtime",
        default="auto",
        show_default=True,
        type=click.Choice(["auto", "eager", "onnx", "compile"]),
        help="Runtime for image encoders; auto: for many photos on a CPU onnx, if its numbers are eager's.",
    ),
    click.option("--offline", is_flag=True, envvar=OFFLINE, help="Never use the network."),
)


_GENERATIVE = (
    click.option(
        "--protocol",
        type=click.Choice(
            ["answer-loss", "describe", "yes-no", "free-form", "multiple-choice", "multiple-choice-loss"]
        ),
        metavar="PROTOCOL",
        help="How generative models answer. answer-loss (the default), describe, yes-no: the answer with the "
        "lowest loss wins. free-form: generated text is matched to the classes. multiple-choice (the default "
        "if photos have questions): one of a few options is chosen by letter, in all rotations of them. "
        "multiple-choice-loss: the option whose text has the lowest loss wins.",
    ),
    click.option(
        "--options",
        default=4,
        show_default=True,
        type=click.IntRange(min=2, max=26),
        metavar="N",
        help="Options per multiple-choice question, if photos have no questions of their own: the true class "
        "and either those closest to it (--label-space confusable) or others drawn for each photo.",
    ),
    click.option(
        "--loss",
        default="mean",
        show_default=True,
        type=click.Choice(["mean", "sum"]),
        help="How to combine the token losses of an answer; predictions.parquet has both.",
    ),
    click.option(
        "--article",
        default="a",
        show_default=True,
        type=click.Choice(["a", "correct"]),
        help='Article before class names: "A ox", as in the paper, or "An ox".',
    ),
    click.option(
        "--aliases",
        metavar="FILE",
        help='JSON file of other names for classes: {"ice bear": ["polar bear"]}.',
    ),
)


_CLUSTER = (
    click.option(
        "--engine",
        default="local",
        show_default=True,
        type=click.Choice(["local", "ray"]),
        help="Where photos are encoded: in this process, or on the workers of a Ray cluster (that of "
        "RAY_ADDRESS, else one started on this machine). The results are the same. Generative models run in "
        "this process.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        metavar="N",
        help="Maximum number of workers; each has as many threads as this process (OMP_NUM_THREADS).  "
        "[default: as many as fit]",
    ),
    click.option(
        "--gpus-per-worker",
        type=click.FloatRange(min=0, min_open=True),
        metavar="N",
        help="GPUs per worker, such as 0.5.  [default: 1 if models run on cuda]",
    ),
)


def running_options(*, referee: bool = False) -> _Decorator:
    """Add the options that become ``Settings``; ``referee``: whether confusable names can be chosen."""
    confusable = ", 20 per class chosen by --referee" if referee else ""
    label_space = click.option(
        "--label-space",
        metavar="benchmark|imagenet|confusable|FILE" if referee else "benchmark|imagenet|FILE",
        callback=None if referee else _not_confusable,
        help="Candidate class names: the benchmark's, ImageNet's 1000 (the default if every class has an "
        f"ImageNet index){confusable}, or those in a file.",
    )
    return lambda command: _with_all(command, (label_space, *_RUNNING))


def cluster_options(command: _Command) -> _Command:
    """Add the options of ``Settings`` that are about a cluster."""
    return _with_all(command, _CLUSTER)


def generative_options(command: _Command) -> _Command:
    """Add the options of ``Settings`` that are about generative models."""
    return _with_all(command, _GENERATIVE)


def masks_options(command: _Command) -> _Command:
    """Add ``--masks``, and ``--accept-licence`` for models that make them."""
    source = click.option(
        "--masks",
        metavar="DIR|COCO.json|grabcut|MODEL",
        help="Source of the object masks.  [default: the benchmark's own]",
    )
    licence = accept_licence_option("Accept the licence of the mask model's weights; repeatable.")
    return _with_all(command, [source, licence])


def out_option(what: str, *, file: bool = False, **attributes: Any) -> _Decorator:
    """Add ``--out``, which is required unless ``attributes`` say otherwise."""
    return click.option(
        "-o",
        "--out",
        metavar="FILE" if file else "DIR",
        help=what,
        **{"required": True, "type": click.Path(path_type=Path), **attributes},
    )


def overwrite_option(result: str) -> _Decorator:
    """Add ``--overwrite``."""
    return click.option(
        "--overwrite",
        is_flag=True,
        help=f"Replace another {result} already in --out; other files are never replaced.",
    )


def limit_option() -> _Decorator:
    """Add ``--limit``."""
    return click.option(
        "--limit",
        type=click.IntRange(min=1),
        metavar="N",
        help="Use only N photos, spread over classes and backgrounds, for a quick trial.",
    )


def photos_option(help_text: str) -> _Decorator:
    """Add ``--photos/--no-photos``."""
    return click.option("--photos/--no-photos", default=True, show_default=True, help=help_text)


def photo_budget_option(page: str) -> _Decorator:
    """Add ``--photo-budget``."""
    return click.option(
        "--photo-budget",
        default=15.0,
        show_default=True,
        metavar="MB",
        type=click.FloatRange(min=0, min_open=True),
        help=f"Maximum megabytes that photos add to the {page}.",
    )


def model_option(name: str, help_text: str, **attributes: Any) -> _Decorator:
    """Add ``--model``."""
    return click.option("-m", "--model", name, **{"metavar": "MODEL", "help": help_text, **attributes})


def accept_licence_option(help_text: str) -> _Decorator:
    """Add ``--accept-licence``."""
    return click.option(
        "--accept-licence",
        "--accept-license",
        "accept_licences",
        multiple=True,
        metavar="NAME",
        help=help_text,
    )


def contrast_option(what: str) -> _Decorator:
    """Add ``--contrast``: a contrast of the benchmark, or an expression."""
    return click.option(
        "--contrast",
        metavar="NAME|TEXT",
        help=f"{what}, instead of the benchmark's own: a name, or LEFT - RIGHT within COLUMN, such as "
        "'place=water - place=land within class_name'.",
    )


def class_option(name: str, help_text: str, **attributes: Any) -> _Decorator:
    """Add ``--class``."""
    return click.option("-c", "--class", name, metavar="CLASS", help=help_text, **attributes)


def format_option(choices: Sequence[str], help_text: str = "Output format.") -> _Decorator:
    """Add ``--format``, passed as ``style``, with the first of ``choices`` as default, and ``--json``."""

    def add(command: _Command) -> _Command:
        @wraps(command)
        def with_style(*given: Any, style: str | None, as_json: bool, **options: Any) -> Any:
            if as_json and style not in {None, "json"}:
                raise click.UsageError(f"--json and --format {style} contradict each other.")
            style = "json" if as_json else style or choices[0]
            return command(*given, style=style, **options)

        help_and_default = f"{help_text}  [default: {choices[0]}]"
        kind, listed = click.Choice(choices), "|".join(choices)
        both = (
            click.option("--format", "style", type=kind, metavar=listed, help=help_and_default),
            click.option("--json", "as_json", is_flag=True, help="Short for --format json."),
        )
        return _with_all(with_style, both)

    return add


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


def each_once(
    pairs: Iterable[tuple[str, _Value]], option: str, remedy: str = "give one"
) -> dict[str, _Value]:
    """Return the values of a repeatable ``NAME=VALUE`` option by name.

    Raises:
        BadParameter: a name has two different values, of which one would be lost.
    """
    found: dict[str, _Value] = {}
    for name, value in pairs:
        if found.setdefault(name, value) != value:
            raise click.BadParameter(f"{name!r} has two values: {remedy}.", param_hint=option)
    return found


def _with_all(command: _Command, options: Sequence[_Decorator]) -> _Command:
    for option in reversed(options):
        command = option(command)
    return command


def _not_confusable(_ctx: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    if given == "confusable":
        raise click.BadParameter(
            "there is no referee for confusable names; use benchmark, imagenet or a file."
        )
    return given
