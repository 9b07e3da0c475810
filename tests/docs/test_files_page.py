"""docs/files.md is what its script writes from the schemas, and names the files that a run holds."""

import importlib.util
import re
from pathlib import Path

from counterground.inference import evaluate_models
from counterground.photos import read_benchmark
from counterground.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "files.md").read_text("utf-8")


def test_the_page_is_current():
    spec = importlib.util.spec_from_file_location("files_page", ROOT / "scripts" / "make_files_page.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.files_page(PAGE) == PAGE, "run python scripts/make_files_page.py"


def test_every_file_of_a_run_is_on_it(photos, tiny_clip, tmp_path):
    chosen = Settings(label_space="benchmark")
    run = tmp_path / "run"
    evaluate_models(read_benchmark(photos), [f"open_clip:{tiny_clip}"], chosen, run)
    section = PAGE.split("## A run")[1].split("\n## ")[0]
    files = {file.name for file in run.iterdir()}
    assert files == set(re.findall(r"^### (\S+)$", section, re.MULTILINE)) - {
        "answers.parquet",
        "left_out.csv",
    }
