"""The tutorial is run as a newcomer runs it, in a kernel of its own; its outputs say what its words say."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import polars as pl
import pytest
from nbclient import NotebookClient

from counterground.benchmarks import load_backgrounds, load_cutouts
from counterground.results import open_run

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.ipynb"


@pytest.fixture(scope="module")
def executed(tmp_path_factory, shared_cache):
    """The notebook with outputs, and the folder it was run in; only Debian's packages are there before."""
    folder, cache = tmp_path_factory.mktemp("tutorial"), tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNTERGROUND_CACHE", str(shared_cache))
        load_cutouts()
        load_backgrounds()
        (cache / "packages").symlink_to(shared_cache / "packages")
        patch.setenv("COUNTERGROUND_CACHE", str(cache))
        patch.setenv("IPYTHONDIR", str(cache / "ipython"))
        patch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        notebook = nbformat.read(PAGE, as_version=4)
        client = NotebookClient(
            notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
        )
        client.execute(env=os.environ.copy())
    return notebook, folder


def outputs(notebook, source):
    """What the cell that holds ``source`` gave: its printed text, HTML and number of pictures."""
    (cell,) = (c for c in notebook.cells if c.cell_type == "code" and source in c.source)
    printed = "".join(
        out.text for out in cell.outputs if out.output_type == "stream" and out.name == "stdout"
    )
    data = [out.data for out in cell.outputs if "data" in out]
    html = "".join(d.get("text/html", "") for d in data)
    return printed, html, sum("image/png" in d for d in data)


def test_no_output_and_no_photo_of_others_is_committed():
    notebook = nbformat.read(PAGE, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)
        assert "attachments" not in cell


@pytest.mark.slow
def test_the_planted_reliance_is_found_and_its_twin_is_cleared(executed):
    notebook, folder = executed
    run = open_run(folder / "tutorial" / "run")
    drops = run.estimates().filter(pl.col("class_index").is_null(), metric="drop")
    low = dict(drops.select("model", "low").iter_rows())
    high = dict(drops.select("model", "high").iter_rows())
    assert low["biased"] > 0.1
    for model in ("balanced", "lite0"):
        assert low[model] < 0 < high[model], "the text says that these hold zero"
    _, html, _ = outputs(notebook, "run = cg.evaluate")
    assert "<table" in html


@pytest.mark.slow
def test_scores_comparison_and_exports_are_shown(executed):
    notebook, folder = executed
    assert "<table" in outputs(notebook, "by_class=True")[1]
    compared = outputs(notebook, "cg.compare(run)")[1]
    assert "reflect its weaknesses" in compared
    assert "p (Holm)" in compared
    assert "Do larger models help?" in outputs(notebook, "Claims(")[0]
    assert (folder / "tutorial" / "report.html").stat().st_size > 100_000
    assert r"\toprule" in outputs(notebook, '"latex"')[0]


@pytest.mark.slow
def test_nothing_was_complained_of(executed):
    notebook, _ = executed
    said = [
        out.text
        for cell in notebook.cells
        for out in cell.get("outputs", [])
        if out.output_type == "stream" and out.name == "stderr"
    ]
    assert said == []
