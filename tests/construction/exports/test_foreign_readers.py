"""The libraries that the formats are made for read them, offline."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace

import polars as pl
import pytest
from PIL import Image

import counterground as cg
from counterground.construction.exports import _layout, export
from counterground.construction.settings import ExportSettings
from counterground.models import load_model
from counterground.photos import LabelSpace, imagenet_names, read_benchmark

FIELDS = [
    "path",
    "photo_id",
    "class_index",
    "class_name",
    "background",
    "group",
    "cluster",
    "mask",
    "licence",
    "attribution",
    "source",
]


def pixels(image):
    return image.convert("RGB").tobytes()


def lines_of_card(folder):
    """The Python that the data card shows: how to read this folder, standing in it."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    code = text.partition("```python\n")[2].partition("```")[0]
    assert len(code.strip().splitlines()) <= 5
    return code


def source_pixels(benchmark, path):
    with Image.open(benchmark.photo_path(path)) as image:
        return pixels(image)


@pytest.mark.parametrize("which", ["grouped", "flat"])
def test_webdataset_decodes_every_sample(which, request, tmp_path):
    import webdataset

    benchmark = request.getfixturevalue(which)
    export(benchmark, tmp_path / "out", ["webdataset"])
    shards = sorted(str(path) for path in (tmp_path / "out").rglob("*.tar"))
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode("pil"))
    assert [sample["json"] for sample in samples] == benchmark.photos.select(FIELDS).to_dicts()
    for sample in samples:
        image = sample.get("jpg") or sample["png"]
        assert pixels(image) == source_pixels(benchmark, sample["json"]["path"])


