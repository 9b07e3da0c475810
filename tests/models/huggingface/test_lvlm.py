"""Losses of LVLMs against transformers' own forward pass, for every family, with and without sharing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_lvlm
import torch
from noise_photos import noise
from PIL import Image
from safetensors.torch import save_file
from tiny_hf import edit_json

from counterground.errors import CounterGroundError, UsageError
from counterground.models import load_model

# What keeps a network from sharing shows only with weights that no test has.
from counterground.models.huggingface._losses import Scorer, _obstacle

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


PHOTOS = [noise(size, seed) for seed, size in enumerate(SIZES)]


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


def test_many_answers_go_in_several_packs(folders):
    model = load_model(f"hf:{folders('qwen2_vl')}", device="cpu")
    answers = [f"A {word}" for word in tiny_lvlm.WORDS.split()]
    whole, _ = model.losses(PHOTOS[1], [QUESTION] * len(answers), answers)
    part = model._conversation.inputs(PHOTOS[1], QUESTION)
    candidates = [model._conversation.candidate(part, QUESTION, answer) for answer in answers]
    with torch.inference_mode():
        small = model._scorer.shared_losses(part, candidates, packed=9)
    assert np.abs(whole - small).max() < 1e-4


def test_a_mask_that_leaks_is_found_by_the_probe(folders, monkeypatch):
    def leaking(self, past, lengths):
        total = 1 + sum(lengths)
        return torch.zeros(1, 1, total, past + total)

    monkeypatch.setattr(Scorer, "_mask", leaking)
    model = load_model(f"hf:{folders('llava')}", device="cpu")
    assert not model.shares
    assert any("full forward passes" in warning for warning in model.description["warnings"])


def test_a_language_model_with_a_window_is_scored_by_full_passes(folders, library):
    folder = folders("llava_mistral")
    model = load_model(f"hf:{folder}", device="cpu")
    assert not model.shares
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


def test_a_processor_that_makes_photos_larger_than_memory_is_refused(folders, tmp_path):
    copy = shutil.copytree(folders("qwen2_vl"), tmp_path / "copy")
    path = copy / "processor_config.json"
    images = json.loads(path.read_text())["image_processor"]
    edit_json(path, image_processor={**images, "size": {"shortest_edge": 10**9, "longest_edge": 10**9}})
    with pytest.raises(CounterGroundError, match="1000000000 as"):
        load_model(f"hf:{copy}", device="cpu")


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


OWN_CODE = """
from transformers import LlavaForConditionalGeneration

class OwnLlava(LlavaForConditionalGeneration):
    def forward(self, *given, **named):
        made = super().forward(*given, **named)
        made.logits = made.logits * {factor}
        return made
"""
OWN_PROCESSOR = """
from transformers import LlavaProcessor

class OwnProcessor(LlavaProcessor):
    def __call__(self, images=None, text=None, **named):
        return super().__call__(images=[image.rotate({angle}) for image in images], text=text, **named)
"""
OWN_GENERATE = """
def generate(model, **named):
    return type(model).generate(model, **named)[:, -{length}:]
