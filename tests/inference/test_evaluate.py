from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from evaluated import evaluated
from noise_photos import save_noise
from PIL import Image

from counterground.errors import CounterGroundError, UsageError
from counterground.inference import evaluate_models
from counterground.photos import (
    imagenet_names,
    prompt_templates,
    read_benchmark,
)
from counterground.results import PREDICTIONS_SCHEMA, open_run
from counterground.settings import Settings


def run_on(photos, tiny_clip, out, **settings):
    return evaluated(photos, f"open_clip:{tiny_clip}", out, **{"batch_size": 5, **settings})


def reference_scores(tiny_clip, paths, names, templates):
    """Cosine similarities by OpenCLIP alone: its own transform, towers and classifier builder."""
    import open_clip

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{tiny_clip}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{tiny_clip}")
    model.eval()
    with torch.no_grad():
        head = open_clip.build_zero_shot_classifier(
            model,
            tokenizer,
            classnames=names,
            templates=[lambda name, t=template: t.format(name) for template in templates],
        )
        batch = torch.stack([transform(Image.open(path)) for path in paths])
        return (model.encode_image(batch, normalize=True) @ head).numpy()


@pytest.mark.parametrize("prompts", ["simple", "openai"])
def test_predictions_are_those_of_open_clip(photos, tiny_clip, tmp_path, prompts):
    run = run_on(photos, tiny_clip, tmp_path / "run", label_space="benchmark", prompts=prompts)
    benchmark = read_benchmark(photos)
    names = [imagenet_names("openai")[index] for index in benchmark.classes.imagenet]
    paths = [photos / path for path in run.predictions["path"]]
    scores = reference_scores(tiny_clip, paths, names, prompt_templates(prompts))
    assert run.predictions["predicted_index"].to_list() == scores.argmax(axis=1).tolist()
    top = np.sort(scores, axis=1)
    assert np.allclose(run.predictions["top2_gap"], top[:, -1] - top[:, -2], atol=1e-5)
    true = run.predictions["class_index"].to_numpy()
    rank = (scores > scores[np.arange(len(scores)), true][:, None]).sum(axis=1)
    assert run.predictions["true_rank"].to_list() == rank.tolist()
    assert run.predictions["correct"].to_list() == (rank == 0).tolist()


def test_true_and_predicted_index_count_the_same_names(photos, tiny_clip, tmp_path):
    """`class_index` counts the benchmark's classes, which in ImageNet's space are other numbers."""
    run = run_on(photos, tiny_clip, tmp_path / "run", label_space="imagenet")
    columns = ("class_index", "true_index", "predicted_index", "correct")
    classes, true, predicted, correct = (run.predictions[name] for name in columns)
    assert (true == predicted).equals(correct.alias("true_index"))
    known = read_benchmark(photos).classes.imagenet
    assert true.to_list() == [known[index] for index in classes]
    own = run_on(photos, tiny_clip, tmp_path / "own", label_space="benchmark")
    assert own.predictions["true_index"].equals(own.predictions["class_index"].alias("true_index"))


def test_a_run_folder_holds_everything_and_reads_back(photos, tiny_clip, tmp_path):
    run = run_on(photos, tiny_clip, tmp_path / "run", label_space=None)
    again = open_run(tmp_path / "run")
    assert dict(again.predictions.schema) == PREDICTIONS_SCHEMA
    assert again.predictions.equals(run.predictions)
    assert again.estimates().equals(run.estimates())
    assert again.info.model_dump(mode="json") == run.info.model_dump(mode="json")
    assert again.info.candidates.name == "imagenet"
    assert again.info.candidates.size == 1000
    assert again.info.models[0].fingerprint
    assert again.info.libraries["torch"]
    assert (tmp_path / "run" / "unreadable.csv").read_text() == "path,photo_id,reason\n"
    assert len(repr(again)) < 2000, "the table, without the names of ImageNet"


