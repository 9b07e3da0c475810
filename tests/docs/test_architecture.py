"""docs/architecture.md has a layer for every room."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_room_has_its_layer():
    page = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"`(\w+)`", page.partition("| what they hold |")[2].partition("\n\n")[0]))
    source = ROOT / "src" / "counterground"
    rooms = {
        path.stem for path in source.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert named == {room for room in rooms if not room.startswith("_")}
