"""OpenCLIP models: the same numbers as OpenCLIP's own functions, and the right activation."""

import json
import re

import numpy as np
import open_clip
import pytest
import torch
from noise_photos import noise
from open_clip.transform import PreprocessCfg, image_transform_v2
from open_clip.transformer import QuickGELU
from PIL import Image
from safetensors.torch import save_file

from counterground.errors import CounterGroundError, UsageError
from counterground.models import DualEncoder, load_model
from counterground.models.open_clip import resolve_activation

NAMES = ["ice bear", "great grey owl", "hen", "African crocodile", "web site", "German short-haired pointer"]
TEMPLATES = [
    "A photo of {}.",
    "a bad photo of a {}.",
    "itap of the {}.",
    "a {} in a video game, far away and small.",
]
# From outside, a tower whose texts share their beginnings looks like one whose texts do not.
SHARED = "counterground.models.open_clip._texts._forward"
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 3}
VIT = {"image_size": 64, "layers": 3, "width": 64, "head_width": 32, "patch_size": 16}
RESNET = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 32, "patch_size": None}


@pytest.fixture(scope="module")
def photos():
    return [noise((170, 110), seed) for seed in range(3)]


def write_model(folder, *, vision=VIT, text=TEXT, seed=0, weights="open_clip_model.safetensors", **model_cfg):
    """Write a small OpenCLIP model with random weights in the layout of the hub."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model_cfg": {"embed_dim": 48, "vision_cfg": vision, "text_cfg": text, **model_cfg},
        "preprocess_cfg": {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    torch.manual_seed(seed)
    model = open_clip.create_model(f"local-dir:{folder}", pretrained_text=False)
    # Larger token embeddings than at the start of training, so that texts differ as trained ones do.
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("token_embedding.weight"):
                parameter.mul_(20)
    if weights.endswith(".safetensors"):
        save_file(model.state_dict(), folder / weights)
    else:
        torch.save(model.state_dict(), folder / weights)
    return folder


def tiny_bert(folder):
    """Write a BERT configuration and a WordPiece tokenizer, as a text tower from Hugging Face needs them."""
    import transformers

    folder.mkdir()
    words = sorted({word for text in NAMES + TEMPLATES for word in text.lower().replace(".", " ").split()})
    letters = [f"{mark}{letter}" for letter in "abcdefghijklmnopqrstuvwxyz.,-{}" for mark in ("", "##")]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(words + letters)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    transformers.BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    ).save_pretrained(folder)
    return folder


def hugging_face_model(root):
    bert = tiny_bert(root / "bert")
    text = {"hf_model_name": str(bert), "hf_tokenizer_name": str(bert), "context_length": 32}
    text |= {"hf_proj_type": "mlp", "hf_pooler_type": "mean_pooler"}
    folder = write_model(root / "hf", text=text)
    for file in bert.iterdir():
        if file.name != "config.json":
            (folder / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.mark.parametrize("tower", ["vit", "resnet", "hugging_face_text", "custom_text_eos"])
def test_same_numbers_as_openclip(tower, tmp_path, photos):
    if tower == "hugging_face_text":
        folder = hugging_face_model(tmp_path)
    elif tower == "custom_text_eos":
        folder = write_model(tmp_path, text=TEXT | {"pool_type": "eos", "eos_id": 49407}, custom_text=True)
    else:
        folder = write_model(tmp_path, vision=VIT if tower == "vit" else RESNET)
    ours = load_model(f"open_clip:{folder}", device="cpu")
    theirs, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    theirs.eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")

    head = open_clip.build_zero_shot_classifier(theirs, tokenizer, NAMES, TEMPLATES).numpy()
    embedded = ours.encode_texts([template.format(name) for name in NAMES for template in TEMPLATES])
    mean = embedded.reshape(len(NAMES), len(TEMPLATES), -1).mean(axis=1)
    ours_head = (mean / np.linalg.norm(mean, axis=1, keepdims=True)).T
    assert np.ptp(head, axis=1).max() > 1e-2, "the texts must differ, or the comparison is empty"
    np.testing.assert_allclose(ours_head, head, atol=1e-5)

    batch = torch.stack([ours.preprocess(photo) for photo in photos])
    np.testing.assert_array_equal(batch, torch.stack([transform(photo) for photo in photos]))
    with torch.no_grad():
        images = theirs.encode_image(batch, normalize=True)
    np.testing.assert_allclose(ours.encode(batch), images, atol=1e-5)
    np.testing.assert_allclose(ours.encode(batch).numpy() @ ours_head, images.numpy() @ head, atol=1e-5)
    assert ours.logit_scale == pytest.approx(float(theirs.logit_scale.detach().exp()))
    assert ours.dim == 48
    assert ours.description["warnings"] == []


@pytest.mark.parametrize("tower", ["own", "hugging_face_text"])
def test_texts_beyond_the_context_are_counted(tower, tmp_path):
    folder = hugging_face_model(tmp_path) if tower == "hugging_face_text" else write_model(tmp_path)
    context = 32 if tower == "hugging_face_text" else 77
    fits = "hen " * (context - 2)  # and two tokens for beginning and end
    model = load_model(f"open_clip:{folder}", device="cpu")
    assert model.text_warnings([fits, "hen", ""]) == []
    texts = [fits + "hen", fits + "great grey owl", "ice bear", fits]
    embedded = model.encode_texts(texts)
    np.testing.assert_array_equal(embedded[0], embedded[1])
    assert model.text_warnings(texts) == [f"2 texts have more than {context} tokens and are cut."]


@pytest.mark.parametrize(("name", "tag"), open_clip.list_pretrained())
def test_activation_is_the_one_the_weights_were_trained_with(name, tag):
    plain = name.removesuffix("-quickgelu")
    marked = open_clip.get_pretrained_cfg(plain, tag).get("quick_gelu", False)
    expected = bool(marked) or plain == "roberta-ViT-B-32"
    for written in (plain, f"{plain}-quickgelu"):
        resolved = resolve_activation(written, tag)
        assert (resolved.name, resolved.quick_gelu) == (plain, expected)
        assert open_clip.get_model_config(resolved.name) is not None


@pytest.mark.parametrize("tag", ["laion400m_e31", "laion400m_e32", "LAION400M-E32"])
@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-B-32-quickgelu"])
def test_as_published_reproduces_the_referee_only(name, tag):
    published = resolve_activation(name, tag, as_published=True)
    assert not published.quick_gelu
    assert published.trained_quick_gelu
    assert "as the paper apparently loaded it" in published.warnings[0]


def test_as_published_leaves_all_other_weights_alone():
    for name, tag in open_clip.list_pretrained():
        if not (name.startswith("ViT-B-32") and tag.startswith("laion400m")):
            assert (
                resolve_activation(name, tag, as_published=True).quick_gelu
                == resolve_activation(name, tag).quick_gelu
            )
    assert "unknown" in resolve_activation("ViT-B-16", "dfn2b", as_published=True).warnings[0]


@pytest.fixture
def thin(monkeypatch):
    """OpenCLIP's networks of these names with few layers: their activation does not depend on how many."""
    for name, layers in (("RN50", [1, 1, 1, 1]), ("ViT-B-32", 2)):
        for plain in (name, f"{name}-quickgelu"):
            config = open_clip.get_model_config(plain)
            config["vision_cfg"]["layers"] = layers
            config["text_cfg"]["layers"] = 2
            monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, plain, config)


