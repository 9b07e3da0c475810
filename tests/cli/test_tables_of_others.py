"""A table that somebody else made, from its own names of columns to scores by these names."""

import json

import pytest
from noise_photos import save_noise

import counterground as cg
from counterground.cli import main
from counterground.results import repeat_command

MAP = "path=Image,class_name=Animal,background=Habitat,cluster=Camera Site"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("others")
    lines = ["Image,Animal,Habitat,Camera Site,Season", "gone.jpg,flamingo,sky,C1,dry"]
    for number in range(24):
        save_noise(folder / f"{number}.jpg", number)
        animal = ("flamingo", "black swan", "Blank")[number % 3]
        habitat, season = ("sky", "water")[number // 3 % 2], ("dry", "wet")[number // 6 % 2]
        lines.append(f"{number}.jpg,{animal},{habitat},C{number // 6},{season}")
    (folder / "photos.csv").write_text("\n".join(lines))
    words = ["evaluate", f"{folder}/photos.csv", "-m", "colour_model:thousand", "-q", "-X", "report=no"]
    words += ["--map", MAP.partition(",class")[0], "--map", f"class{MAP.partition(',class')[2]}"]
    words += ["--skip-bad-rows", "--drop-classes", "blank", "-o", f"{folder}/run"]
    assert main(words) == 0
    return cg.open_run(folder / "run")


def test_what_was_chosen_is_recorded_and_repeated(run):
    assert run.info.settings == {
        "map": dict(pair.split("=") for pair in MAP.split(",")),
        "skip_bad_rows": True,
        "drop_classes": ["blank"],
    }
    assert run.info.counts.photos == 16
    assert len([note for note in run.info.benchmark.notes if "left out" in note]) == 2
    command = repeat_command(run)
    assert f"--map '{MAP}'" in command
    assert "-X skip-bad-rows=yes" in command
    assert "--drop-classes blank" in command


@pytest.mark.parametrize(
    ("theirs", "ours"), [("Habitat", "background"), ("Camera Site", "cluster"), ("Season", "season")]
)
def test_columns_keep_their_own_names(run, theirs, ours, capsys):
    assert run.scores(theirs).equals(run.scores(ours))
    assert main(["scores", str(run.path), "--by", theirs]) == 0
    assert capsys.readouterr().out
    assert main(["scores", str(run.path), "--by", theirs, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["column"] for row in rows["rows"]} == {theirs}


def test_contrasts_know_them_too(run):
    theirs = run.scores(contrast="Habitat=sky - Habitat=water")
    assert theirs.equals(run.scores(contrast="background=sky - background=water"))
    quoted = run.contrast("'Camera Site'=C0 - \"Camera Site\"=C1 within Animal")
    assert quoted == run.contrast("cluster=C0 - cluster=C1")
    assert {"habitat", "camera_site", "location"}.isdisjoint(run.photos.columns)
