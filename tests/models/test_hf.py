"""Dual encoders of transformers: the numbers of the library's own forward, and the traps around them."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from tests.models.tiny_hf import build

from counterground.models import DualEncoder, load_model

FAMILIES = ("clip", "siglip", "siglip2", "naflex", "align", "chinese_clip")
TEXTS = [
    "A photo of ice bear.",
    "a photo of Black Swan!",
    "flamingo",
    "a photo of a great grey owl, on snow.",
]
SIZES = [(32, 32), (48, 40), (200, 60), (31, 90), (7, 5), (640, 480), (33, 32)]


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    made = {}

    def get(name):
        if name not in made:
            made[name] = build(name, tmp_path_factory.mktemp(name))
        return made[name]

    return get


@pytest.fixture
def copy(tiny, tmp_path):
    return lambda name: shutil.copytree(tiny(name), tmp_path / name)


def photo(size, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


PHOTOS = [photo(size, seed) for seed, size in enumerate(SIZES)]


def library_logits(folder, family, texts, images):
    """The library's own processor and forward, called as its documentation of the family says."""
    from transformers import AutoModel, AutoProcessor

    padding = {"clip": True, "chinese_clip": True}.get(family, "max_length")
    # A hub without Siglip2Tokenizer gives SigLIP 2 a Gemma tokenizer, and its users lower-case.
    written = [text.lower() for text in texts] if family == "siglip2" else texts
    processor = AutoProcessor.from_pretrained(folder)
    inputs = processor(
        text=written, images=images, padding=padding, max_length=64, truncation=True, return_tensors="pt"
    )
    model = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        return model(**inputs).logits_per_image.numpy()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("batch", [1, 7])
def test_scores_equal_the_librarys_own_forward(family, batch, tiny):
    model = load_model(f"hf:{tiny(family)}", device="cpu")
    assert isinstance(model, DualEncoder)
    pixels = torch.stack([model.preprocess(image) for image in PHOTOS])
    images = torch.cat([model.encode(part) for part in pixels.split(batch)]).numpy()
    texts = model.encode_texts(TEXTS)
    expected = np.concatenate(
        [library_logits(tiny(family), family, TEXTS, PHOTOS[at : at + batch]) for at in range(0, 7, batch)]
    )
    bias = model.description["logit_bias"] or 0
    np.testing.assert_allclose(images @ texts.T, (expected - bias) / model.logit_scale, atol=1e-5)
    for axis in (0, 1):
        assert np.ptp(expected, axis=axis).min() / model.logit_scale > 1e-3, "photos and texts must matter"


@pytest.mark.parametrize("family", FAMILIES)
def test_embeddings_have_unit_length_and_do_not_depend_on_the_company(family, tiny):
    model = load_model(f"hf:{tiny(family)}", device="cpu")
    together = model.encode_texts([*TEXTS, TEXTS[1]])
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(together[1], together[4])
    np.testing.assert_allclose(model.encode_texts(TEXTS[2:3])[0], together[2], atol=1e-6)
    assert model.encode_texts([]).shape == (0, model.dim)


def test_description_says_what_decides_the_numbers(tiny):
    about = load_model(f"hf:{tiny('siglip')}", device="cpu").description
    assert (
        about["tokenization"]
        | {
            "tokenizer": "SiglipTokenizer",
            "padding": "max_length",
            "max_length": 64,
            "mask": False,
            "lower_case": False,
            "lower_cases_itself": True,
        }
        == about["tokenization"]
    )
    assert about["preprocessing"]["class"] == "SiglipImageProcessor"
    assert about["preprocessing"]["backend"] == "torchvision"
    assert about["logit_bias"] == -10
    assert load_model(f"hf:{tiny('clip')}", device="cpu").description["activation"] == "quick_gelu"
    json.dumps(about)
