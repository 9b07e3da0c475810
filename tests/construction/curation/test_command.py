"""``counterground curate`` as it is typed."""

from __future__ import annotations

from click.testing import CliRunner

from counterground.construction.cli import curate
from counterground.errors import UsageError


def run(*words):
    return CliRunner().invoke(curate, [str(word) for word in words])


def test_what_is_printed(make_pool, animals, spoil):
    pool = make_pool(
        {
            "zebra/good.jpg": animals["bison"],
            "zebra/blurred.jpg": spoil.blurred(animals["koala"], 5),
            "lion/text.jpg": b"<html>",
        }
    )
    shown = run(pool.root)
    assert shown.exit_code == 0
    text = " ".join(shown.stdout.split())
    assert "2 of 3 photos flagged for review." in text
    assert "It cannot be read: not an image." in text
    assert f"counterground label {pool.root} --task review" in text
    assert "zebra/good.jpg" not in text
    shorter = run(pool.root, "--top", "0", "--threshold", "min_sharpness=0")
    assert "1 of 3 photos flagged for review; 1 measured now, 2 earlier." in " ".join(
        shorter.stdout.split()
    )  # what cannot be read is tried again
    assert "most doubtful" not in shorter.stdout


def test_mistakes_reach_the_one_line_of_the_command(tmp_path, make_pool, animals):
    assert isinstance(run(tmp_path / "nowhere").exception, UsageError)
    pool = make_pool({"zebra/good.jpg": animals["bison"]})
    huge = run(pool.root, "--threshold", f"max_rank={'9' * 400}")
    assert isinstance(huge.exception, UsageError)
    assert "max_rank must lie between" in str(huge.exception)
    wrong = run(pool.root, "--limit", "sharpness=1")
    assert isinstance(wrong.exception, UsageError)
    assert "min_sharpness" in str(wrong.exception)
