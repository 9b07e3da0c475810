"""A page that names a test, or a file of tests, names one that is there."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "src/**/README.md", "tests/README.md", "bench/README.md")
    for page in ROOT.glob(pattern)
    if page.name != "CHANGELOG.md"
)
FILES = {path: path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
DEFINED = Counter(
    name for text in FILES.values() for name in re.findall(r"^(?: {4})?def (test_\w+)\(", text, re.MULTILINE)
)


def named(page: str) -> list[str]:
    return re.findall(r"`(?:pytest )?((?:tests/|test_)[\w/.]*(?:::\w+)?)`", (ROOT / page).read_text("utf-8"))


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_a_page_names_is_there(page):
    for name in named(page):
        path, _, test = name.partition("::")
        if path.startswith("tests/"):
            assert (ROOT / path).exists(), path
            assert not test or f"def {test}(" in (ROOT / path).read_text("utf-8"), name
        elif path.endswith(".py"):
            assert path in {file.name for file in FILES}, path
        else:
            assert DEFINED[path] == 1, f"{path}: not defined once but {DEFINED[path]} times"


def test_names_of_tests_are_found_in_the_pages():
    assert len(named("tests/README.md")) > 40
