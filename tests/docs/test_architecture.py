"""docs/architecture.md names files and what they define; both must be there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
STEPS = re.findall(r"^\| `([a-z_/]+\.py)` \| `([A-Za-z_.]+)`((?:, `[A-Za-z_]+`)*) \|", PAGE, re.MULTILINE)


def _defined(file: Path) -> set[str]:
    tree = ast.parse(file.read_text())
    names = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
    return names


@pytest.mark.parametrize(("file", "first", "more"), STEPS)
def test_every_step_is_where_the_page_says(file, first, more):
    assert {first, *re.findall(r"[A-Za-z_]+", more)} <= _defined(ROOT / "src" / "counterground" / file)


def test_every_room_has_its_layer():
    layers = PAGE.partition("| what they hold |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`(\w+)`", layers))
    source = ROOT / "src" / "counterground"
    rooms = {
        path.stem for path in source.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert named == {room for room in rooms if not room.startswith("_")}
