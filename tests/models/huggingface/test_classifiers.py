"""Image classifiers of transformers: the library's logits, and names matched strictly with ImageNet's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from noise_photos import noise
from tiny_hf import ANIMALS, build, classifier

from counterground.errors import CounterGroundError, UsageError
from counterground.models import Classifier, check_specs, load_model

# Private: names are matched for a thousand logits, of which no tiny model has that many.
# A thousand names in many orders, without a network of a thousand logits for each.
from counterground.models._labels import match_labels, names_of
from counterground.photos import imagenet_names, imagenet_wnids

SIZES = [(32, 32), (48, 40), (200, 60), (31, 90), (7, 5), (640, 480), (33, 32)]
WORDNET, WNIDS = imagenet_names("wordnet"), imagenet_wnids()
IDENTITY = tuple(range(1000))


@pytest.fixture(scope="module")
def photos():
    return [noise(size, seed) for seed, size in enumerate(SIZES)]


@pytest.mark.parametrize("name", ["vit", "resnet"])
@pytest.mark.parametrize("batch", [1, 7])
def test_logits_equal_the_librarys_own_forward(name, batch, tmp_path, photos):
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    folder = build(name, tmp_path)
    model = load_model(f"hf:{folder}", device="cpu")
    assert isinstance(model, Classifier)
    pixels = torch.stack([model.preprocess(photo) for photo in photos])
    ours = torch.cat([model.encode(part) for part in pixels.split(batch)])
    inputs = AutoImageProcessor.from_pretrained(folder)(photos, return_tensors="pt")
    with torch.inference_mode():
        expected = AutoModelForImageClassification.from_pretrained(folder).eval()(**inputs).logits
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    assert np.ptp(expected.numpy(), axis=0).min() > 1e-3
    assert model.class_names == (ANIMALS if name == "vit" else ANIMALS[::-1])
    assert model.imagenet_columns == ((296, 100, 130) if name == "vit" else (130, 100, 296))


def test_the_last_layer_runs_in_float32_under_bf16(tmp_path, photos):
    folder = build("vit", tmp_path)
    full, half = (load_model(f"hf:{folder}", device="cpu", precision=name) for name in ("fp32", "bf16"))
    a, b = (model.encode(model.preprocess(photos[1])[None]) for model in (full, half))
    assert 0 < (a - b).abs().max() < 0.1
    assert (b.bfloat16().float() != b).all()
    assert "classifier in float32" in half.description["final_layer"]


@pytest.mark.parametrize(
    "names", [WNIDS, WORDNET, imagenet_names("openai")], ids=["wnid", "wordnet", "openai"]
)
def test_the_usual_1000_stand_where_they_stand(names):
    labels = match_labels("hf:x", names)
    assert labels.columns == IDENTITY
    assert labels.warnings == ()


def test_permuted_wnids_are_followed():
    order = np.random.default_rng(0).permutation(1000)
    assert match_labels("hf:x", [WNIDS[index] for index in order]).columns == tuple(order.tolist())


def test_permuted_names_are_followed_and_the_ambiguous_are_nobodys():
    order = np.random.default_rng(1).permutation(1000)
    at = int(np.flatnonzero(order == 134)[0])
    order[[134, at]] = order[[at, 134]]  # "crane" stands where it usually does, and proves nothing
    labels = match_labels("hf:x", [WORDNET[index] for index in order])
    for column, index in zip(labels.columns, order.tolist(), strict=True):
        assert column == (None if WORDNET[index] in ("crane", "missile", "maillot") else index)
    assert "crane" in labels.warnings[0]
    assert "4 of 1,000" in labels.warnings[0]


def test_keys_are_numbers_not_text():
    shuffled = {str(key): f"name {key}" for key in (10, 2, 0, 1, 9, 3, 8, 4, 7, 5, 6)}
    assert names_of("hf:x", shuffled) == tuple(f"name {index}" for index in range(11))
    with pytest.raises(CounterGroundError, match="not 0 to 1"):
        names_of("hf:x", {0: "a", 2: "b"})
    with pytest.raises(CounterGroundError, match="not numbers"):
        names_of("hf:x", {"a": 0, "b": 1})


@pytest.mark.parametrize(
    "names", [[f"LABEL_{n}" for n in range(3)], ["0", "1", "2"], ["class 0", "class 1", ""]]
)
def test_classes_without_names_are_refused_and_the_remedy_is_told(names, tmp_path):
    folder = classifier(tmp_path / "vit", names)
    said = rf"hf:{folder}: the head has 3 outputs whose names are unknown: add \?labels=FILE"
    with pytest.raises(UsageError, match=said):
        load_model(f"hf:{folder}", device="cpu")
    with pytest.raises(UsageError, match=said):
        check_specs([f"hf:{folder}"])


def test_a_user_may_name_them(tmp_path):
    folder = classifier(tmp_path / "vit", [f"LABEL_{n}" for n in range(3)])
    listed = tmp_path / "names.txt"
    listed.write_text("black swan\nmy own cat\nflamingo\n")
    model = load_model(f"hf:{folder}?labels={listed}", device="cpu")
    assert model.imagenet_columns == (100, None, 130)
    assert model.class_names == ("black swan", "my own cat", "flamingo")
    listed.write_text("black swan\n")
    with pytest.raises(UsageError, match="1 name for 3 outputs"):
        check_specs([f"hf:{folder}?labels={listed}"])
    with pytest.raises(UsageError, match="nowhere"):
        check_specs([f"hf:{folder}?labels={tmp_path}/nowhere.txt"])
    with pytest.raises(UsageError, match="labels=imagenet means 1000 classes"):
        check_specs([f"hf:{folder}?labels=imagenet"])


def test_imagenets_order_is_taken_on_the_users_word_and_said(tmp_path):
    folder = classifier(tmp_path / "vit", [f"LABEL_{n}" for n in range(1000)])
    model = load_model(f"hf:{folder}?labels=imagenet", device="cpu")
    assert model.imagenet_columns == IDENTITY
    assert model.class_names == imagenet_names("openai")
    assert "as labels=imagenet says" in model.description["warnings"][0]
    with pytest.raises(UsageError, match=r"contradicts .* logit 0 is called 'toilet tissue"):
        match_labels("hf:x", WORDNET[::-1], "imagenet")


def test_another_order_of_names_is_another_fingerprint(tmp_path):
    torch.manual_seed(0)
    one = load_model(f"hf:{classifier(tmp_path / 'one', ANIMALS)}", device="cpu")
    torch.manual_seed(0)
    two = load_model(f"hf:{classifier(tmp_path / 'two', ANIMALS[::-1])}", device="cpu")
    torch.manual_seed(0)
    again = load_model(f"hf:{classifier(tmp_path / 'again', ANIMALS)}", device="cpu")
    assert one.fingerprint == again.fingerprint != two.fingerprint