def cached_tag(tmp_path, monkeypatch, name, tag):
    """Let OpenCLIP find a tag's weights in a local file, as if fetched before."""
    torch.manual_seed(1)
    path = tmp_path / "fetched.safetensors"
    save_file(open_clip.create_model(name).state_dict(), path)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED[name][tag], "file", str(path))


def test_quickgelu_weights_run_with_quickgelu_under_the_plain_name(thin, tmp_path, monkeypatch):
    cached_tag(tmp_path, monkeypatch, "ViT-B-32", "laion400m_e32")
    model = load_model("open_clip:ViT-B-32/laion400m_e32", device="cpu")
    layers = [type(block.mlp.gelu) for block in model.network.visual.transformer.resblocks]
    layers += [type(block.mlp.gelu) for block in model.network.transformer.resblocks]
    assert set(layers) == {QuickGELU}
    assert model.description["activation"] == "QuickGELU"
    published = load_model("open_clip:ViT-B-32-quickgelu/laion400m_e32?as_published", device="cpu")
    assert {type(block.mlp.gelu) for block in published.network.visual.transformer.resblocks} == {
        torch.nn.GELU
    }
    assert published.description["activation"] == "GELU"
    assert published.fingerprint != model.fingerprint
    noise = torch.randn(1, 3, 224, 224)
    assert (model.encode(noise) - published.encode(noise)).abs().max() > 1e-4


