"""Losses of LVLMs against transformers' own forward pass, for every family, with and without sharing."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_lvlm
import torch
from PIL import Image

from counterground.errors import CounterGroundError, UsageError
from counterground.models import load_model
from counterground.models.generative import Scorer

# What keeps a network from sharing shows only with weights that no test has.
from counterground.models.generative._losses import _obstacle

QUESTION = "What is the main object in the image?"
ANSWERS = (
    "A zebra",
    "A ox",
    "A African chameleon on a long branch",
    "A hamster",
    "A ice bear",
    "A flamingo",
    "A X",
)
SIZES = ((64, 48), (40, 120), (200, 50), (56, 56), (31, 77), (150, 140), (90, 33))
LEADS = {"llava": " ", "llava_next": " ", "instructblip": " ", "qwen2_vl": "", "qwen2_5_vl": ""}


def photo(size: tuple[int, int], seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


PHOTOS = [photo(size, seed) for seed, size in enumerate(SIZES)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("lvlms")
    made = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = tiny_lvlm.build(family, root / family)
        return made[family]

    return folder


@pytest.fixture(scope="module")
def library():
    """Network and processor as transformers' own classes load them."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    loaded = {}

    def load(folder: Path):
        if folder not in loaded:
            network = AutoModelForImageTextToText.from_pretrained(folder).eval()
            loaded[folder] = network, AutoProcessor.from_pretrained(folder)
        return loaded[folder]

    return load


def lead(processor, family: str, question: str) -> str:
    """The text before an answer, by the template of the family as its model card uses it."""
    if family.startswith("instructblip"):
        return question + " "
    asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]
    return processor.apply_chat_template(asked, add_generation_prompt=True) + LEADS.get(family, " ")


def answer_length(processor, before: str, answer: str) -> int:
    """Tokens that reach beyond the text before the answer, by the tokenizer's own character offsets."""
    given = processor.tokenizer(before + answer, return_offsets_mapping=True)
    return sum(end > len(before) for _, end in given["offset_mapping"])


def library_losses(network, processor, family, images, question, answer) -> list[float]:
    """Summed losses by transformers alone: one padded batch over the photos, one forward pass."""
    before = lead(processor, family, question)
    texts = [before + answer] * len(images)
    inputs = processor(images=images, text=texts, return_tensors="pt", padding=True)
    if family == "instructblip":  # its Q-Former reads the question only
        read = processor(images=images, text=[question] * len(images), return_tensors="pt", padding=True)
        inputs.update({key: read[key] for key in read if key.startswith("qformer")})
    count = answer_length(processor, before, answer)
    with torch.inference_mode():
        logits = network(**inputs).logits
    found = []
    for row, mask in enumerate(inputs["attention_mask"]):
        end = int(mask.nonzero().max()) + 1
        targets = inputs["input_ids"][row, end - count : end]
        predicted = logits[row, end - count - 1 : end - 1].log_softmax(dim=-1)
        found.append(-float(predicted.gather(1, targets[:, None]).sum()))
    return found


@pytest.mark.parametrize("family", tiny_lvlm.FAMILIES)
@pytest.mark.parametrize("shared", [True, False])
def test_losses_are_those_of_the_library(folders, library, family, shared):
    model = load_model(f"hf:{folders(family)}", device="cpu")
    assert model.kind == "generative"
    assert model.shares, model.description["key_value_sharing"]
    model.shares = shared
    ours = [model.losses(image, [QUESTION] * len(ANSWERS), ANSWERS) for image in PHOTOS]
    sums = np.stack([each[0] for each in ours])
    network, processor = library(folders(family))
    counts = [answer_length(processor, lead(processor, family, QUESTION), answer) for answer in ANSWERS]
    assert all(each[1].tolist() == counts for each in ours)
    assert len(set(counts)) >= 3
    for column, answer in enumerate(ANSWERS):
        batch = library_losses(network, processor, family, PHOTOS, QUESTION, answer)
        assert np.abs(sums[:, column] - batch).max() < 1e-4
        alone = library_losses(network, processor, family, [PHOTOS[column]], QUESTION, answer)[0]
        assert abs(sums[column, column] - alone) < 1e-4
    assert np.ptp(sums, axis=0).min() > 1e-3, "the photo must matter, or nothing is tested"


@pytest.mark.parametrize("family", tiny_lvlm.FAMILIES)
def test_questions_that_differ_share_the_image_only(folders, library, family):
    model = load_model(f"hf:{folders(family)}", device="cpu")
    questions = [
        f"Is there a {name} in the image?" for name in ("zebra", "ox", "African chameleon", "flamingo")
    ]
    network, processor = library(folders(family))
    for image in PHOTOS[:3]:
        shared, tokens = model.losses(image, questions, ["Yes"] * 4)
        by_library = [
            library_losses(network, processor, family, [image], question, "Yes")[0] for question in questions
        ]
        assert np.abs(shared - by_library).max() < 1e-4
        assert (tokens == tokens[0]).all()
        assert np.ptp(shared) > 1e-4


