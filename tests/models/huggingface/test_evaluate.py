"""From photos to predictions with models of transformers, against the library's own pipeline of calls."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
import torch
from noise_photos import save_noise
from PIL import Image
from tiny_hf import build

from counterground.cli import main


@pytest.fixture
def uneven(tmp_path):
    """Photos of many shapes, one of them with a palette, one broken."""
    sizes = iter([(48, 40), (200, 50), (33, 90), (64, 64), (300, 200)])
    for animal, place in (("ice bear", "snow"), ("black swan", "water"), ("flamingo", "sky")):
        for group in ("common", "counter"):
            folder = tmp_path / "photos" / animal / f"{group}-{place}"
            size = next(sizes, (50, 70))
            save_noise(folder / "0.jpg", seed=size[0], size=size)
    palette = tmp_path / "photos" / "flamingo" / "counter-sky" / "1.png"
    Image.open(folder / "0.jpg").quantize(16).save(palette)
    (tmp_path / "photos" / "flamingo" / "counter-sky" / "2.jpg").write_bytes(b"no photo")
    return tmp_path / "photos"


@pytest.mark.parametrize("family", ["clip", "naflex"])
def test_predictions_are_those_of_the_librarys_own_forward(family, uneven, tmp_path, capsys):
    from transformers import AutoModel, AutoProcessor

    folder, out = build(family, tmp_path / family), tmp_path / "run"
    asked = ["evaluate", uneven, "-m", f"hf:{folder}", "--label-space", "benchmark", "-X", f"batch-size={4}"]
    assert main([*map(str, asked), "--out", str(out)]) == 0
    assert "1 of 8 photos could not be read" in " ".join(capsys.readouterr().out.split())
    assert pl.read_csv(out / "unreadable.csv")["path"].to_list() == ["flamingo/counter-sky/2.jpg"]
    predictions = pl.read_parquet(out / "predictions.parquet")
    assert len(predictions) == 7
    texts = [f"A photo of {name}." for name in json.loads((out / "run.json").read_text())["texts"]]
    assert texts[2] == "A photo of polar bear."
    if family == "naflex":  # its tokenizer leaves punctuation, which SigLIP was trained without
        texts = [text.lower().rstrip(".") for text in texts]
    photos = [Image.open(uneven / path).convert("RGB") for path in predictions["path"]]
    padding = "max_length" if family == "naflex" else True
    processor, model = AutoProcessor.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        made = model(**processor(text=texts, images=photos, padding=padding, return_tensors="pt"))
    logits = made.logits_per_image.numpy()
    np.testing.assert_array_equal(predictions["predicted_index"], logits.argmax(axis=1))
    best = torch.from_numpy(logits).softmax(dim=1).max(dim=1).values
    np.testing.assert_allclose(predictions["confidence"], best, rtol=1e-3)


def test_an_imagenet_classifier_competes_among_all_thousand(uneven, tmp_path):
    folder, out = build("vit1000", tmp_path / "vit"), tmp_path / "run"
    assert main(["evaluate", str(uneven), "-m", f"hf:{folder}", "--out", str(out)]) == 0
    predictions = pl.read_parquet(out / "predictions.parquet")
    assert set(predictions["label_space"]) == {"imagenet"}
    assert predictions["true_rank"].null_count() == 0


def test_a_class_the_classifier_lacks_is_named(uneven, tmp_path, capsys):
    (uneven / "ice bear").rename(uneven / "zebra")
    folder = build("vit", tmp_path / "vit")
    asked = ["evaluate", str(uneven), "-m", f"hf:{folder}", "--label-space", "benchmark"]
    assert main([*asked, "--out", str(tmp_path / "run")]) == 2
    assert "has no output for class 'zebra'" in capsys.readouterr().err
