"""A folder of labelled photos."""

from __future__ import annotations

from pathlib import Path

import pytest
from photo_server import photo_bytes


@pytest.fixture
def labelled(tmp_path) -> Path:
    root = tmp_path / "animals"
    places = [("zebra", "grass"), ("zebra", "road"), ("flamingo", "water")]
    for seed, (animal, background) in enumerate(places * 3):
        (root / animal / background).mkdir(parents=True, exist_ok=True)
        (root / animal / background / f"{seed // 3}.jpg").write_bytes(photo_bytes(seed))
    return root
