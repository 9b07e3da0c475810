"""docs/architecture.md names files and what they define; both must be there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
STEPS = re.findall(r"^ +([a-z_/]+\.py) +([A-Za-z_.]+)((?:, [A-Za-z_]+)*)", PAGE, re.MULTILINE)


def _defined(file: Path) -> set[str]:
    tree = ast.parse(file.read_text())
    names = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
    return names


@pytest.mark.parametrize(("file", "first", "more"), STEPS)
def test_every_step_is_where_the_page_says(file, first, more):
    names = [first, *more.removeprefix(", ").split(", ")] if more else [first]
    assert set(names) <= _defined(ROOT / "src" / "counterground" / file)


def test_each_way_fits_a_screen():
    ways = re.findall(r"```\n(.*?)```", PAGE, re.DOTALL)
    assert len(ways) == 4
    assert len(STEPS) > 30
    assert all(len(way.splitlines()) < 40 and max(map(len, way.splitlines())) <= 130 for way in ways)
