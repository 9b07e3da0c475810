"""``counterground compare`` in every format, without a network."""

import csv
import io
import json
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import pytest
from made_runs import write_run
from paper_sized import OPEN_CLIP_REFEREE, make_paper_run, printed_accuracies

from counterground.cli import main

L14 = "open_clip:ViT-L-14/openai"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two runs: of the paper's size, and small on another benchmark."""
    root = tmp_path_factory.mktemp("runs")
    levels = {OPEN_CLIP_REFEREE: printed_accuracies("CLIP-LAION400M-ViT/B/32"), L14: (0.855, 0.704)}
    write_run(make_paper_run(levels, path="mine", names="openai"), root / "mine")
    small = {f"efficientnet-lite{k}": (0.7 + 0.05 * k, 0.55 + 0.07 * k) for k in range(3)}
    small["counterground:stamps-biased"] = (0.6, 0.2)
    write_run(make_paper_run(small, sizes=np.full((8, 2), 40), name="stamps", path="small"), root / "small")
    return root


def ran(*words, width=80, status=0):
    """The output of the command (for a failure, its error), with no network to be had."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setenv("COLUMNS", str(width))
        patch.setenv("http_proxy", "http://127.0.0.1:9")
        patch.setenv("https_proxy", "http://127.0.0.1:9")
        patch.setenv("HF_HUB_OFFLINE", "1")
        found = main(["compare", *map(str, words)])
    assert found == status, err.getvalue()
    lines = [line.rstrip() for line in (out if status == 0 else err).getvalue().splitlines()]
    return "\n".join([*lines, ""])


def test_the_paper_alone_fits_80_columns():
    said = ran("--published")
    lines = said.splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line for line in lines[: lines.index("")] if any(sign.isdigit() for sign in line[26:])]
    assert lines[0].startswith("43 models on counteranimal")
    assert len([line for line in rows if "–" in line[-8:]]) == 43
    assert "1.214 [1.144, 1.284] × probit(common)" in " ".join(said.split())
    assert "−0.619 [−0.681, −0.556]" in " ".join(said.split())


def test_csv_has_a_row_per_model_in_fractions():
    rows = list(csv.DictReader(io.StringIO(ran("--published", "--format", "csv"))))
    assert len(rows) == 43 + 30
    first = rows[0]
    assert (first["model"], float(first["common"]), first["parameters"]) == (
        "CLIP-OpenAI-RN50",
        0.6402,
        "102007137",
    )
    assert float(first["residual_low"]) < float(first["residual"]) < float(first["residual_high"])


def test_json_holds_everything(folders):
    record = json.loads(ran(folders / "mine", "--published", "--format", "json"))
    assert len(record["models"]) == 43 + 30 + 2
    assert [line["source"] for line in record["lines"]] == ["paper", "reproduction"]
    assert record["lines"][0]["fit"]["n"] == 15
    assert {row["metric"] for row in record["tests"]} == {"accuracy", "drop"}
    assert {"unlike_paper", "chose_here"} <= {each["code"] for each in record["findings"]}


def test_markdown_and_latex_hold_the_same_tables(folders):
    text = ran(folders / "small", "--published", "--format", "markdown")
    assert text.count("\n### ") + text.startswith("### ") == 4
    assert "| LAION400M ViT/B/32 | 67.1 | 37.0 | 30.2 | 28.8 |" in text
    tex = ran(folders / "small", "--published", "--format", "latex")
    assert tex.count(r"\toprule") >= 3
    assert "LAION400M ViT/B/32 & 67.1 & 37.0 & 30.2" in tex
    assert len({line for line in tex.splitlines() if "label{" in line}) == tex.count(r"\label{")


def test_runs_alone_are_tested_against_a_model(folders):
    against = ran(folders / "small", "--against", "efficientnet-lite0", "--format", "json")
    pairs = {row["versus"] for row in json.loads(against)["tests"]}
    assert pairs == {"efficientnet-lite0"}


def test_names_of_models_are_only_text(tmp_path):
    spec = "mine:a|b_<b>[red]x[/red]"
    levels = {spec: (0.8, 0.6), "mine:Wölfe": (0.7, 0.6)}
    folder = write_run(make_paper_run(levels, sizes=np.full((4, 2), 9), name="s"), tmp_path / "r")
    assert "[red]x[/red]" in ran(folder, width=200)
    assert '"mine:Wölfe"' in ran(folder, "--format", "json")
    assert r"a\|b\_\<b\>" in ran(folder, "--format", "markdown")
    assert r"a\textbar{}b\_\textless{}b\textgreater{}" in ran(folder, "--format", "latex")
