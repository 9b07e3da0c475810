"""Prompt templates, and files of class names."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from pathlib import Path

from counterground.errors import CounterGroundError, UsageError
from counterground.files import given_path, read_text

_SIMPLE = ("A photo of {}.",)
_NUMBERED = re.compile(r"(\d{1,18})[\t ]+(\S.*)")


def prompt_templates(kind: str | Path = "simple") -> tuple[str, ...]:
    """Return prompt templates, each with exactly one ``{}`` for the class name.

    ``simple`` is the paper's "A photo of {}." (section 4); ``openai`` is OpenAI's 80 templates for ImageNet
    (table 10), a pinned copy, so that no library release changes the numbers; anything else is a file with
    one template per line. Fill with ``template.replace("{}", name)``: other braces, and braces in names, are
    then kept.

    Raises:
        UsageError: the kind is unknown and there is no such file.
        CounterGroundError: a line of the file without exactly one ``{}``, or no line at all.
    """
    if kind == "simple":
        return _SIMPLE
    if kind == "openai":
        return _openai_templates()
    lines = _read_lines(
        given_path(str(kind)), "prompt templates: 'simple', 'openai' or a file, one template a line"
    )
    for number, line in enumerate(lines, 1):
        if line.count("{}") != 1:
            raise CounterGroundError(
                f"{kind}, line {number}: a template needs exactly one {{}}, not {line!r}."
            )
    return tuple(lines)


@cache
def _openai_templates() -> tuple[str, ...]:
    text = files("counterground.photos").joinpath("data", "openai_templates.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


def read_class_names(path: Path) -> tuple[str, ...]:
    """Return the class names of a file, in class order.

    Lines are names, one per class in order, or all of them ``<index><tab or space><name>`` as in the
    CounterAnimal archive's ``imagenet_names.txt``; the indices then give the order and must be 0 to n - 1.

    Raises:
        UsageError: there is no such file.
        CounterGroundError: an empty line, a repeated or missing index, or some lines without an index.
    """
    path = Path(path)
    lines = _read_lines(path, "class names: a file, one name a line")
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    without = [number for number, match in enumerate(numbered, 1) if match is None]
    # A class may be called "747 jet": numbers are indices only where they are the rule.
    if len(without) > len(lines) / 2 or (without and not _starts_counting(numbered)):
        return tuple(lines)
    if without:
        raise CounterGroundError(f"{path}, line {without[0]}: it has no index, as other lines have.")
    named: dict[int, str] = {}
    for number, match in enumerate(numbered, 1):
        assert match is not None
        if (index := int(match[1])) in named:
            raise CounterGroundError(f"{path}, line {number}: index {index} occurs twice.")
        named[index] = match[2]
    if missing := set(range(len(named))) - set(named):
        raise CounterGroundError(
            f"{path}: no line has index {min(missing)}; indices must be 0 to {len(named) - 1}."
        )
    return tuple(named[index] for index in range(len(named)))


def _starts_counting(numbered: list[re.Match[str] | None]) -> bool:
    return {0, 1} <= {int(match[1]) for match in numbered if match}


def _read_lines(path: Path, expected: str) -> list[str]:
    try:
        text = read_text(path)
    except OSError as error:
        raise UsageError(
            f"Cannot read {str(path)!r}: {error.strerror or error}. Expected {expected}."
        ) from error
    except UnicodeDecodeError as error:
        raise CounterGroundError(f"{path} is not UTF-8 text: {error.reason}. Save it as UTF-8.") from error
    lines = [line.strip() for line in text.rstrip().split("\n")]
    if lines == [""]:
        raise CounterGroundError(f"{path} is empty; expected {expected}.")
    if "" in lines:
        raise CounterGroundError(f"{path}, line {lines.index('') + 1} is empty; remove it.")
    return lines
