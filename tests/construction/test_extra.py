"""Without the packages of the extra every command of the construction says in one line what to install."""

import json
import subprocess
import sys

import pytest

from counterground.pool import open_pool

CHILD = """
import contextlib, io, json, sys
missing, commands = json.loads(sys.argv[1])

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from counterground.cli import main
for words in commands:
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        status = main(words)
    print(json.dumps([status, said.getvalue()]))
"""
NAME = ["--annotator", "ann"]
COMMANDS = {
    "collect": ["collect", "new", "-c", "zebra"],
    "import": ["import", "new", "photos"],
    "curate": ["curate", "pool"],
    "label": ["label", "pool", *NAME],
    "pool": ["pool", "pool"],
    "export": ["export", "pool", "--format", "parquet", "--out", "out"],
    "discover": ["discover", "pool", "--referee", "efficientnet-lite0", "--out", "out"],
    "evaluate": ["evaluate", "pool", "-m", "efficientnet-lite0", "--out", "out"],
}


@pytest.mark.parametrize(
    ("missing", "names"),
    [
        ("sqlalchemy", list(COMMANDS)),
        ("starlette", ["label"]),
        ("uvicorn", ["label"]),
        ("imagehash", ["curate"]),
        ("pyinaturalist", ["collect"]),
    ],
)
def test_one_line_says_what_to_install(tmp_path, photos, missing, names):
    with open_pool(tmp_path / "pool", create=True) as pool:
        file = pool.files / "photo.jpg"
        file.write_bytes(next(photos.rglob("*.jpg")).read_bytes())
        pool.add_photos([{"path": "files/photo.jpg", "photo_id": "0" * 64, "class_name": "ice bear"}])
    arguments = json.dumps([[missing], [COMMANDS[name] for name in names]])
    done = subprocess.run(
        [sys.executable, "-c", CHILD, arguments], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(answers) == len(names)
    for name, (status, said) in zip(names, answers, strict=True):
        assert status == 2, (name, said)
        assert said.count("\n") == 1, (name, said)
        assert f"package {missing}" in said, name
        assert "pip install 'counterground[construction]'" in said, name
