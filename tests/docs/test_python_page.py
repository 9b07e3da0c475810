"""The examples of docs/python.md run one after the other, as in one session."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


def test_models_and_photos_in_memory_as_the_page_says(photos, monkeypatch, capsys):
    folder = photos.rename(photos.parent / "my-photos").parent
    monkeypatch.chdir(folder)
    names: dict = {"__name__": "a notebook"}
    blocks = re.findall(r"<!-- run -->\n```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert len(blocks) == 5
    for block in blocks:
        exec(block, names)
    said = capsys.readouterr().out
    assert "| two towers |" in said
    assert (folder / "runs" / "first" / "report.html").stat().st_size > 10_000
    assert set(names["run"].predictions["model"]) == set(names["models"])
    frame, memory = names["benchmark"].photos, names["in_memory"].photos
    said_of = ["class_name", "background", "group"]
    assert frame.sort("path").select(said_of).equals(memory.select(said_of))
    assert set(names["compared"].tests["versus"]) == {"mine"}
    assert names["scores"].height
