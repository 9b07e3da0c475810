"""Results in the forms of others, read by their own code."""

import csv
import json
import subprocess
from pathlib import Path

import polars as pl
import pytest
import yaml
from evaluated import evaluated
from huggingface_hub import parse_eval_result_entries
from made_runs import ANIMALS, fresh_run, write_run

from counterground.api import share
from counterground.cli import main
from counterground.errors import CounterGroundError, UsageError
from counterground.photos import LabelSpace
from counterground.results import open_run

FORMATS = ("every-eval-ever", "hub", "timm")
TIMM = """Compose(
    Resize(size=256, interpolation=bicubic, max_size=None, antialias=True)
    CenterCrop(size=(224, 224))
    MaybeToTensor()
)"""
TORCHVISION = """ImageClassification(
    crop_size=[224]
    resize_size=[232]
    mean=[0.485, 0.456, 0.406]
    interpolation=InterpolationMode.BILINEAR
)"""


@pytest.fixture
def write(tmp_path):
    """Function: (preprocessing, model, level) -> the folder of a run of a model, classes of two sizes."""

    def write(preprocessing=TIMM, model="timm:resnet18.a1_in1k", level=(0.8, 0.5), name="run"):
        run = fresh_run({model: level}, lacking={3: "counter"})
        run.info.models[0].description["preprocessing"] = preprocessing
        folder = write_run(run, tmp_path / name)
        LabelSpace("imagenet", ANIMALS, [None] * len(ANIMALS)).save(folder / "label_space.json")
        return folder

    return write


def expected(folder):
    """Scores of a run over all classes: name here -> (value, low, high)."""
    scores = open_run(folder).scores()
    rows = scores.filter(pl.col("metric").is_in(["accuracy", "drop"]))
    return {
        row["level"] or row["metric"]: (row["value"], row["low"], row["high"])
        for row in rows.iter_rows(named=True)
    }


def validate(peers, root):
    """What the validator of Every Eval Ever says of all files below a folder."""
    files = sorted(str(file.relative_to(root)) for file in root.rglob("*.json*"))
    command = [peers, "-m", "every_eval_ever", "validate", "--format", "json", *files]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr)
    return done.returncode, json.loads(done.stdout)


def test_every_eval_ever_has_the_scores_and_the_answers_behind_them(write, tmp_path):
    folder = write()
    file = share(folder, tmp_path / "out", format="every-eval-ever")
    record = json.loads(file.read_text())

    found = {}
    for result in record["evaluation_results"]:
        ends = result["score_details"]["uncertainty"]["confidence_interval"]
        assert ends["confidence_level"] == 0.95
        found[result["evaluation_name"]] = (
            result["score_details"]["score"],
            ends["lower"],
            ends["upper"],
        )
    assert found == expected(folder)
    assert set(found) == {"accuracy", "common", "counter", "drop"}
    assert record["model_info"]["id"] == "timm/resnet18.a1_in1k"
    assert record["source_metadata"]["source_organization_name"] == "unknown"

    lines = (tmp_path / "out" / record["detailed_evaluation_results"]["file_path"]).read_text().splitlines()
    answers = pl.DataFrame(
        [
            (each["metadata"]["class_name"], each["evaluation"]["is_correct"])
            for each in map(json.loads, lines)
        ],
        schema=["name", "correct"],
        orient="row",
    )
    assert len(answers) == record["detailed_evaluation_results"]["total_rows"] == 340
    by_class = answers.group_by("name").agg(pl.col("correct").mean())
    assert by_class["correct"].mean() == pytest.approx(found["accuracy"][0])


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", ["timm:resnet18.a1_in1k", "hf-hub:org/clip@v1", "open_clip:B-32@a.pt?x=1", "mine"]
)
def test_the_validator_of_every_eval_ever_accepts_what_is_written(peers, write, tmp_path, model):
    share(write(model=model), tmp_path / "out", format="every-eval-ever")

    code, reports = validate(peers, tmp_path / "out")

    assert code == 0
    assert [(each["file_type"], each["line_count"]) for each in reports] == [
        ("aggregate", 0),
        ("instance", 340),
    ]
    assert all(each["valid"] and not each["errors"] and not each["warnings"] for each in reports)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("of", "broken", "culprit"),
    [
        (".json", ('"lower_is_better": false', '"lower_is_worse": false'), "lower_is_better"),
        (".json", ('"total_rows": 340', '"total_rows": 341'), "total_rows"),
        (".jsonl", ('"is_correct": false', '"is_correct": "maybe"'), "is_correct"),
    ],
)
def test_the_validator_refuses_a_file_that_was_broken(peers, write, tmp_path, of, broken, culprit):
    written = share(write(), tmp_path / "out", format="every-eval-ever")
    (file,) = written.parent.glob(f"*{of}")
    text = file.read_text()
    assert broken[0] in text
    file.write_text(text.replace(*broken))

    code, reports = validate(peers, tmp_path / "out")

    assert code == 1
    assert culprit in str([each["errors"] for each in reports])