def test_every_photo_arrives_once_and_copies_are_encoded_once(photos, tiny_clip, tmp_path):
    shutil.copy(photos / "flamingo/common-water/1.jpg", photos / "flamingo/counter-sky/copy.jpg")
    run = run_on(photos, tiny_clip, tmp_path / "run")
    assert len(run.predictions) == 49
    assert run.predictions["path"].n_unique() == 49
    copies = run.predictions.filter(pl.col("photo_id").is_duplicated())
    assert len(copies) == 2
    assert copies["predicted_index"].n_unique() == 1
    assert copies["confidence"].n_unique() == 1


def test_progress_counts_the_photos_that_the_run_counts(photos, tiny_clip, tmp_path, capsys):
    run_on(photos, tiny_clip, tmp_path / "before")
    for number in range(2):
        shutil.copy(photos / "flamingo/common-water/1.jpg", photos / f"flamingo/counter-sky/copy{number}.jpg")
    save_noise(photos / "flamingo/counter-sky/new.jpg", 99)
    run = run_on(photos, tiny_clip, tmp_path / "run", show_progress=True)
    assert run.info.counts.photos == 51
    assert "51/51" in capsys.readouterr().err


def test_another_prompt_set_names_or_grouping_decodes_no_photo_again(photos, tiny_clip, tmp_path):
    benchmark = read_benchmark(photos)
    model = [f"open_clip:{tiny_clip}"]
    evaluated(benchmark, model, tmp_path / "first")
    shutil.rmtree(photos)
    other = evaluated(benchmark, model, tmp_path / "b", prompts="openai", names="wordnet")
    assert len(other.predictions) == 48
    fewer = benchmark.photos.filter(pl.col("group") == "common")
    part = type(benchmark)(benchmark.name, benchmark.root, fewer, benchmark.classes)
    assert len(evaluated(part, model, tmp_path / "c").predictions) == 24


def test_changed_content_is_read_anew(photos, tiny_clip, tmp_path):
    before = run_on(photos, tiny_clip, tmp_path / "a").predictions
    target = "flamingo/common-water/1.jpg"
    shutil.copy(photos / "ice bear/common-snow/2.jpg", photos / target)
    after = run_on(photos, tiny_clip, tmp_path / "b").predictions
    twin = after.filter(pl.col("path") == "ice bear/common-snow/2.jpg")
    changed = after.filter(pl.col("path") == target)
    assert changed["confidence"].item() == twin["confidence"].item()
    assert changed["photo_id"].item() != before.filter(pl.col("path") == target)["photo_id"].item()