def test_the_image_is_encoded_once_for_all_answers(folders):
    calls = {"vision": 0, "language": 0}
    model = load_model(f"hf:{folders('llava')}", device="cpu")
    inner = model._network.model
    inner.vision_tower.register_forward_hook(lambda *_: calls.update(vision=calls["vision"] + 1))
    inner.language_model.register_forward_hook(lambda *_: calls.update(language=calls["language"] + 1))
    model.losses(PHOTOS[0], [QUESTION] * len(ANSWERS), ANSWERS)
    assert calls == {"vision": 1, "language": 2}
    model.shares = False
    model.losses(PHOTOS[0], [QUESTION] * len(ANSWERS), ANSWERS)
    assert calls["vision"] == 1 + len(ANSWERS)


def test_many_answers_go_in_several_packs(folders, monkeypatch):
    model = load_model(f"hf:{folders('qwen2_vl')}", device="cpu")
    answers = [f"A {word}" for word in tiny_lvlm.WORDS.split()]
    whole, _ = model.losses(PHOTOS[1], [QUESTION] * len(answers), answers)
    part = model._conversation.inputs(PHOTOS[1], QUESTION)
    candidates = [model._conversation.candidate(part, QUESTION, answer) for answer in answers]
    with torch.inference_mode():
        (small,) = model._scorer.shared_losses([part], [candidates], packed=9)
    assert np.abs(whole - small).max() < 1e-4


def test_a_mask_that_leaks_is_found_by_the_probe(folders, monkeypatch):
    def leaking(self, past, lengths):
        total = 1 + sum(lengths)
        return torch.zeros(1, 1, total, past + total)

    monkeypatch.setattr(Scorer, "_mask", leaking)
    model = load_model(f"hf:{folders('llava')}", device="cpu")
    assert not model.shares
    assert "other losses on a probe" in model.description["key_value_sharing"]
    assert any("full forward passes" in warning for warning in model.description["warnings"])


def test_a_language_model_with_a_window_is_scored_by_full_passes(folders, library):
    folder = folders("llava_mistral")
    model = load_model(f"hf:{folder}", device="cpu")
    assert not model.shares
    assert "without full attention" in model.description["key_value_sharing"]
    sums, _ = model.losses(PHOTOS[0], [QUESTION] * 2, ANSWERS[:2])
    network, processor = library(folder)
    wanted = [
        library_losses(network, processor, "llava", PHOTOS[:1], QUESTION, answer)[0] for answer in ANSWERS[:2]
    ]
    assert np.abs(sums - wanted).max() < 1e-4


def test_windows_in_some_layers_only_are_seen_too():
    from transformers import Gemma3Config, Qwen2VLConfig

    assert "without full attention" in _obstacle(Gemma3Config())
    assert _obstacle(Qwen2VLConfig()) == ""


def test_an_encoder_decoder_gets_the_answer_as_labels(folders, library):
    folder = folders("instructblip_t5")
    model = load_model(f"hf:{folder}", device="cpu")
    sums, tokens = model.losses(PHOTOS[0], [QUESTION] * 3, ANSWERS[:3])
    network, processor = library(folder)
    inputs = processor(images=PHOTOS[:1], text=[QUESTION], return_tensors="pt")
    for loss, count, answer in zip(sums, tokens, ANSWERS, strict=False):
        labels = processor.tokenizer(answer, add_special_tokens=False, return_tensors="pt").input_ids
        with torch.inference_mode():
            mean = float(network(**inputs, labels=labels).loss)
        assert labels.shape[1] == count
        assert abs(loss - mean * count) < 1e-4
    assert any("encoder-decoder" in warning for warning in model.description["warnings"])