def test_the_hub_reads_the_scores(write, tmp_path):
    folder = write()
    file = share(folder, tmp_path / "out", format="hub")

    entries = parse_eval_result_entries(yaml.safe_load(file.read_text()))

    assert file.parent == tmp_path / "out/.eval_results"
    scores = expected(folder)
    assert {each.task_id: each.value for each in entries} == {name: of[0] for name, of in scores.items()}
    for each in entries:
        _, low, high = scores[each.task_id]
        assert f"{low:.4f} to {high:.4f}" in each.notes
        assert "ab12" * 16 in each.notes  # no commit of the hub, so not the revision
        assert (each.dataset_id, each.dataset_revision) == ("stamps", None)


@pytest.mark.parametrize(
    ("preprocessing", "said"),
    [
        (TIMM, ("224", "0.875", "bicubic")),
        (TORCHVISION, ("224", str(224 / 232), "bilinear")),
        ({"transform": TIMM}, ("224", "0.875", "bicubic")),
        ("<function preprocess>", ("", "", "")),
    ],
)
def test_timm_has_percent_over_classes_and_the_crop_that_ran(write, tmp_path, preprocessing, said):
    folder = write(preprocessing)
    (row,) = csv.DictReader(share(folder, tmp_path / "out", format="timm").read_text().splitlines())

    assert ",".join(row) == ("model,top1,top1_err,top5,top5_err,param_count,img_size,crop_pct,interpolation")
    rows = open_run(folder).predictions.group_by("class_index")
    for column, right in (("top1", pl.col("correct")), ("top5", pl.col("true_rank") < 5)):
        percent = 100 * rows.agg(right.mean().alias("share"))["share"].mean()
        assert float(row[column]) == pytest.approx(percent, abs=1e-4)
        assert float(row[f"{column}_err"]) == pytest.approx(100 - percent, abs=1e-4)
    assert float(row["top1"]) < float(row["top5"]) < 100
    assert (row["model"], row["param_count"]) == ("resnet18.a1_in1k", "4.65")
    assert (row["img_size"], row["crop_pct"], row["interpolation"]) == said


@pytest.mark.parametrize("style", FORMATS)
def test_no_form_has_a_local_path(photos, tiny_clip, tmp_path, style):
    run = evaluated(photos, f"open_clip:{tiny_clip}", tmp_path / "run")
    assert str(tiny_clip) in (run.path / "run.json").read_text()

    assert main(["share", str(run.path), "--format", style, "-o", str(tmp_path / "out")]) == 0

    files = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert len(files) == (2 if style == "every-eval-ever" else 1)
    for file in files:
        shown = f"{file.relative_to(tmp_path)} {file.read_text()}"
        assert not [part for part in (str(tiny_clip.parent), str(Path.cwd()), ".jpg") if part in shown]


@pytest.mark.parametrize("style", FORMATS)
def test_the_same_run_may_be_written_again_and_another_does_not_replace_it(write, tmp_path, style):
    first, out = write(), tmp_path / "out"
    file = share(first, out, format=style)
    before = file.read_bytes()
    assert share(first, out, format=style) == file

    other = write(level=(0.3, 0.2), name="other")
    if style == "every-eval-ever":
        assert share(other, out, format=style) != file
    else:
        with pytest.raises(CounterGroundError, match="holds other results"):
            share(other, out, format=style)
    assert file.read_bytes() == before


@pytest.mark.parametrize("style", FORMATS)
def test_a_run_without_its_names_is_refused_as_a_bundle_is(write, tmp_path, style):
    folder = write()
    (folder / "label_space.json").unlink()

    with pytest.raises(UsageError, match="cannot be shared"):
        share(folder, tmp_path / "out", format=style)

    assert not (tmp_path / "out").exists()
