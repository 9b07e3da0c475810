"""Dual encoders of transformers: the numbers of the library's own forward, and the traps around them."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import open_clip
import pytest
import torch
from noise_photos import noise
from PIL import Image
from tiny_hf import KIN, build, edit_json

from counterground.models import DualEncoder, load_model

# The list itself: each of its families must have a test here.
from counterground.models.huggingface._loading import DUAL_ENCODERS

FAMILIES = ("clip", "siglip", "siglip2", "naflex", "align", "chinese_clip")
TEXTS = [
    "A photo of ice bear.",
    "a photo of Black Swan!",
    "flamingo",
    "a photo of a great grey owl, on snow.",
]
SIZES = [(32, 32), (48, 40), (200, 60), (31, 90), (7, 5), (640, 480), (33, 32)]


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


PHOTOS = [noise(size, seed) for seed, size in enumerate(SIZES)]


def canonical(text):
    return re.sub(r"[^\w ]", "", text).lower()


def library_logits(folder, family, texts, images):
    """The library's own processor and forward, called as its documentation of the family says."""
    from transformers import AutoModel, AutoProcessor

    padding = {"clip": True, "chinese_clip": True}.get(family, "max_length")
    # Neither Gemma's tokenizer nor Siglip2Tokenizer removes punctuation; the former does not lower-case.
    written = [canonical(text) for text in texts] if family in ("siglip2", "naflex") else texts
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
    from transformers import AutoModel

    model = load_model(f"hf:{tiny(family)}", device="cpu")
    assert isinstance(model, DualEncoder)
    pixels = torch.stack([model.preprocess(image) for image in PHOTOS])
    images = torch.cat([model.encode(part) for part in pixels.split(batch)]).numpy()
    texts = model.encode_texts(TEXTS)
    expected = np.concatenate(
        [library_logits(tiny(family), family, TEXTS, PHOTOS[at : at + batch]) for at in range(0, 7, batch)]
    )
    bias = float(getattr(AutoModel.from_pretrained(tiny(family)), "logit_bias", torch.zeros(1)))
    np.testing.assert_allclose(images @ texts.T, (expected - bias) / model.logit_scale, atol=1e-5)
    for axis in (0, 1):
        assert np.ptp(expected, axis=axis).min() / model.logit_scale > 1e-3, "photos and texts must matter"


@pytest.mark.parametrize("family", KIN)
def test_scores_of_their_kin_equal_the_librarys_own_forward(family, tiny):
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    model, folder = load_model(f"hf:{tiny(family)}", device="cpu"), tiny(family)
    images = model.encode(torch.stack([model.preprocess(image) for image in PHOTOS])).numpy()
    tokens = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    pixels = AutoImageProcessor.from_pretrained(folder)(PHOTOS, return_tensors="pt")
    with torch.inference_mode():
        expected = AutoModel.from_pretrained(folder).eval()(**tokens, **pixels).logits_per_image.numpy()
    ours = images @ model.encode_texts(TEXTS).T
    np.testing.assert_allclose(ours, expected / model.logit_scale, atol=1e-5)
    assert np.ptp(expected / model.logit_scale) > 0.01


def test_every_type_that_is_taken_for_a_dual_encoder_was_compared():
    assert set(DUAL_ENCODERS) == {*KIN, *FAMILIES} - {"naflex"}  # whose type is siglip2


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
            "clean": "canonicalize",
            "do_lower_case": True,
        }
        == about["tokenization"]
    )
    assert about["preprocessing"]["class"] == "SiglipImageProcessor"
    assert about["preprocessing"]["backend"] == "torchvision"
    assert load_model(f"hf:{tiny('clip')}", device="cpu").description["activation"] == "quick_gelu"
    json.dumps(about)


