"""Every block of code in the README and in docs/ is read here, and says above itself whether a test runs it.

A mark is a comment on the line above a block of console or Python:

- ``<!-- run -->``, or with more words: a test runs it as it stands, or compares it with what is printed;
  ``run by CI`` stands above targets of make that .ci/run runs.
- ``<!-- name.py -->``: a test saves it as this file and uses it.
- ``<!-- not run: REASON -->``: it needs what is not here (``REASONS``).

Whether or not a block is run, its commands must exist with these options and choices, its files, extras
and targets of make must be there, and its Python must compile and use public names with arguments that
they take.
"""

from __future__ import annotations

import ast
import csv
import importlib
import inspect
import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import NamedTuple

import click
import pytest

import counterground as cg
from counterground.cli import counterground

ROOT = Path(__file__).parents[2]
REASONS = {
    "a cluster",
    "a person",  # who labels, or draws boxes
    "installs",  # scripts/try-wheel and CI install
    "minutes",  # of a model on all of stamps; `make demo` and benches do the like
    "network",
    "photos of your own",
    "weights",
}
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
]
_BLOCK = re.compile(r"(?:<!-- ([^\n]+) -->\n)?^( *)```(\w*)\n(.*?)^\2```", re.DOTALL | re.MULTILINE)
_PROMPT = "$ "


class Block(NamedTuple):
    page: str
    mark: str | None
    language: str
    text: str

    @property
    def name(self) -> str:
        lines = [line for line in self.text.splitlines() if line.strip()]
        return f"{self.page}: {lines[0].strip()[:60]}"

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command: of a block with prompts, those after one; comments are left out."""
        text = self.text.replace("\\\n", " ")
        lines = text.splitlines()
        if any(line.startswith(_PROMPT) for line in lines):
            lines = [line.removeprefix(_PROMPT) for line in lines if line.startswith(_PROMPT)]
        words = [shlex.split(re.sub(r"(^|\s)#\s.*", "", line)) for line in lines]
        return [each for each in words if each]


BLOCKS = [
    Block(page, found[1], found[3], found[4])
    for page in PAGES
    for found in _BLOCK.finditer((ROOT / page).read_text(encoding="utf-8"))
]
CODE = [block for block in BLOCKS if block.language in ("console", "python")]


def named(blocks):
    return pytest.mark.parametrize("block", blocks, ids=[block.name for block in blocks])


LANGUAGES = ("console", "python", "csv", "json", "toml", "yaml", "text", "diff")


def test_there_are_blocks_of_each_kind():
    assert len(CODE) > 60
    assert {block.language for block in BLOCKS} <= {"", *LANGUAGES}


@named(CODE)
def test_the_block_says_whether_it_is_run(block):
    assert block.mark, (
        f"{block.name}: write <!-- run --> above it and run it in tests/docs, or <!-- not run: REASON -->."
    )
    said, _, reason = block.mark.partition(": ")
    assert said.split()[0] == "run" or said.endswith(".py") or (said == "not run" and reason in REASONS), (
        block.mark
    )


@pytest.mark.parametrize(
    "page",
    sorted({each.page for each in CODE if (each.mark or "").startswith("run") and each.mark != "run by CI"}),
)
def test_a_page_with_blocks_that_are_run_has_a_test_that_reads_it(page):
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
    assert any(Path(page).name in path.read_text(encoding="utf-8") for path in tests), page


@named([block for block in CODE if block.language == "console"])
def test_every_command_is_one(block):
    if block.text.lstrip().startswith("..."):  # the rest of what a command printed
        assert block.mark.startswith("run"), block.mark
        return
    for words in block.commands:
        _check_command(words)


def _check_command(words: list[str]) -> None:
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    match words:
        case ["counterground", *rest]:
            _check_ours(rest)
        case ["pip", "install", *options]:
            _check_extras(options)
        case ["pipx", "run", "--spec", wheel, "counterground", *rest]:
            _check_extras([wheel])
            _check_ours(rest)
        case ["make", *rest]:
            targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            targets += [f"test-{room.name}" for room in (ROOT / "tests").iterdir()]
            assert {word for word in rest if "=" not in word} <= set(targets), words
        case ["python" | "python3" | ".venv/bin/python", "-m", module, *_]:
            assert module == "venv" or importlib.util.find_spec(module), module
        case ["python" | ".venv/bin/python" | "sbatch" | "kubectl" | ".venv/bin/pytest", *rest]:
            files = [word for word in rest if "/" in word and not word.startswith(("/", "-"))]
            assert files
            for file in files[:1]:
                assert (ROOT / file).exists(), file
        case [program, *_] if program.startswith("examples/"):
            assert (ROOT / program).exists(), program
        case ["for" | "export" | "ray" | "source" | "jupyter", *_]:
            pass
        case _:
            raise AssertionError(f"{words[0]!r} is not known to this test.")


def _check_ours(words: list[str]) -> None:
    command, context = counterground, click.Context(counterground, info_name="counterground")
    while isinstance(command, click.Group) and words and command.find(words[0]):
        command = command.find(words[0])
        context = click.Context(command, context, info_name=words[0])
        words = words[1:]
    if isinstance(command, click.Group):
        assert not words or words == ["--help"], words
        return
    values, rest, _ = command.make_parser(context).parse_args(list(words))
    if any(parameter.is_eager and values.get(parameter.name) is True for parameter in command.params):
        return  # as --list, which needs nothing else
    assert not rest, rest
    for parameter in command.params:
        value = values.get(parameter.name)
        missing = value in (None, (), []) or "UNSET" in repr(value)
        if missing:
            assert not parameter.required or "..." in words, f"{command.name} needs {parameter.opts}"
        elif isinstance(parameter.type, click.Choice):
            for each in value if parameter.multiple else [value]:
                parameter.type.convert(each, parameter, context)


def _check_extras(words: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for word in words:
        if found := re.fullmatch(r"(?:\.|WHEEL)\[(.+)\]", word):
            assert set(found[1].split(",")) <= set(extras), word
        elif not word.startswith("-"):
            assert (ROOT / word).exists(), word


@named([block for block in CODE if block.language == "python"])
def test_python_compiles_and_uses_what_there_is(block):
    tree = ast.parse(block.text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "counterground":
            module = importlib.import_module(node.module)
            named = {alias.name for alias in node.names} - {"construction", "paper"}  # the wings
            assert named <= set(getattr(module, "__all__", dir(module))), block.name
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "cg":
            assert node.attr in cg.__all__, node.attr
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("cg."):
            name = ast.unparse(node.func).removeprefix("cg.")
            if name.isidentifier():
                given = {keyword.arg: None for keyword in node.keywords if keyword.arg}
                inspect.signature(getattr(cg, name)).bind_partial(*node.args, **given)


@named([block for block in BLOCKS if block.language in ("csv", "json", "toml")])
def test_data_can_be_read(block):
    if block.language == "csv":
        header, *rows = csv.reader(block.text.strip().splitlines())
        assert rows
        assert all(len(row) == len(header) for row in rows)
    else:
        {"json": json.loads, "toml": tomllib.loads}[block.language](block.text)
