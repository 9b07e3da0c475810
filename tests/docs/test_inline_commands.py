"""Commands in sentences and tables have the options that they name; those of the paper's numbers run."""

import re
import shlex
from pathlib import Path

import click
import pytest

import counterground.cli
from counterground.cli import main

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for pattern in ("README.md", "docs/**/*.md", "src/**/README.md")
    for page in ROOT.glob(pattern)
)
ANYWHERE = {"--help", "--debug", "--offline"}
(TOP,) = (
    each
    for each in vars(counterground.cli).values()
    if isinstance(each, click.Group) and each.name == "counterground"
)


def inline(page: str) -> list[list[str]]:
    """The words of each command in backticks, outside of blocks, that is no pattern such as COMMAND."""
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    commands = [shlex.split(found) for found in re.findall(r"`counterground\s+([^`]+)`", text)]
    return [words for words in commands if words[0] != "COMMAND"]


@pytest.mark.parametrize("page", [page for page in PAGES if inline(page)])
def test_commands_have_the_options_that_they_name(page):
    for words in inline(page):
        command, rest = TOP, list(words)
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            found = command.get_command(click.Context(command), rest.pop(0))
            assert found is not None, words
            command = found
        known = {name for part in command.params for name in (*part.opts, *part.secondary_opts)} | ANYWHERE
        assert {word for word in rest if re.match(r"--?[a-z]", word)} <= known, words


def test_commands_about_the_papers_numbers_run(capsys):
    """They need neither photos nor weights."""
    commands = [
        words
        for words in inline("docs/research/reproduction.md")
        if (words[0] in ("models", "compare") or words[:2] == ["paper", "reproduce"])
        and not any(word.startswith("runs/") for word in words)
    ]
    assert len(commands) >= 5
    for words in {tuple(words): words for words in commands}.values():
        assert main(words) == 0, (words, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("words", "page"),
    [
        *(("plan", "gate"), ("check", "gate"), ("compare", "write-up"), ("data masks", "masks")),
        ("swap", "swap"),
    ],
)
def test_every_usual_setting_of_a_command_is_explained(words, page):
    command = TOP
    for word in words.split():
        command = command.find(word)
    text = (ROOT / "docs" / f"{page}.md").read_text()
    for name in {*command.callback.settings.usual} - {
        "overwrite",
        "models",
        "drop",
        "label_space",
        "device",
        "accept_licences",
    }:
        (option,) = (each for each in command.params if each.name == name)
        assert any(re.search(rf"{spelling}(?![\w-])", text) for spelling in option.opts), name
