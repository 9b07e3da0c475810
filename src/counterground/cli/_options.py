"""Options shared by the commands that run models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

_OPTIONS = (
    click.option(
        "--label-space",
        metavar="benchmark|imagenet|confusable|FILE",
        help="The candidate labels: the benchmark's classes, ImageNet's 1000 (the default where every class "
        "has an ImageNet index), 20 per class chosen by --referee, or those of a file.",
    ),
    click.option(
        "--names",
        default="openai",
        show_default=True,
        metavar="openai|wordnet|FILE",
        help="How ImageNet classes are written in prompts.",
    ),
    click.option(
        "--prompts",
        default="simple",
        show_default=True,
        metavar="simple|openai|FILE",
        help='"A photo of {}.", the mean of 80 templates, or a file with one template per line.',
    ),
    click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda|mps"),
    click.option(
        "--precision", default="fp32", show_default=True, type=click.Choice(["fp32", "bf16", "fp16"])
    ),
    click.option("--batch-size", default=32, show_default=True, type=click.IntRange(min=1)),
    click.option(
        "--as-published",
        is_flag=True,
        help="Load models as the paper seems to have done; outputs say so.",
    ),
    click.option("--offline", is_flag=True, help="Use only weights that are on this machine."),
)


_GENERATIVE = (
    click.option(
        "--protocol",
        type=click.Choice(["answer-loss", "describe", "yes-no", "free-form"]),
        help="How generative models answer: the answer with the lowest loss wins (answer-loss, the default; "
        "describe; yes-no), or generated text is matched to the classes (free-form).",
    ),
    click.option(
        "--loss",
        default="mean",
        show_default=True,
        type=click.Choice(["mean", "sum"]),
        help="Loss of an answer: over its tokens; both are in predictions.parquet.",
    ),
    click.option(
        "--article",
        default="a",
        show_default=True,
        type=click.Choice(["a", "correct"]),
        help='"A ox", as in the paper, or "An ox".',
    ),
    click.option(
        "--aliases", metavar="FILE", help='Other words for classes: JSON, {"ice bear": ["polar bear"]}.'
    ),
)


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that become ``Settings``."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def generative_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of ``Settings`` for generative models."""
    for option in reversed(_GENERATIVE):
        command = option(command)
    return command


def out_option(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the required ``--out`` option."""
    return click.option("--out", required=True, type=click.Path(path_type=Path), help=what)
