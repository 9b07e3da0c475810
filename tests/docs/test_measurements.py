"""bench/README.md lists every bench, and every number that a page marks as measured."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "bench" / "README.md").read_text()
MARKED = re.compile(r"<!-- measured -->\s(.+?)(?:\n\n|\n- |\Z)", re.DOTALL)
"""The rest of a paragraph, list item or table after this comment quotes numbers that are listed."""
PARAGRAPHS = [
    (page.relative_to(ROOT).as_posix(), text)
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
    for text in MARKED.findall(page.read_text())
]


def test_every_bench_is_listed_and_every_listed_one_exists():
    folder = ROOT / "bench"
    benches = {str(path.relative_to(folder)) for path in folder.rglob("[!_]*.py")}
    assert set(re.findall(r"bench/([\w/]+\.py)", PAGE)) == benches


@pytest.mark.parametrize(("page", "paragraph"), PARAGRAPHS)
def test_numbers_marked_as_measured_are_listed(page, paragraph):
    numbers = re.findall(r"(?<![\w.])\d+\.\d+", paragraph)
    assert numbers, "nothing to look up below the comment"
    for number in numbers:
        assert re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", PAGE), f"{number} in {page}"
