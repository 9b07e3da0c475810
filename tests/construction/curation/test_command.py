"""``counterground data curate`` as it is typed."""

from __future__ import annotations

from click.testing import CliRunner

from counterground.construction.cli import curate
from counterground.errors import UsageError


def run(*words):
    return CliRunner().invoke(curate, [str(word) for word in words])


def test_mistakes_reach_the_one_line_of_the_command(tmp_path, make_pool, animals):
    assert isinstance(run(tmp_path / "nowhere").exception, UsageError)
    pool = make_pool({"zebra/good.jpg": animals["bison"]})
    wrong = run(pool.root, "-X", "sharpness=1")
    assert isinstance(wrong.exception, UsageError)
    assert "min_sharpness" in str(wrong.exception)
