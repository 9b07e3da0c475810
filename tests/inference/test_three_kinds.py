"""A CLIP, an ImageNet model and an LVLM on photographs of stamps: one file of predictions, one report."""

from __future__ import annotations

import json

import polars as pl
import pytest
import tiny_lvlm

from counterground.cli import main

CLIP, IMAGENET = "counterground:stamps-biased", "efficientnet-lite0"


@pytest.mark.slow
def test_one_line_evaluates_all_three(stamps, tmp_path, capsys):
    lvlm = f"hf:{tiny_lvlm.build('llava', tmp_path / 'lvlm')}"
    twenty = tmp_path / "twenty"
    models = ["-m", CLIP, "-m", IMAGENET, "-m", lvlm]
    space = ["--label-space", "confusable", "--referee", CLIP]
    assert main(["evaluate", str(stamps.root), *models, *space, "--out", str(twenty)]) == 0, (
        capsys.readouterr().err
    )
    table = pl.read_parquet(twenty / "predictions.parquet")
    assert dict(table.group_by("model").len().iter_rows()) == dict.fromkeys((CLIP, IMAGENET, lvlm), 36)
    candidates = json.loads((twenty / "label_space.json").read_text())["candidates"]
    assert [len(names) for names in candidates.values()] == [20, 20]
    report = (twenty / "report.html").read_text()
    assert all(name in report for name in ("stamps-biased", IMAGENET, "lvlm"))
    thousand = [
        "evaluate",
        str(stamps.root),
        *models[:4],
        "--label-space",
        "imagenet",
        "--out",
        str(tmp_path / "k"),
    ]
    assert main(thousand) == 0, capsys.readouterr().err
    table = pl.read_parquet(tmp_path / "k" / "predictions.parquet")
    right = dict(table.group_by("model").agg(pl.col("correct").mean()).iter_rows())
    assert set(right) == {CLIP, IMAGENET}
    assert right[IMAGENET] > 0.5, "weights that know these animals, fed as they were trained"
