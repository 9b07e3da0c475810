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
