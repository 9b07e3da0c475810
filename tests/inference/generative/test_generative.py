"""Generative models, evaluated beside encoders with the same rules."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import polars as pl
import pytest
from evaluated import evaluated as run_on
from PIL import Image
from safetensors.numpy import load_file

import counterground as cg
from counterground.errors import CounterGroundError
from counterground.models import load_model

QUESTION = "What is the main object in the image?"
CLASSIFIER = """
import torch
class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.head = torch.nn.Linear(3 * 8 * 8, 1000)
    def forward(self, batch): return self.head(batch.flatten(1))
def preprocess(image):
    import numpy as np
    pixels = np.asarray(image.resize((8, 8)), dtype=np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)
def load(): return Network(), preprocess
"""


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def classifier(tmp_path, monkeypatch) -> str:
    (tmp_path / "imagenet_like.py").write_text(CLASSIFIER)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "imagenet_like:load"
    sys.modules.pop("imagenet_like", None)


def test_three_kinds_give_one_predictions_file_and_one_report(few, tiny_clip, classifier, llava, tmp_path):
    specs = [f"open_clip:{tiny_clip}", classifier, f"hf:{llava}"]
    run = cg.evaluate(few, specs, out=tmp_path / "run", label_space="confusable", referee=specs[0])
    assert [model.kind for model in run.info.models] == ["dual_encoder", "classifier", "generative"]
    table = pl.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert table.group_by("model").len()["len"].to_list() == [18, 18, 18]
    assert set(table["label_space"]) == {"confusable"}
    generated = table.filter(pl.col("model") == specs[2])
    assert set(generated["protocol"]) == {"answer-loss"}
    assert generated["loss_sum"].null_count() == 0
    assert table.filter(pl.col("model") != specs[2])["loss_sum"].null_count() == 36
    candidates = json.loads((tmp_path / "run" / "label_space.json").read_text())["candidates"]
    assert {len(names) for names in candidates.values()} == {20}
    allowed = {run.info.texts[index] for names in candidates.values() for index in names}
    assert set(generated["predicted_name"]) <= allowed
    report = cg.report([run], tmp_path / "report.html").read_text()
    assert all(spec.rpartition("/")[2] in report for spec in specs)
    assert "answer-loss" in report
    scores = cg.scores(tmp_path / "run")
    assert scores.filter((pl.col("metric") == "drop") & pl.col("class_index").is_null()).height == 3
    compared = cg.compare(run)
    pairs = set(compared.tests.select("model", "versus").rows())
    first, second, third = specs
    assert pairs == {(first, second), (first, third), (second, third)}
    thousand = cg.evaluate(few, specs[:2], out=tmp_path / "thousand", label_space="imagenet")
    assert len(thousand.predictions) == 36


def test_the_lowest_loss_wins_and_both_losses_are_kept(few, llava, tmp_path):
    run = run_on(few, f"hf:{llava}", tmp_path / "run")
    model = load_model(f"hf:{llava}", device="cpu")
    texts = run.info.texts
    for row in run.predictions.iter_rows(named=True):
        image = Image.open(few / row["path"]).convert("RGB")
        sums, tokens = model.losses(image, [QUESTION] * 3, [f"A {name}" for name in texts])
        means = sums / tokens
        best = int(means.argmin())
        assert row["predicted_index"] == best
        assert (
            row["predicted_name"]
            == run.predictions.select("class_index", "class_name")
            .unique()
            .filter(pl.col("class_index") == best)["class_name"]
            .item()
        )
        assert row["loss_sum"] == pytest.approx(float(sums[best]), rel=1e-5)
        assert row["loss_mean"] == pytest.approx(float(means[best]), rel=1e-5)
        assert row["top2_gap"] == pytest.approx(float(np.sort(means)[1] - means[best]), rel=1e-3, abs=1e-5)
        assert row["true_rank"] == int((means < means[row["class_index"]]).sum())
        share = np.exp(-sums[best]) / np.exp(-sums.astype(np.float64)).sum()
        assert row["confidence"] == pytest.approx(float(share), rel=1e-3)
        assert row["prompts"] == f"{QUESTION} A {{}}"


def test_sums_are_another_setting_and_score_nothing_again(few, llava, tmp_path, cache):
    mean = run_on(few, f"hf:{llava}", tmp_path / "mean")
    shards = {path: path.stat().st_mtime_ns for path in cache.glob("losses/*/*.safetensors")}
    assert shards
    total = run_on(few, f"hf:{llava}", tmp_path / "sum", loss="sum")
    assert shards == {path: path.stat().st_mtime_ns for path in cache.glob("losses/*/*.safetensors")}
    assert set(total.predictions["answer_score"]) == set(total.estimates()["answer_score"]) == {"sum"}
    assert set(mean.predictions["answer_score"]) == {"mean"}
    assert set(total.predictions["protocol"]) == set(mean.predictions["protocol"]) == {"answer-loss"}
    assert total.info.settings["loss"] == "sum"
    assert (total.predictions["loss_sum"] <= mean.predictions["loss_sum"] + 1e-6).all()
    with pytest.raises(CounterGroundError, match="holds another run"):
        run_on(few, f"hf:{llava}", tmp_path / "sum")


def test_yes_no_asks_both_questions_of_the_paper(few, llava, tmp_path):
    run = run_on(few, f"hf:{llava}", tmp_path / "run", protocol="yes-no")
    assert run.predictions.group_by("prompts").len().sort("prompts").rows() == [
        ("Is there a {} in the image? Yes", 18),
        ("Is this image a photo of {}? Yes", 18),
    ]
    model = load_model(f"hf:{llava}", device="cpu")
    row = run.predictions.filter(pl.col("prompts").str.starts_with("Is this")).row(5, named=True)
    image = Image.open(few / row["path"]).convert("RGB")
    questions = [f"Is this image a photo of {name}?" for name in run.info.texts]
    sums, _ = model.losses(image, questions, ["Yes"] * 3)
    assert row["predicted_index"] == int(sums.argmin())
    assert row["loss_sum"] == pytest.approx(float(sums.min()), rel=1e-5)
    asked = run.info.models[0].description["asked"]
    assert asked[0]["example"].startswith("USER: <image>\nIs there a ")
    assert asked[0]["example"].endswith("ASSISTANT: Yes")


def test_describe_asks_for_details(few, llava, tmp_path):
    run = run_on(few, f"hf:{llava}", tmp_path / "run", protocol="describe")
    assert set(run.predictions["prompts"]) == {"Describe this image in detail. A {}"}
    assert run.info.settings["protocol"] == "describe"


def test_unreadable_photos_are_listed_and_copies_scored_once(few, tiny_clip, llava, tmp_path, cache):
    (few / "flamingo/common-water/text.jpg").write_text("not a photograph")
    shutil.copy(few / "flamingo/common-water/1.jpg", few / "flamingo/counter-sky/copy.jpg")
    run = run_on(few, [f"hf:{llava}", f"open_clip:{tiny_clip}"], tmp_path / "run")
    assert run.predictions.group_by("model").len()["len"].to_list() == [19, 19]
    assert run.info.counts.unreadable == 1
    assert "text.jpg" in (tmp_path / "run" / "unreadable.csv").read_text()
    shards = [load_file(path)["photo_id"] for path in cache.glob("losses/*/[!.]*.safetensors")]
    photos = [photo.tobytes() for photo in np.concatenate(shards)]
    assert len(set(photos)) == len(photos) == 19
    again = run_on(few, [f"hf:{llava}", f"open_clip:{tiny_clip}"], tmp_path / "again")
    assert again.predictions.equals(run.predictions)


def test_the_batch_size_changes_no_bit(few, llava, tmp_path, monkeypatch):
    tables = []
    for size in (1, 7):
        monkeypatch.setenv("COUNTERGROUND_CACHE", str(tmp_path / f"cache{size}"))
        run_on(few, f"hf:{llava}", tmp_path / f"run{size}", batch_size=size)
        tables.append(cg.open_run(tmp_path / f"run{size}").predictions)
    assert tables[0].equals(tables[1])


def test_killed_runs_resume_to_the_same_bytes(few, killed_and_resumed):
    killed_and_resumed(few, 9, label_space="benchmark")


def test_free_form_answers_are_written_and_unmatched_ones_counted(few, llava, tmp_path):
    run = run_on(few, f"hf:{llava}", tmp_path / "run", protocol="free-form")
    spec = run.info.models[0].spec
    answers = pl.read_parquet(tmp_path / "run" / "answers.parquet")
    assert answers.height == 18
    unmatched = answers["named"].null_count()
    assert run.info.counts.unmatched == {spec: unmatched}
    assert run.predictions["predicted_index"].null_count() == unmatched > 0
    assert not run.predictions.filter(pl.col("predicted_index").is_null())["correct"].any()
    assert any("name no candidate class" in warning for warning in run.info.all_warnings)
    model = load_model(f"hf:{llava}", device="cpu")
    first = answers.row(0, named=True)
    image = Image.open(few / first["path"]).convert("RGB")
    assert first["answer"] == model.generate(image, QUESTION, max_new_tokens=64)
    assert run.estimates().filter(pl.col("metric") == "top5_accuracy")["value"].null_count() == 3
    assert cg.report([run], tmp_path / "report.html").exists()
    run_on(few, f"hf:{llava}", tmp_path / "run", protocol="free-form")