@pytest.mark.parametrize("family", ["llava", "instructblip", "qwen2_5_vl"])
def test_words_are_the_librarys_greedy_ones(folders, library, family):
    model = load_model(f"hf:{folders(family)}", device="cpu")
    network, processor = library(folders(family))
    before = lead(processor, family, QUESTION).removesuffix(" ")
    inputs = processor(images=PHOTOS[:1], text=[before], return_tensors="pt")
    with torch.inference_mode():
        ids = network.generate(**inputs, max_new_tokens=9, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    wanted = processor.tokenizer.decode(ids, skip_special_tokens=True).strip()
    assert model.generate(PHOTOS[0], QUESTION, max_new_tokens=9) == wanted


def test_prompts_are_written_as_the_template_does(folders):
    written = {
        family: load_model(f"hf:{folders(family)}", device="cpu").prompt("What is it?", "A zebra")
        for family in ("llava", "llava_next", "instructblip", "qwen2_vl")
    }
    assert written["llava"] == "USER: <image>\nWhat is it? ASSISTANT: A zebra"
    assert written["llava_next"] == "[INST] <image>\nWhat is it? [/INST] A zebra"
    assert written["instructblip"] == "What is it? A zebra"
    assert written["qwen2_vl"].endswith("What is it?<|im_end|>\n<|im_start|>assistant\nA zebra")


def test_the_template_is_recorded_and_one_is_needed(folders, tmp_path):
    model = load_model(f"hf:{folders('llava')}", device="cpu")
    assert model.description["chat_template"] == tiny_lvlm.LLAVA_TEMPLATE
    assert (
        load_model(f"hf:{folders('instructblip')}", device="cpu")
        .description["chat_template"]
        .startswith("none")
    )
    bare = tmp_path / "bare"
    shutil.copytree(folders("llava"), bare)
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(UsageError, match="no chat template"):
        load_model(f"hf:{bare}", device="cpu")


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{% for x in %}", "its chat template cannot be used"),
        ("{{ raise_exception('only one turn') }}", r"cannot be used \(only one turn\)"),
        ("<image> Hello.", "leaves out the question; it writes '<image> Hello.'"),
        (
            "{{ messages[0]['content'][-1]['text'] }}",
            "it fails on a probe photo .*0 <image> tokens",
        ),
        ("", "has no chat template"),
    ],
)
def test_a_template_that_cannot_ask_is_refused_in_one_line(folders, tmp_path, template, said):
    copy = shutil.copytree(folders("llava"), tmp_path / "copy")
    (copy / "chat_template.jinja").write_text(template)
    with pytest.raises(CounterGroundError, match=f"hf:.*copy.*{said}") as caught:
        load_model(f"hf:{copy}", device="cpu")
    assert "\n" not in str(caught.value)


def test_a_template_that_writes_the_first_token_does_not_get_it_twice(folders, tmp_path):
    plain = load_model(f"hf:{folders('llava')}", device="cpu")
    copy = tmp_path / "copy"
    shutil.copytree(folders("llava"), copy)
    template = copy / "chat_template.jinja"
    template.write_text("{{ bos_token }}" + template.read_text())
    written = load_model(f"hf:{copy}", device="cpu")
    start = written._conversation.processor.tokenizer.bos_token_id
    for model in (plain, written):
        ids = model._conversation.prepared(PHOTOS[0], QUESTION)["input_ids"][0].tolist()
        assert ids.count(start) == 1
        assert ids[0] == start
    ours, _ = written.losses(PHOTOS[0], [QUESTION] * 2, ANSWERS[:2])
    theirs, _ = plain.losses(PHOTOS[0], [QUESTION] * 2, ANSWERS[:2])
    assert np.abs(ours - theirs).max() < 1e-4


def test_the_fingerprint_knows_the_template_not_the_place(folders, tmp_path):
    first = load_model(f"hf:{folders('llava')}", device="cpu").fingerprint
    copy = tmp_path / "copy"
    shutil.copytree(folders("llava"), copy)
    assert load_model(f"hf:{copy}", device="cpu").fingerprint == first
    template = copy / "chat_template.jinja"
    template.write_text(template.read_text().replace("ASSISTANT", "BOT"))
    assert load_model(f"hf:{copy}", device="cpu").fingerprint != first


@pytest.mark.parametrize("family", tiny_lvlm.FAMILIES)
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_keeps_the_last_product_in_float32(folders, family, precision):
    exact = load_model(f"hf:{folders(family)}", device="cpu")
    half = load_model(f"hf:{folders(family)}", device="cpu", precision=precision)
    assert half.shares, half.description["key_value_sharing"]
    embeddings = half._network.get_input_embeddings().weight
    assert embeddings.dtype == {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    seen = []
    half._network.get_output_embeddings().register_forward_hook(lambda *given: seen.append(given[2].dtype))
    a, _ = exact.losses(PHOTOS[0], [QUESTION] * len(ANSWERS), ANSWERS)
    b, _ = half.losses(PHOTOS[0], [QUESTION] * len(ANSWERS), ANSWERS)
    assert set(seen) == {torch.float32}
    assert 0 < np.abs(a - b).max() < 0.1 * a.max()
    assert exact.fingerprint != half.fingerprint
    assert half.generate(PHOTOS[0], QUESTION, max_new_tokens=3)