@pytest.fixture
def load_dataset(tmp_path, monkeypatch):
    """``datasets.load_dataset`` in a process of its own, which has never seen a network."""

    def load(folder, code):
        environment = {
            **os.environ,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
        }
        program = f"{lines_of_card(folder)}\nimport hashlib, json\n{code}"
        ran = subprocess.run(
            [sys.executable, "-c", program],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        assert "Ignoring" not in ran.stderr
        return json.loads(ran.stdout.splitlines()[-1])

    return load


def test_datasets_loads_images_class_labels_and_every_field(grouped, tmp_path, load_dataset):
    export(grouped, tmp_path / "out", ["huggingface"])
    found = load_dataset(
        tmp_path / "out",
        "rows = [{**row, 'image': hashlib.sha256(row['image'].convert('RGB').tobytes()).hexdigest()}"
        " for row in photos]\n"
        "print(json.dumps([str(photos.features['image'])[:5], photos.features['label'].names, rows]))",
    )
    image, names, rows = found
    assert (image, names) == ("Image", list(grouped.classes.names))
    for row, expected in zip(rows, grouped.photos.to_dicts(), strict=True):
        assert row.pop("image") == hashlib.sha256(source_pixels(grouped, expected["path"])).hexdigest()
        assert row.pop("label") == expected["class_index"]
        expected.pop("mask")
        assert row == expected


def test_datasets_reads_masks_and_class_names_that_occur_twice_or_look_like_yaml(
    masked, tmp_path, load_dataset
):
    names = ("missile", "no photo", "missile", "spare", "- [yes]: \n#{\x85\U0001f9a2\"'\\", "null")
    classes = (0, 2, 3, 4, 5, 0)
    frame = masked.photos.with_columns(
        class_index=pl.Series(classes, dtype=pl.Int32), class_name=pl.Series([names[n] for n in classes])
    )
    odd = replace(masked, classes=LabelSpace("odd", names, (None,) * 6), photos=frame, name=names[4])
    export(odd, tmp_path / "out", ["huggingface"])
    assert read_benchmark(tmp_path / "out").version == odd.version
    found = load_dataset(
        tmp_path / "out",
        "print(json.dumps([photos.features['label'].names, photos['label'][:],"
        " [mask and mask.mode for mask in photos['mask']]]))",
    )
    unique = ["missile (0)", "missile (2)", "spare", names[4], "null"]
    assert found == [unique, [0, 1, 2, 3, 4, 0], ["L"] * 5 + [None]]


@pytest.mark.parametrize("which", ["grouped", "flat", "masked"])
def test_mlcroissant_finds_nothing_to_complain_of_and_loads_the_records(which, request, tmp_path):
    import mlcroissant

    benchmark = request.getfixturevalue(which)
    card = ExportSettings(
        creators=("Zoë",), url="https://example.org/", licence="cc-by-4.0", citation="@misc{x}"
    )
    export(benchmark, tmp_path / "out", ["croissant"], card)
    loaded = mlcroissant.Dataset(tmp_path / "out" / "croissant.json")
    issues = loaded.metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    records = {record["photos/path"].decode(): record for record in loaded.records("photos")}
    back = read_benchmark(tmp_path / "out").photos
    assert sorted(records) == back["path"].to_list()
    for row in back.to_dicts():
        record = records[row["path"]]
        assert pixels(record["photos/image"]) == source_pixels(benchmark, row["path"])
        for name in FIELDS[1:]:
            value = record[f"photos/{name}"]
            assert (value.decode() if isinstance(value, bytes) else value) == row[name]


@pytest.mark.parametrize("form", ["counteranimal", "parquet", "webdataset", "croissant"])
def test_the_lines_of_the_card_run(form, grouped, tmp_path, monkeypatch):
    export(grouped, tmp_path / "out", [form])
    monkeypatch.chdir(tmp_path / "out")
    names = {}
    exec(lines_of_card(tmp_path / "out"), names)
    photos = names["photos"]
    rows = photos.rows() if form == "parquet" else list(photos)
    assert len(rows) == len(grouped)
    if form == "counteranimal":
        assert photos.classes == ["100 black swan", "130 flamingo", "296 ice bear"]


def build_clip_benchmarks(folder, transform=None):
    from clip_benchmark.datasets.builder import build_dataset

    return build_dataset("wds/ours", root=str(folder), transform=transform)


def test_clip_benchmark_gets_the_names_the_prompt_and_the_class_of_each_photo(
    grouped, flat, tmp_path, monkeypatch
):
    monkeypatch.setattr(_layout, "SHARD_BYTES", 2000)
    for benchmark, names in ((grouped, imagenet_names("openai")), (flat, flat.classes.names)):
        export(benchmark, tmp_path / benchmark.name, ["webdataset"])
        found = build_clip_benchmarks(tmp_path / benchmark.name)
        assert (found.classes, found.templates) == ([*names], ["A photo of {c}."])
        samples = list(found)
        true = [
            index if benchmark is flat else benchmark.classes.imagenet[index]
            for index in benchmark.photos["class_index"]
        ]
        assert [label for _, label in samples] == true
        assert [pixels(image) for image, _ in samples] == [
            source_pixels(benchmark, path) for path in benchmark.photos["path"]
        ]
        assert len(list((tmp_path / benchmark.name).glob("test/*.tar"))) > 5


@pytest.mark.slow
def test_clip_benchmark_predicts_what_we_do_for_every_photo(tmp_path, shared_cache, monkeypatch):
    from clip_benchmark.metrics import zeroshot_classification as theirs
    from torch.utils.data import DataLoader

    monkeypatch.setenv("COUNTERGROUND_CACHE", str(shared_cache))
    monkeypatch.setattr(theirs, "tqdm", lambda of: of)
    models = ("counterground:stamps-biased", "counterground:stamps-balanced")
    export("stamps", tmp_path / "out", ["webdataset"], ExportSettings(private=True))
    run = cg.evaluate("stamps", models, out=tmp_path / "run", report=False)
    for name in models:
        model = load_model(name, device="cpu")
        photos = build_clip_benchmarks(tmp_path / "out", model.transform)
        head = theirs.zero_shot_classifier(
            model.network, model.texts.tokenizer, photos.classes, photos.templates, "cpu", amp=False
        )
        logits, true = theirs.run_classification(
            model.network, head, DataLoader(photos, batch_size=64), "cpu", amp=False
        )
        chosen = logits.argmax(dim=1)
        top = (chosen == true).double().mean().item()  # their accuracy() stops at NumPy 2
        rows = run.predictions.filter(model=name).sort("path")
        equal = int((rows["predicted_index"].to_numpy() == chosen.numpy()).sum())
        ours = rows["correct"].mean()
        print(f"\n{name}: {equal} of {len(rows)} equal; CLIP_benchmark acc1 {top:.4f}, ours {ours:.4f}")
        assert (equal, top) == (len(rows), pytest.approx(ours))


def test_a_question_of_inspect_has_the_photo_and_the_names_that_compete_for_it(flat, tmp_path):
    export(flat, tmp_path / "out", ["inspect"])
    lines = (tmp_path / "out" / "samples.jsonl").read_text().splitlines()
    for line, row in zip(lines, flat.photos.to_dicts(), strict=True):
        sample = json.loads(line)
        image, question = sample["input"][0]["content"]
        names = flat.classes.names if row["class_index"] else ("a/b", "spare")
        assert (sample["id"], image["image"], sample["target"]) == (
            row["path"],
            row["path"],
            row["class_name"],
        )
        assert question["text"].splitlines()[1:] == [*names]
        assert (tmp_path / "out" / image["image"]).is_file()


ASK = """
import base64, hashlib, json
from pathlib import Path

import tiktoken

class Words:
    def encode(self, text, **_):
        return text.split()

tiktoken.get_encoding = lambda _name: Words()  # the vocabulary would be downloaded

from inspect_ai import eval
from inspect_ai.model import ModelOutput, get_model

answers = json.loads(Path("answers.json").read_text())

def answer(messages, *_):
    image, question = messages[-1].content
    assert len(question.text.splitlines()) == 46
    photo = base64.b64decode(image.image.partition("base64,")[2])
    return ModelOutput.from_content("mockllm/model", answers[hashlib.sha256(photo).hexdigest()])

model = get_model("mockllm/model", custom_outputs=answer)
(log,) = eval(
    "out/task.py", model=model, log_dir="logs", log_format="json", log_images=False, display="none"
)
print(json.dumps({sample.id: sample.scores["exact"].value == "C" for sample in log.samples}))
"""


@pytest.mark.slow
def test_inspect_scores_the_answers_of_a_run_as_we_do(peers, tmp_path, shared_cache, monkeypatch):
    monkeypatch.setenv("COUNTERGROUND_CACHE", str(shared_cache))
    model = "counterground:stamps-balanced"
    run = cg.evaluate("stamps", model, out=tmp_path / "run", report=False)
    ours = dict(run.predictions.select("path", "correct").iter_rows())
    answers = dict(run.predictions.select("photo_id", "predicted_name").iter_rows())
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    export("stamps", tmp_path / "out", ["inspect"], ExportSettings(private=True))

    asked = subprocess.run([peers, "-c", ASK], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert asked.returncode == 0, asked.stderr
    theirs = json.loads(asked.stdout)
    (log,) = (tmp_path / "logs").glob("*.json")
    again = cg.evaluate("stamps", predictions=log, out=tmp_path / "again", report=False)
    read = dict(again.predictions.select("path", "correct").iter_rows())
    equal = [sum(found[path] == right for path, right in ours.items()) for found in (theirs, read)]
    print(f"\nInspect agrees on {equal[0]} of {len(ours)} photos, its log read again on {equal[1]}")
    assert equal == [len(ours)] * 2
    assert 0 < sum(ours.values()) < len(ours) == len(theirs)