def test_unreadable_photos_are_listed_with_reasons_and_counted(photos, tiny_clip, tmp_path):
    (photos / "flamingo/common-water/empty.jpg").write_bytes(b"")
    (photos / "flamingo/common-water/text.jpg").write_text("not a photograph")
    whole = (photos / "flamingo/common-water/1.jpg").read_bytes()
    (photos / "flamingo/common-water/cut.jpg").write_bytes(whole[: len(whole) // 2])
    run = run_on(photos, tiny_clip, tmp_path / "run")
    listed = pl.read_csv(tmp_path / "run" / "unreadable.csv")
    assert [path.rsplit("/")[-1] for path in listed["path"]] == ["cut.jpg", "empty.jpg", "text.jpg"]
    assert listed["reason"].str.len_chars().min() > 0
    assert len(run.predictions) == 48
    assert run.info.counts.photos == 51
    assert run.info.counts.unreadable == 3
    assert any("3 of 51 photos" in warning for warning in run.info.warnings)
    again = run_on(photos, tiny_clip, tmp_path / "again")
    assert (tmp_path / "run/unreadable.csv").read_bytes() == (tmp_path / "again/unreadable.csv").read_bytes()
    assert again.predictions.equals(run.predictions)


def test_a_photo_that_comes_back_is_read(photos, tiny_clip, tmp_path):
    benchmark = read_benchmark(photos)
    hidden = photos / "flamingo/common-water/1.jpg"
    hidden.rename(tmp_path / "away.jpg")
    model = [f"open_clip:{tiny_clip}"]
    assert len(evaluated(benchmark, model, tmp_path / "a").predictions) == 47
    (tmp_path / "away.jpg").rename(hidden)
    assert len(evaluated(benchmark, model, tmp_path / "b").predictions) == 48


def test_no_readable_photo_is_an_error(tmp_path, tiny_clip):
    photo = tmp_path / "photos" / "cat" / "a.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"")
    with pytest.raises(CounterGroundError, match="0 of 1 photo can be read"):
        run_on(tmp_path / "photos", tiny_clip, tmp_path / "run")


def test_photos_that_are_not_rgb_are_counted(photos, tiny_clip, tmp_path):
    for name in ("1", "2"):
        photo = photos / f"flamingo/common-water/{name}.jpg"
        Image.open(photo).quantize(64).save(photo.with_suffix(".png"))
        photo.unlink()
    first, again = (run_on(photos, tiny_clip, tmp_path / out) for out in ("a", "b"))
    assert first.info.counts.converted_to_rgb == again.info.counts.converted_to_rgb == 2


def test_a_missing_group_is_null_never_zero(photos, tiny_clip, tmp_path):
    shutil.rmtree(photos / "flamingo" / "counter-sky")
    scores = run_on(photos, tiny_clip, tmp_path / "run").estimates()
    flamingo = read_benchmark(photos).classes.index_of("flamingo")
    rows = scores.filter(pl.col("class_index") == flamingo)
    assert rows.filter(pl.col("metric") == "drop")["value"].null_count() == 1
    assert not ((rows["level"] == "counter") & (rows["value"] == 0)).any()


def test_names_written_alike_tie_exactly(photos, tiny_clip, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("swan\nswan\nbear\n")
    run = run_on(photos, tiny_clip, tmp_path / "run", label_space="benchmark", names=str(names))
    swans = run.predictions.filter(pl.col("predicted_index") == 0)
    assert not (run.predictions["predicted_index"] == 1).any()
    assert (swans["top2_gap"] == 0).all()
    assert run.info.counts.ties[run.info.models[0].spec] == len(swans) > 0


@pytest.mark.parametrize(
    ("names", "start"),
    [
        (("gooze", "tench"), "gooze (did you mean 'goose'?) is not an ImageNet class"),
        (
            ("gooze", "zeebra"),
            "gooze (did you mean 'goose'?), zeebra (did you mean 'zebra'?) are not ImageNet",
        ),
        (("angler fish", "tench"), "angler fish is not an ImageNet class"),
        (("angler fish", "allen key"), None),
        (("bird", "allen key"), None),  # "bird" is much like "briard"
    ],
)
def test_a_slip_in_a_class_name_does_not_change_the_question_silently(tmp_path, tiny_clip, names, start):
    for seed, name in enumerate(names):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), (seed, 9, 9)).save(tmp_path / "photos" / name / "1.png")
    warnings = run_on(tmp_path / "photos", tiny_clip, tmp_path / "run", label_space=None).info.warnings
    assert [text for text in warnings if "among themselves" in text] == warnings[: start is not None]
    if start:
        assert warnings[0].startswith(start)
        assert "the 2 classes of the benchmark compete only among themselves" in warnings[0]


def test_a_folder_with_another_run_is_refused_before_work(photos, tiny_clip, tmp_path):
    run_on(photos, tiny_clip, tmp_path / "run")
    run_on(photos, tiny_clip, tmp_path / "run")
    kept = (tmp_path / "run" / "run.json").read_bytes()
    names = tmp_path / "names.txt"
    names.write_text("swan\nflamingo\nbear\n")
    others = (
        {"prompts": "openai"},
        {"names": str(names)},
        {"label_space": "imagenet"},
        {"precision": "bf16"},
        {"batch_size": 7},
    )
    for other in others:
        with pytest.raises(CounterGroundError, match="holds another run"):
            run_on(photos, tiny_clip, tmp_path / "run", **other)
    assert (tmp_path / "run" / "run.json").read_bytes() == kept


def test_a_run_of_other_weights_is_not_replaced(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("trained.py").write_text(
        "import torch, colour_model\n"
        "def model():\n"
        "    network, preprocess, names = colour_model.brightness()\n"
        "    network[2].bias.data += torch.load('epoch.pth')\n"
        "    return network, preprocess, names\n"
    )

    def run_again(epoch, **how):
        torch.save(torch.tensor(epoch), "epoch.pth")
        settings = Settings(label_space="benchmark", device="cpu")
        return evaluate_models(read_benchmark(photos), "trained.py:model", settings, Path("run"), **how)

    first = run_again(1.0)
    assert run_again(1.0).predictions.equals(first.predictions)
    with pytest.raises(CounterGroundError, match=r"run holds a run with other weights.* of trained.py:model"):
        run_again(2.0)
    assert open_run(Path("run")).predictions.equals(first.predictions)
    assert run_again(2.0, overwrite=True).info.models[0].fingerprint != first.info.models[0].fingerprint


def test_a_file_of_names_that_changed_is_another_setting(photos, tiny_clip, tmp_path):
    names = tmp_path / "names.txt"
    seen = []
    for number, first in enumerate(("swan", "goose")):
        names.write_text(f"{first}\nflamingo\nbear\n")
        run = run_on(photos, tiny_clip, tmp_path / f"run{number}", names=str(names))
        seen += run.predictions["names"].unique().to_list()
        assert run.info.texts == [first, "flamingo", "bear"]
        assert run.info.templates == ["A photo of {}."]
    assert len(set(seen)) == 2
    assert all(name.startswith("names.txt@") for name in seen)


def test_a_photo_that_one_model_cannot_get_is_left_out_for_all(photos, tiny_clip, tmp_path):
    benchmark = read_benchmark(photos)
    settings = Settings(label_space="benchmark", batch_size=5)
    first = f"open_clip:{tiny_clip}"
    evaluate_models(benchmark, [first], settings, tmp_path / "a")
    (photos / "flamingo/common-water/1.jpg").unlink()
    run = evaluate_models(benchmark, [first, "counterground:stamps-biased"], settings, tmp_path / "b")
    assert run.predictions.group_by("model").len()["len"].to_list() == [47, 47]
    assert run.info.counts.unreadable == 1
    assert "flamingo/common-water/1.jpg" in (tmp_path / "b" / "unreadable.csv").read_text()


def test_user_code_that_fails_is_named_with_the_photo(photos, tmp_path, monkeypatch):
    (tmp_path / "broken_model.py").write_text(
        "import sys, torch\n"
        "names = ['black swan', 'flamingo', 'ice bear']\n"
        "class Index(torch.nn.Module):\n"
        "    def forward(self, batch): return [][0]\n"
        "def fails(): return torch.nn.Flatten(), lambda image: 1 / 0, names\n"
        "def leaves(): return torch.nn.Flatten(), lambda image: sys.exit(3), names\n"
        "def shapes(): return torch.nn.Linear(5, 3), lambda image: torch.zeros(3, 4, 4), names\n"
        "def index(): return Index(), lambda image: torch.zeros(3, 4, 4), names\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for function, said in {
        "fails": r"broken_model:fails: preprocessing .*jpg failed: ZeroDivisionError",
        "leaves": r"broken_model:leaves: preprocessing .*jpg failed: SystemExit: 3",
        "shapes": "broken_model:shapes: encoding photos failed",
        "index": "broken_model:index: encoding photos failed: IndexError",
    }.items():
        with pytest.raises(CounterGroundError, match=said):
            evaluate_models(
                read_benchmark(photos),
                [f"broken_model:{function}"],
                Settings(label_space="benchmark"),
                tmp_path / function,
            )


@pytest.mark.parametrize(
    "setting",
    [
        {"batch_size": "many"},
        {"batch_size": 0.5},
        {"batch_size": 10**12},
        {"options": None},
        {"workers": 1.5},
        {"gpus_per_worker": float("nan")},
        {"runtime": ["eager"]},
        {"names": None},
        {"device": None},
    ],
)
def test_a_setting_of_another_type_is_named(setting):
    (name,) = setting
    with pytest.raises(UsageError, match=f"^{name} must be "):
        Settings(**setting)
