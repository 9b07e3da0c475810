"""The documentation site: every page is in its navigation, and what is wrong with built pages is found."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from counterground.cli import counterground

ROOT = Path(__file__).parents[2]
GENERATED = ("reference/", "index.md", "tutorial.md", "contributing.md", "changelog.md")


def make_site():
    spec = importlib.util.spec_from_file_location("make_site", ROOT / "scripts" / "make_site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def leaves(entry):
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [leaf for part in parts for leaf in leaves(part)]


def test_every_page_and_every_command_is_in_the_navigation():
    listed = leaves(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert len(listed) == len(set(listed))
    written = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert written == {page for page in listed if not page.startswith(GENERATED)}, (
        "add the page to nav in mkdocs.yml"
    )
    assert {
        f"reference/commands/{name}.md"
        for name in [*counterground.list_commands(click.Context(counterground)), "index"]
    } == {page for page in listed if page.startswith("reference/commands/")}


def test_the_pages_written_have_formulae_links_and_options(tmp_path):
    module = make_site()
    site = module.Site(tmp_path)
    site.write()
    module.reference(site)
    statistics = (tmp_path / "statistics.md").read_text()
    assert statistics.count("<math") > 30
    assert "$" not in statistics.replace("`$", "")
    assert "](repository/metrics/index.md)" in statistics
    assert "](data.md)" in (tmp_path / "index.md").read_text()
    command = (tmp_path / "reference/commands/evaluate.md").read_text()
    for option in counterground.commands["evaluate"].params[1:]:
        assert max(option.opts, key=len) in command
    assert "::: counterground.evaluate" in (tmp_path / "reference/python/index.md").read_text()


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ('<script src="https://example.org/a.js"></script>', "index.html loads https://example.org/a.js"),
        ('<link rel="stylesheet" href="//example.org/a.css">', "index.html loads //example.org/a.css"),
        ('<p style="background: url(https://example.org/a.png)"></p>', "loads https://example.org/a.png"),
        ('<a href="absent.html">x</a>', "links to absent.html, which is not there"),
        ('<a href="#absent">x</a>', "the page has no such place"),
        ('<a href="https://example.org">x</a><a href="#here">y</a><p id="here"></p>', None),
    ],
)
def test_what_is_wrong_with_a_page_is_found(body, complaint, tmp_path):
    (tmp_path / "index.html").write_text(f"<html><body>{body}</body></html>")
    command = [sys.executable, str(ROOT / "scripts" / "check_site.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == (1 if complaint else 0), done.stderr
    assert (complaint or "1 pages") in done.stderr + done.stdout
