"""Every command of docs/predictions.md and docs/camera-traps.md runs on the tables that these pages show."""

import json
import re
import shlex
from pathlib import Path

import pytest

from counterground.cli import main
from counterground.results import open_run

DOCS = Path(__file__).parents[2] / "docs"


def run_page(page):
    """Save the tables of a page and run its commands in the working folder."""
    text = (DOCS / page).read_text("utf-8")
    for name, table in re.findall(r"<!-- (\w+\.csv) -->\n```csv\n(.*?)```", text, re.DOTALL):
        if not Path(name).exists():
            Path(name).write_text(table, "utf-8")
    run_blocks(text, "run")


def run_blocks(text, mark):
    blocks = re.findall(rf"<!-- {mark} -->\n```console\n(.*?)```", text, re.DOTALL)
    for line in "".join(blocks).replace("\\\n", "").splitlines():
        assert main(shlex.split(line)[1:]) in (0, 4), line  # 4: four photos leave a check undecided


def test_predictions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_page("predictions.md")
    assert open_run("runs/given").predictions["correct"].to_list() == [True, False, True, True]
    assert Path("given.html").stat().st_size > 10_000
    readme = (DOCS.parent / "README.md").read_text("utf-8")
    run_blocks(readme.replace("runs/given", "runs/again"), "run with the tables of docs/predictions.md")
    assert open_run("runs/again").predictions.equals(open_run("runs/given").predictions)


def test_camera_traps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    header = re.search(r"^File,.*", (DOCS / "camera-traps.md").read_text("utf-8"), re.MULTILINE)[0]
    rows, predictions = [], []
    for number in range(240):
        camera, species = f"C{number % 12:02d}", ("red fox", "roe deer", "blank")[number // 12 % 3]
        file = f"{camera}/IMG_{number:04d}.JPG"
        habitat, time = ("forest", "meadow")[number % 2], ("day", "night")[number // 6 % 2]
        rows.append(f"{file},{species},{camera},{habitat},2026-05-01 06:12,{time}")
        right = (number * 7) % 10 < 8 - number % 4
        label = "5;mammalia;carnivora;canidae;vulpes;vulpes;red fox"
        label = f"6;;;;;;{species}" if right else label if species != "red fox" else "7;aves;;;;;bird"
        predictions.append({"filepath": f"photos/{file}", "prediction": label, "prediction_score": 0.9})
    Path("traps.csv").write_text("\n".join([header, *rows, ""]), "utf-8")
    Path("speciesnet.json").write_text(json.dumps({"predictions": predictions}), "utf-8")
    run_page("camera-traps.md")
    run = open_run("runs/traps")
    assert len(run.predictions) == 168
    assert run.info.models[0].description["format"] == "SpeciesNet"
    assert set(run.predictions["cluster"]) == {f"C{number:02d}" for number in range(12)}
    assert run.predictions["predicted_index"].null_count() > 0
    assert run.predictions["correct"].mean() == pytest.approx(0.65, abs=0.1)