def test_half_precision_weights_are_computed_in_float32(copy):
    from safetensors.torch import load_file, save_file

    folder = copy("clip")
    state = {key: value.half() for key, value in load_file(folder / "model.safetensors").items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    edit_json(folder / "config.json", dtype="float16")
    from transformers import CLIPModel

    model = load_model(f"hf:{folder}", device="cpu")
    pixels = model.preprocess(PHOTOS[1])[None]
    for dtype, equal in ((torch.float32, True), (torch.float16, False)):
        network = CLIPModel.from_pretrained(folder, dtype=dtype).eval()
        with torch.inference_mode():
            made = network.get_image_features(pixel_values=pixels.to(dtype)).pooler_output.float()
        made = torch.nn.functional.normalize(made, dim=-1)
        assert torch.allclose(model.encode(pixels), made, atol=1e-6) == equal


def test_under_bf16_projection_and_texts_stay_float32(tiny):
    full, half = (load_model(f"hf:{tiny('clip')}", device="cpu", precision=name) for name in ("fp32", "bf16"))
    pixels = torch.stack([full.preprocess(image) for image in PHOTOS])
    a, b = full.encode(pixels), half.encode(pixels)
    assert a.dtype == b.dtype == torch.float32
    assert 1e-6 < (a - b).abs().max() < 0.05
    seen = []
    half.network.visual_projection.register_forward_hook(lambda _, given, made: seen.append(made.dtype))
    half.encode(pixels)
    assert seen == [torch.float32]
    assert full.fingerprint != half.fingerprint
    np.testing.assert_array_equal(full.encode_texts(TEXTS), half.encode_texts(TEXTS))


# Traps, each of which has cost others points.


def test_siglip_texts_are_padded_to_the_full_context(tiny):
    from transformers import AutoModel, AutoTokenizer

    tokenizer, network = (
        AutoTokenizer.from_pretrained(tiny("siglip")),
        AutoModel.from_pretrained(tiny("siglip")),
    )
    ours = load_model(f"hf:{tiny('siglip')}", device="cpu").encode_texts(TEXTS)
    full = unit(network.eval(), tokenizer(TEXTS, padding="max_length", max_length=64, return_tensors="pt"))
    short = unit(network.eval(), tokenizer(TEXTS, padding=True, return_tensors="pt"))
    np.testing.assert_allclose(ours, full, atol=1e-5)
    assert np.abs(ours - short).max() > 0.01


@pytest.mark.parametrize("family", ["siglip", "siglip2", "naflex"])
def test_siglip_is_not_told_which_tokens_are_padding(family, tiny, copy):
    folder = copy(family)
    edit_json(folder / "tokenizer_config.json", model_input_names=["input_ids", "attention_mask"])
    ours = load_model(f"hf:{folder}", device="cpu").encode_texts(TEXTS)
    np.testing.assert_array_equal(ours, load_model(f"hf:{tiny(family)}", device="cpu").encode_texts(TEXTS))
    from transformers import AutoModel, AutoTokenizer

    tokenizer, network = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    written = [canonical(text) for text in TEXTS]
    masked = tokenizer(written, padding="max_length", max_length=64, return_tensors="pt")
    assert np.abs(ours - unit(network.eval(), masked)).max() > 1e-3


@pytest.mark.parametrize("family", ["siglip", "siglip2", "naflex"])
def test_siglip_texts_lose_capitals_and_punctuation(family, tiny):
    model = load_model(f"hf:{tiny(family)}", device="cpu")
    written, plain, other = model.encode_texts(["A PHOTO of an: Ice_Bear!", "a photo of an ice bear", "ice"])
    np.testing.assert_array_equal(written, plain)
    assert np.abs(plain - other).max() > 1e-3


@pytest.mark.parametrize("family", ["siglip", "siglip2", "naflex"])
def test_openclip_gives_siglips_weights_the_same_tokens(family, tiny):
    """OpenCLIP's own tokenizer class, as its configurations of these models build it, from the same files."""
    from open_clip.tokenizer import HFTokenizer
    from transformers import AutoModel

    theirs = HFTokenizer(str(tiny(family)), context_length=64, clean="canonicalize")
    texts = [*TEXTS, "A_B &amp; c", "  two   spaces\t", "it's 100% \u00c9t\u00e9 \u2014 naïve"]
    network = AutoModel.from_pretrained(tiny(family)).eval()
    ours = load_model(f"hf:{tiny(family)}", device="cpu").encode_texts(texts)
    np.testing.assert_allclose(ours, unit(network, {"input_ids": theirs(texts)}), atol=1e-6)


def test_openclip_canonicalises_the_texts_of_every_siglip():
    names = [name for name in open_clip.list_models() if "SigLIP" in name]
    kwargs = {name: open_clip.get_model_config(name)["text_cfg"]["tokenizer_kwargs"] for name in names}
    assert any("SigLIP2" in name for name in names)
    assert {name: given["clean"] for name, given in kwargs.items()} == dict.fromkeys(names, "canonicalize")


def test_texts_beyond_the_context_are_cut_before_their_end_token_and_counted(tiny):
    model = load_model(f"hf:{tiny('clip')}", device="cpu")
    long = "a photo of " + "very " * 40 + "ice bear"
    texts = [long, long + " and more", "short"]
    embedded = model.encode_texts(texts)
    np.testing.assert_array_equal(embedded[0], embedded[1])
    from transformers import AutoModel, AutoTokenizer

    tokenizer, network = AutoTokenizer.from_pretrained(tiny("clip")), AutoModel.from_pretrained(tiny("clip"))
    tokens = tokenizer([long], truncation=True, max_length=77, return_tensors="pt")
    assert tokens["input_ids"][0, -1] == tokenizer.eos_token_id
    np.testing.assert_allclose(embedded[:1], unit(network.eval(), tokens), atol=1e-5)
    assert model.text_warnings(texts) == ["2 texts have more than 77 tokens and are cut."]


def test_photos_become_rgb_before_they_are_resized(copy):
    folder = copy("clip")
    about = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    edit_json(folder / "processor_config.json", image_processor={**about, "do_convert_rgb": False})
    model = load_model(f"hf:{folder}", device="cpu")
    palette = PHOTOS[1].quantize(16)
    np.testing.assert_array_equal(model.preprocess(palette), model.preprocess(palette.convert("RGB")))
    grey = PHOTOS[1].convert("L")
    np.testing.assert_array_equal(model.preprocess(grey), model.preprocess(grey.convert("RGB")))


def test_the_librarys_resize_is_pillows_to_two_levels_and_pillows_own_on_request(tiny):
    noise = np.random.default_rng(3).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    large = Image.fromarray(noise).resize((640, 480), Image.Resampling.NEAREST)
    default = load_model(f"hf:{tiny('siglip')}", device="cpu")
    pillow = load_model(f"hf:{tiny('siglip')}?backend=pil", device="cpu")
    exact = np.asarray(large.resize((32, 32), Image.Resampling.BICUBIC), np.float32) / 127.5 - 1
    levels = 127.5 * np.abs(default.preprocess(large).permute(1, 2, 0).numpy() - exact)
    assert levels.max() < 2.5
    np.testing.assert_allclose(pillow.preprocess(large).permute(1, 2, 0), exact, atol=1e-6)
    blunt = torch.nn.functional.interpolate(
        torch.from_numpy(np.asarray(large, np.float32)).permute(2, 0, 1)[None], (32, 32), mode="bicubic"
    )
    assert np.abs(blunt[0].permute(1, 2, 0).numpy() / 127.5 - 1 - exact).max() * 127.5 > 5
    assert (
        default.description["preprocessing"]["backend"],
        pillow.description["preprocessing"]["backend"],
    ) == (
        "torchvision",
        "pil",
    )
    assert default.fingerprint != pillow.fingerprint


def test_the_activation_is_the_configurations(tiny, copy):
    folder = copy("clip")
    config = json.loads((folder / "config.json").read_text())
    edit_json(folder / "config.json", vision_config={**config["vision_config"], "hidden_act": "gelu"})
    quick, plain = (load_model(f"hf:{where}", device="cpu") for where in (tiny("clip"), folder))
    assert (quick.description["activation"], plain.description["activation"]) == ("quick_gelu", "gelu")
    pixels = quick.preprocess(PHOTOS[1])[None]
    assert (quick.encode(pixels) - plain.encode(pixels)).abs().max() > 1e-4
    assert quick.fingerprint != plain.fingerprint


def test_naflex_keeps_the_shape_of_a_photo_and_survives_blank_slots(tiny):
    model = load_model(f"hf:{tiny('naflex')}", device="cpu")
    wide, tall = model.preprocess(noise((200, 50))), model.preprocess(noise((50, 200)))
    assert wide.shape == tall.shape
    grid = wide[0, -2:].tolist()
    assert grid[1] >= 3 * grid[0]
    assert tall[0, -2:].tolist() == grid[::-1]
    together = model.encode(torch.stack([wide, torch.zeros_like(wide), tall]))
    assert torch.isfinite(together[[0, 2]]).all()
    np.testing.assert_allclose(together[:1], model.encode(wide[None]), atol=1e-6)


def test_the_fingerprint_is_of_content_not_of_the_place(tiny, copy):
    here, there = (
        load_model(f"hf:{tiny('siglip')}", device="cpu"),
        load_model(f"hf:{copy('siglip')}", device="cpu"),
    )
    assert here.fingerprint == there.fingerprint


def test_the_fingerprint_sees_the_tokenizer(copy, tiny):
    folder = copy("siglip")
    edit_json(folder / "tokenizer_config.json", do_lower_case=False)
    here, there = load_model(f"hf:{tiny('siglip')}", device="cpu"), load_model(f"hf:{folder}", device="cpu")
    assert here.fingerprint != there.fingerprint


def unit(network, tokens):
    with torch.inference_mode():
        features = network.get_text_features(**tokens).pooler_output
    return torch.nn.functional.normalize(features, dim=-1).numpy()


def test_clip_equals_open_clip_with_the_same_weights_and_pillow(tiny, tmp_path):
    """An independent reference: another library's architecture, preprocessing and activation."""
    import open_clip
    from safetensors.torch import load_file, save_file

    state = load_file(tiny("clip") / "model.safetensors")
    vision = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8, "mlp_ratio": 1.5}
    text = {"context_length": 8, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    config = {"embed_dim": 16, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}
    model = open_clip.CLIP(**config)
    model.load_state_dict({**model.state_dict(), **open_clip_tower(state)})
    about = json.loads((tiny("clip") / "processor_config.json").read_text())["image_processor"]
    preprocess = {"mean": about["image_mean"], "std": about["image_std"], "interpolation": "bicubic"}
    described = {"model_cfg": config, "preprocess_cfg": preprocess}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(described))
    save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
    theirs = load_model(f"open_clip:{tmp_path}", device="cpu")
    ours = load_model(f"hf:{tiny('clip')}?backend=pil", device="cpu")
    a, b = (
        model.encode(torch.stack([model.preprocess(image) for image in PHOTOS])) for model in (ours, theirs)
    )
    np.testing.assert_allclose(a, b, atol=1e-5)


def open_clip_tower(state):
    """Return the image tower of transformers' CLIP under OpenCLIP's names."""
    source, target = "vision_model.encoder.layers", "visual.transformer.resblocks"
    tower = {
        "visual.class_embedding": state["vision_model.embeddings.class_embedding"],
        "visual.conv1.weight": state["vision_model.embeddings.patch_embedding.weight"],
        "visual.positional_embedding": state["vision_model.embeddings.position_embedding.weight"],
        "visual.proj": state["visual_projection.weight"].T.contiguous(),
    }
    names = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj"}
    names |= {"mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
    for part in ("weight", "bias"):
        tower[f"visual.ln_pre.{part}"] = state[f"vision_model.pre_layrnorm.{part}"]
        tower[f"visual.ln_post.{part}"] = state[f"vision_model.post_layernorm.{part}"]
        for layer in range(2):
            for theirs, ours in names.items():
                tower[f"{target}.{layer}.{theirs}.{part}"] = state[f"{source}.{layer}.{ours}.{part}"]
            joined = [state[f"{source}.{layer}.self_attn.{head}_proj.{part}"] for head in "qkv"]
            tower[f"{target}.{layer}.attn.in_proj_{part}"] = torch.cat(joined)
    return tower