"""


@pytest.mark.parametrize(
    ("file", "text", "values", "about"),
    [
        ("own.py", OWN_CODE, ({"factor": 1.0}, {"factor": 3.0}), "AutoModelForImageTextToText own.OwnLlava"),
        ("own.py", OWN_PROCESSOR, ({"angle": 0}, {"angle": 90}), "AutoProcessor own.OwnProcessor"),
        ("custom_generate/generate.py", OWN_GENERATE, ({"length": 9}, {"length": 5}), ""),
    ],
    ids=["network", "processor", "generate"],
)
def test_an_edit_of_code_beside_the_weights_is_another_model(
    folders, library, tmp_path, monkeypatch, file, text, values, about
):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    copy = shutil.copytree(folders("llava"), tmp_path / "own_llava")
    if about:
        auto, name = about.split()
        edit_json(copy / "config.json", auto_map={auto: name})
        edit_json(copy / "processor_config.json", auto_map={auto: name})
        # The names that transformers writes by default are those of its own class only.
        tensors = {name: value.clone() for name, value in library(folders("llava"))[0].state_dict().items()}
        save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    (copy / file).parent.mkdir(exist_ok=True)
    found = []
    for value in (values[0], values[0], values[1]):
        (copy / file).write_text(text.format(**value))
        found.append(load_model(f"hf:{copy}?trust_remote_code", device="cpu").fingerprint)
    assert found[0] == found[1]
    assert found[0] != found[2]


@pytest.mark.parametrize("family", ["llava", "instructblip"])
def test_penalties_of_the_checkpoint_leave_answers_greedy(folders, tmp_path, family):
    copy = shutil.copytree(folders(family), tmp_path / "copy")
    plain = load_model(f"hf:{copy}", device="cpu")
    wanted = plain.generate(PHOTOS[0], QUESTION, max_new_tokens=20)
    penalties = {"repetition_penalty": 5.0, "no_repeat_ngram_size": 1, "do_sample": True, "top_k": 3}
    edit_json(copy / "generation_config.json", **penalties)
    edit_json(copy / "config.json", **penalties)
    model = load_model(f"hf:{copy}", device="cpu")
    assert model.generate(PHOTOS[0], QUESTION, max_new_tokens=20) == wanted
    assert not any("repetition_penalty" in kept for kept in model.description["generation_settings"])


def test_the_token_that_ends_an_answer_is_part_of_the_fingerprint(folders, tmp_path):
    copy = shutil.copytree(folders("llava"), tmp_path / "copy")
    before = load_model(f"hf:{copy}", device="cpu")
    answer = before.generate(PHOTOS[0], QUESTION, max_new_tokens=20)
    tokens = before._conversation.processor.tokenizer(answer, add_special_tokens=False)["input_ids"]
    edit_json(copy / "generation_config.json", eos_token_id=tokens[3])
    after = load_model(f"hf:{copy}", device="cpu")
    assert after.generate(PHOTOS[0], QUESTION, max_new_tokens=20) != answer
    assert after.fingerprint != before.fingerprint
    assert after.description["generation_settings"][0]["eos_token_id"] == tokens[3]


def test_a_template_with_a_date_gets_the_same_day_in_every_run(folders, tmp_path):
    copy = shutil.copytree(folders("llava"), tmp_path / "copy")
    template = copy / "chat_template.jinja"
    date = "{% if strftime_now is defined %}{{ strftime_now('%Y-%m-%d') + ' ' }}{% endif %}"
    template.write_text(date + template.read_text())
    model = load_model(f"hf:{copy}", device="cpu")
    assert model.prompt("What is it?").startswith("2024-07-26 USER")
    assert model.prompt("What is it?", "A zebra").startswith("2024-07-26 USER")
    assert model.description["chat_template"].startswith(date)
    assert any("26 July 2024" in warning for warning in model.description["warnings"])


def test_a_template_that_opens_thoughts_gets_a_warning_and_its_answers_are_marked(folders, tmp_path):
    copy = shutil.copytree(folders("qwen2_vl"), tmp_path / "copy")
    template = copy / "chat_template.jinja"
    template.write_text(
        template.read_text().replace(
            "<|im_start|>assistant\n{% endif %}", "<|im_start|>assistant\n<think>\n{% endif %}"
        )
    )
    thinks, answers = (load_model(f"hf:{folder}", device="cpu") for folder in (copy, folders("qwen2_vl")))
    photo = Image.new("RGB", (60, 60), (200, 10, 10))
    assert any("begin with reasoning" in warning for warning in thinks.description["warnings"])
    assert not any("reasoning" in warning for warning in answers.description["warnings"])
    assert thinks.generate(photo, "What is it?", max_new_tokens=3).startswith("<think>")
    assert not answers.generate(photo, "What is it?", max_new_tokens=3).startswith("<think>")


@pytest.mark.parametrize(
    ("family", "file", "change"),
    [
        (
            "llava",
            "processor_config.json",
            {"vision_feature_select_strategy": "full", "num_additional_image_tokens": 0},
        ),
        ("instructblip", "qformer_tokenizer/tokenizer_config.json", {"pad_token": "<unk>"}),
    ],
)
def test_the_fingerprint_knows_what_else_the_processor_holds(folders, tmp_path, family, file, change):
    copy = shutil.copytree(folders(family), tmp_path / "copy")
    before = load_model(f"hf:{copy}", device="cpu").fingerprint
    edit_json(copy / file, **change)
    assert load_model(f"hf:{copy}", device="cpu").fingerprint != before


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
