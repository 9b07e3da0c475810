"""Charts and figures need extras: without them everything else works, and one line says what is missing."""

import sys

import pytest

from counterground.cli import main
from counterground.errors import UsageError
from counterground.paper.figures import write_figures
from counterground.reporting import write_report
from counterground.results import open_run


@pytest.fixture
def without(monkeypatch):
    """Function: from here on, importing these packages fails as if they were not installed."""

    def remove(*packages):
        # Ours that imported them before would go on with what they have.
        ours = [name for name in sys.modules if name.startswith("counterground.reporting.page.explorer")]
        for name in [name for name in sys.modules if name.partition(".")[0] in packages] + ours:
            monkeypatch.delitem(sys.modules, name)
        for package in packages:
            monkeypatch.setitem(sys.modules, package, None)

    return remove


def test_evaluate_finishes_without_the_chart_and_says_how_to_get_the_page(
    without, photos, tiny_clip, tmp_path, capsys
):
    without("altair", "vl_convert")
    out = tmp_path / "run"
    assert main(["evaluate", str(photos), "-m", f"open_clip:{tiny_clip}", "--out", str(out)]) == 0
    assert open_run(out).predictions.height == 48
    assert not (out / "report.html").exists()
    shown = capsys.readouterr()
    assert "Drop" in shown.out
    (line,) = [line for line in shown.err.splitlines() if "report.html" in line]
    assert (
        "was not written: The package altair is not installed: run `pip install '.[report]'` in your" in line
    )
    assert f"counterground report {out}" in line


def test_a_page_without_a_chart_needs_no_extra(without, make_run, tmp_path):
    without("altair", "vl_convert")
    run = make_run({"m": (0.7, 0.7)}, groups=False)
    assert "<table" in write_report([run], tmp_path / "r.html").read_text("utf-8")
    with pytest.raises(UsageError, match=r"altair is not installed: run `pip install '\.\[report\]'`"):
        write_report([make_run({"m": (0.7, 0.5)})], tmp_path / "chart.html")
    assert not (tmp_path / "chart.html").exists()


def test_figures_without_matplotlib_are_one_line_and_tables_need_none(without, tmp_path, capsys):
    without("matplotlib")
    assert main(["figures", "--only", "2a", "--out", str(tmp_path / "figures")]) == 2
    assert "matplotlib is not installed: run `pip install '.[figures]'`" in capsys.readouterr().err
    written = write_figures(out=tmp_path / "tables", only=["tables"])
    assert len(written.files) == 16 * 3 + 1