@pytest.mark.parametrize(("name", "activation"), [("RN50", "GELU"), ("RN50-quickgelu", "QuickGELU")])
def test_a_file_without_a_tag_leaves_the_name_to_decide_and_says_so(name, activation, thin, tmp_path):
    path = tmp_path / "mine.safetensors"
    save_file(open_clip.create_model("RN50").state_dict(), path)
    model = load_model(f"open_clip:{name}@{path}", device="cpu")
    assert model.description["activation"] == activation
    assert "carries no tag" in model.description["warnings"][0]
    gelu = type(model.network.transformer.resblocks[0].mlp.gelu)
    assert gelu is (QuickGELU if activation == "QuickGELU" else torch.nn.GELU)


@pytest.mark.parametrize("name", ["ViT-L-14-CLIPA", "MobileCLIP2-S0", "ViT-H-14-378-quickgelu", "ViT-L-14"])
def test_a_file_gets_the_preprocessing_of_the_published_weights_of_its_name(
    name, tmp_path, monkeypatch, photos
):
    """The network stays small: only its name says how photos are prepared."""
    config = {"embed_dim": 48, "vision_cfg": dict(VIT), "text_cfg": dict(TEXT)}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, config)
    path = tmp_path / "mine.safetensors"
    save_file(open_clip.create_model(name).state_dict(), path)
    model = load_model(f"open_clip:{name}@{path}", device="cpu")
    tag = open_clip.list_pretrained_tags_by_model(name)[0]
    published = open_clip.get_pretrained_cfg(name, tag)
    settings = {key: published[key] for key in ("mean", "std", "interpolation", "resize_mode")}
    expected = image_transform_v2(PreprocessCfg(size=64, **settings), is_train=False)
    np.testing.assert_array_equal(model.preprocess(photos[0]), expected(photos[0]))
    differing = [warning for warning in model.description["warnings"] if "differ in preprocessing" in warning]
    assert len(differing) == (name == "ViT-L-14")
    assert all("not that of laion2b_s32b_b82k" in warning for warning in differing)


def test_a_folders_own_configuration_decides(tmp_path):
    folder = write_model(tmp_path, quick_gelu=True, weights="open_clip_pytorch_model.bin")
    model = load_model(f"open_clip:{folder}", device="cpu")
    assert isinstance(model, DualEncoder)
    assert type(model.network.visual.transformer.resblocks[0].mlp.gelu) is QuickGELU
    assert model.description["weights"] == "open_clip_pytorch_model.bin"


