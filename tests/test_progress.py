"""The progress bar: what is written where nobody watches, and what stays."""

from __future__ import annotations

import pytest

from counterground.progress import progress_bar


@pytest.mark.parametrize("keep", [True, False])
def test_nothing_is_written_unless_it_is_shown(capsys, keep):
    with progress_bar("measuring", total=3, shown=False, keep=keep) as bar:
        bar.advance(3)
    assert capsys.readouterr().err == ""


def test_a_file_gets_no_line_of_a_bar_that_disappears(capsys):
    with progress_bar("fetching", "bytes", shown=True) as bar:
        bar.update(5, 10)
    assert capsys.readouterr().err == ""


def test_a_file_gets_the_last_state_of_a_bar_that_stays(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    with progress_bar("a [model]", "steps", total=4, shown=True, keep=True) as bar:
        bar.advance()
        bar.advance(2)
        bar.note("loss 0.5")
    written = capsys.readouterr().err
    assert "a [model]" in written
    assert "3/4" in written
    assert "loss 0.5" in written
    assert "steps/s" in written


def test_an_update_says_what_is_being_done_and_clears_the_note(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    with progress_bar("first", "files", shown=True, keep=True) as bar:
        bar.note("waiting")
        bar.update(2, 5, "second")
    written = capsys.readouterr().err
    assert "second" in written
    assert "2/5" in written
    assert "waiting" not in written