def test_texts_keep_their_order_and_duplicates(tmp_path):
    model = load_model(f"open_clip:{write_model(tmp_path)}", device="cpu")
    texts = [
        "a b c d e f g h",
        "a",
        "a photo of a hen",
        "a",
        "one two",
        "x y z",
        "a photo of a hen",
        "q " * 90,
    ]
    together = model.encode_texts(texts)
    alone = np.concatenate([model.encode_texts([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_array_equal(together[1], together[3])
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    assert model.encode_texts([]).shape == (0, 48)


def test_a_tower_that_sees_the_padding_shares_nothing(tmp_path, monkeypatch):
    text = TEXT | {"pool_type": "last", "no_causal_mask": True}
    model = load_model(f"open_clip:{write_model(tmp_path, text=text, custom_text=True)}", device="cpu")
    monkeypatch.setattr(SHARED, lambda *_: pytest.fail("shared"))
    texts = [f"a photo of {name}" for name in NAMES]
    full = model.network.encode_text(open_clip.get_tokenizer("ViT-B-32")(texts), normalize=True)
    np.testing.assert_allclose(model.encode_texts(texts), full.detach(), atol=1e-6)


@pytest.mark.parametrize("states", [8, 40, 4096])
def test_beginnings_that_texts_share_change_nothing(tmp_path, monkeypatch, states):
    monkeypatch.setattr("counterground.models.open_clip._texts._STATES", states)
    model = load_model(f"open_clip:{write_model(tmp_path)}", device="cpu")
    texts = [template.format(name) for name in NAMES for template in TEMPLATES]
    texts += [texts[0][:-1], f"{texts[0]} and more", "q " * 90]
    whole = model.network.encode_text(open_clip.get_tokenizer("ViT-B-32")(texts), normalize=True)
    np.testing.assert_allclose(model.encode_texts(texts), whole.detach(), atol=1e-6)
    assert model.text_warnings(texts) == ["1 text has more than 77 tokens and is cut."]


def test_shared_beginnings_that_differ_are_given_up(tmp_path, monkeypatch):
    model = load_model(f"open_clip:{write_model(tmp_path)}", device="cpu")
    texts = [template.format(name) for name in NAMES for template in TEMPLATES]
    right = model.encode_texts(texts)
    monkeypatch.setattr(SHARED, lambda _tower, tree, _device: torch.ones(len(tree.ends), 48))
    np.testing.assert_allclose(model.encode_texts(texts), right, atol=1e-5)


def test_fingerprints_follow_content_not_names(tmp_path):
    first = load_model(f"open_clip:{write_model(tmp_path / 'a')}", device="cpu")
    same = load_model(f"open_clip:{write_model(tmp_path / 'b')}", device="cpu")
    other = load_model(f"open_clip:{write_model(tmp_path / 'c', seed=1)}", device="cpu")
    half = load_model(f"open_clip:{tmp_path / 'a'}", device="cpu", precision="bf16")
    published = load_model(f"open_clip:{tmp_path / 'a'}?as_published", device="cpu")
    assert first.fingerprint == same.fingerprint
    assert len({first.fingerprint, other.fingerprint, half.fingerprint, published.fingerprint}) == 4
    config = json.loads((tmp_path / "b" / "open_clip_config.json").read_text())
    config["preprocess_cfg"]["std"] = [1, 1, 1]
    (tmp_path / "b" / "open_clip_config.json").write_text(json.dumps(config))
    assert load_model(f"open_clip:{tmp_path / 'b'}", device="cpu").fingerprint != first.fingerprint


def test_bf16_embeddings_are_float32_and_close(tmp_path, photos):
    folder = write_model(tmp_path)
    full = load_model(f"open_clip:{folder}", device="cpu")
    half = load_model(f"open_clip:{folder}", device="cpu", precision="bf16")
    batch = torch.stack([full.preprocess(photo) for photo in photos])
    assert half.encode(batch).dtype == torch.float32
    np.testing.assert_allclose(half.encode(batch).norm(dim=1), 1, atol=1e-6)
    difference = (half.encode(batch) - full.encode(batch)).abs().max()
    assert 0 < difference < 0.05
    np.testing.assert_array_equal(half.encode_texts(NAMES), full.encode_texts(NAMES))


def test_palette_photos_become_rgb_before_the_resize(tmp_path, photos):
    folder = write_model(tmp_path)
    model = load_model(f"open_clip:{folder}", device="cpu")
    published = load_model(f"open_clip:{folder}?as_published", device="cpu")
    palette = photos[0].quantize(64)
    right = model.preprocess(palette)
    np.testing.assert_array_equal(right, model.preprocess(palette.convert("RGB")))
    library = open_clip.create_model_from_pretrained(f"local-dir:{folder}")[1](palette)
    np.testing.assert_array_equal(published.preprocess(palette), library)
    assert (right - library).abs().max() > 0.1, "resizing palette indices must show"
    assert model.convert_rgb_first
    assert not published.convert_rgb_first


def test_photos_are_resized_by_pil(tmp_path, photos):
    model = load_model(f"open_clip:{write_model(tmp_path)}", device="cpu")
    photo = photos[1]
    side = round(64 * 170 / 110)
    resized = photo.resize((int(64 * 170 / 110), 64), Image.Resampling.BICUBIC)
    left = round((resized.width - 64) / 2)
    pixels = np.asarray(resized.crop((left, 0, left + 64, 64)), np.float32) / 255
    mean, std = np.float32([0.48, 0.46, 0.41]), np.float32([0.27, 0.26, 0.28])
    np.testing.assert_allclose(model.preprocess(photo).permute(1, 2, 0), (pixels - mean) / std, atol=1e-5)
    tensor = torch.from_numpy(np.array(photo, np.float32)).permute(2, 0, 1)[None] / 255
    by_tensor = torch.nn.functional.interpolate(tensor, size=(64, side), mode="bicubic")[0]
    assert np.abs(by_tensor[:, :, left : left + 64].permute(1, 2, 0).numpy() - pixels).max() > 0.02


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "has no open_clip_config.json"),
        (("open_clip_config.json",), "has no weights"),
        (("open_clip_config.json", "a.bin", "b.bin"), "has several weights"),
    ],
)
def test_an_incomplete_folder_says_what_it_lacks(files, message, tmp_path):
    for name in files:
        (tmp_path / name).write_text('{"model_cfg": {"embed_dim": 8}}')
    with pytest.raises(UsageError, match=message):
        load_model(f"open_clip:{tmp_path}", device="cpu")


@pytest.mark.parametrize(
    ("part", "settings", "said"),
    [
        ("model_cfg", {"vision_cfg": "ViT-B-32"}, "cannot build what"),
        ("model_cfg", {"vision_cfg": {**VIT, "patch_size": 0}}, "ZeroDivisionError"),
        ("model_cfg", {"vision_cfg": {**VIT, "layers": 10**9}}, "has 1000000000 as layers"),
        ("preprocess_cfg", {"interpolation": "sharp"}, "AssertionError"),
    ],
)
def test_a_configuration_that_no_model_has_gets_one_line(part, settings, said, tmp_path):
    write_model(tmp_path)
    path = tmp_path / "open_clip_config.json"
    configuration = json.loads(path.read_text())
    configuration.setdefault(part, {}).update(settings)
    path.write_text(json.dumps(configuration))
    with pytest.raises(CounterGroundError, match=re.escape(said)) as caught:
        load_model(f"open_clip:{tmp_path}", device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ({"hf_tokenizer_name": "nobody/nothing"}, "the tokenizer"),
        ({"hf_model_name": "nobody/nothing"}, "the configuration of the text tower"),
    ],
)
def test_what_a_text_tower_needs_besides_its_weights_is_named(text, missing, tmp_path, monkeypatch):
    """The weights are there: to give them again would not help."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    write_model(tmp_path)
    path = tmp_path / "open_clip_config.json"
    configuration = json.loads(path.read_text())
    configuration["model_cfg"]["text_cfg"].update(text)
    path.write_text(json.dumps(configuration))
    with pytest.raises(CounterGroundError, match=f"Cannot fetch {missing} of .* --offline forbids") as caught:
        load_model(f"open_clip:{tmp_path}", device="cpu", offline=True)
    assert "give the weights" not in str(caught.value)


def test_weights_of_another_architecture_are_refused_in_one_line(tmp_path):
    write_model(tmp_path / "a")
    write_model(tmp_path / "b", vision=VIT | {"width": 96})
    (tmp_path / "a/open_clip_model.safetensors").write_bytes(
        (tmp_path / "b/open_clip_model.safetensors").read_bytes()
    )
    with pytest.raises(CounterGroundError, match="does not fit this architecture") as caught:
        load_model(f"open_clip:{tmp_path / 'a'}", device="cpu")
    assert "\n" not in str(caught.value)
