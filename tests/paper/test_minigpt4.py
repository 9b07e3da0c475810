"""MiniGPT-4 from a checkout: a stand-in with the interface of its repository since version 2, made small.

It has the same modules (``minigpt4.common.config``, ``.registry``, ``.models``, ``.processors``,
``.datasets.builders``), the same calls, and a real language model with random weights.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from noise_photos import noise

from counterground.errors import CounterGroundError, UsageError
from counterground.models import check_specs, load_model

REGISTRY = """
class Registry:
    models, processors = {}, {}
    def get_model_class(self, name): return self.models[name]
    def get_processor_class(self, name): return self.processors[name]
registry = Registry()
"""
CONFIG = """
import json
class Settings(dict):
    __getattr__ = dict.__getitem__
class Config:
    def __init__(self, args):
        assert args.options is None
        read = json.loads(open(args.cfg_path).read(), object_hook=Settings)
        self.model_cfg, self.datasets_cfg = read.model, read.datasets
"""
PROCESSORS = """
import numpy as np, torch
from minigpt4.common.registry import registry
class Eval:
    def __init__(self, size): self.size = size
    def __repr__(self): return f"Eval({self.size})"
    @classmethod
    def from_config(cls, cfg): return cls(cfg.image_size)
    def __call__(self, image):
        pixels = np.asarray(image.resize((self.size, self.size)), dtype=np.float32) / 255
        return torch.from_numpy(pixels).permute(2, 0, 1)
registry.processors["blip2_image_eval"] = Eval
"""
MODEL = """
import torch
from minigpt4.common.registry import registry
from transformers import LlamaConfig, LlamaForCausalLM

class Tokenizer:
    pad_token_id, bos_token_id = 0, 1
    def __call__(self, text, add_special_tokens=True):
        return {"input_ids": ([1] if add_special_tokens else []) + [ord(c) % 94 + 2 for c in text]}

class MiniGPT4(torch.nn.Module):
    def __init__(self, cfg):
        super().__init__()
        torch.manual_seed(0)
        self.end_sym, self.max_txt_len = cfg.end_sym, cfg.max_txt_len
        self.llama_tokenizer = Tokenizer()
        self.llama_model = LlamaForCausalLM(LlamaConfig(
            vocab_size=96, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            initializer_range=0.4))
        self.llama_proj = torch.nn.Linear(3 * 64, 32)
        self.encoded = 0
    @classmethod
    def from_config(cls, cfg): return cls(cfg)
    def encode_img(self, image):
        self.encoded += 1
        patches = torch.nn.functional.unfold(image, 8, stride=8).transpose(1, 2)
        return self.llama_proj(patches), torch.ones(len(image), patches.shape[1])
    def embed(self, text, first=False):
        ids = torch.tensor([self.llama_tokenizer(text, add_special_tokens=first)["input_ids"]])
        return ids, self.llama_model.get_input_embeddings()(ids)
    def preparing_embedding(self, samples):
        image, _ = self.encode_img(samples["image"])
        before, after = samples["instruction_input"][0].split("<ImageHere>")
        answer, words = self.embed(samples["answer"][0] + self.end_sym)
        asked = torch.cat([self.embed(before, True)[1], image, self.embed(after)[1]], dim=1)
        return asked, words, answer
    def forward(self, samples, reduction="mean"):
        asked, words, answer = self.preparing_embedding(samples)
        targets = torch.cat([torch.full((1, asked.shape[1]), -100), answer], dim=1)
        return {"loss": self.llama_model(inputs_embeds=torch.cat([asked, words], dim=1), labels=targets).loss}
    def generate(self, images, texts, max_new_tokens=20, do_sample=False):
        assert not do_sample and "<ImageHere>" in texts[0]
        return [f"a zebra ###Human: more of {max_new_tokens}"]
registry.models["minigpt4"] = MiniGPT4
"""
SETTINGS = """
{"model": {"arch": "minigpt4", "ckpt": "weights.pth", "llama_model": "vicuna-7b", "max_txt_len": 40,
  "end_sym": "###", "prompt_template": "###Human: {} ###Assistant: "},
 "datasets": {"cc_sbu_align": {"vis_processor": {"train": {"name": "blip2_image_eval", "image_size": 32}}}}}
"""
QUESTION = "What is the main object in the image?"
ANSWERS = ("A zebra", "A ox", "A African chameleon")


@pytest.fixture
def checkout(tmp_path):
    root = tmp_path / "MiniGPT-4"
    files = {
        "minigpt4/__init__.py": "",
        "minigpt4/common/__init__.py": "",
        "minigpt4/common/registry.py": REGISTRY,
        "minigpt4/common/config.py": CONFIG,
        "minigpt4/datasets/__init__.py": "",
        "minigpt4/datasets/builders.py": "",
        "minigpt4/models/__init__.py": "from minigpt4.models import minigpt4\n",
        "minigpt4/models/minigpt4.py": MODEL,
        "minigpt4/processors/__init__.py": PROCESSORS,
        "eval_configs/minigpt4_eval.yaml": SETTINGS,
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    yield root
    for name in [name for name in sys.modules if name.partition(".")[0] == "minigpt4"]:
        del sys.modules[name]


def test_losses_are_those_of_its_own_forward_pass(checkout):
    model = load_model(f"minigpt4:{checkout}", device="cpu")
    sums, tokens = model.losses(noise((40, 50), 0), [QUESTION] * 3, ANSWERS)
    network = model._model
    assert network.encoded == 1
    assert tokens.tolist() == [len(answer) + 3 for answer in ANSWERS]
    pixels = sys.modules["minigpt4.processors"].Eval(32)(noise((40, 50), 0))[None]
    for loss, count, answer in zip(sums, tokens, ANSWERS, strict=True):
        text = f"###Human: <Img><ImageHere></Img> {QUESTION} ###Assistant: "
        with torch.no_grad():
            mean = network({"image": pixels, "instruction_input": [text], "answer": [answer]})["loss"]
        assert abs(loss - float(mean) * count) < 1e-4
    others, _ = model.losses(noise((40, 50), 1), [QUESTION] * 3, ANSWERS)
    assert np.abs(sums - others).min() > 1e-3


def test_a_changed_checkout_is_another_model(checkout):
    first = load_model(f"minigpt4:{checkout}", device="cpu").fingerprint
    assert load_model(f"minigpt4:{checkout}", device="cpu").fingerprint == first
    config = checkout / "eval_configs" / "minigpt4_eval.yaml"
    config.write_text(config.read_text().replace("###Assistant", "###Bot"))
    assert load_model(f"minigpt4:{checkout}", device="cpu").fingerprint != first


def test_trouble_of_the_checkout_is_one_line(checkout):
    with pytest.raises(UsageError, match=r"no checkout of MiniGPT-4"):
        check_specs([f"minigpt4:{checkout}/minigpt4"])
    model = checkout / "minigpt4/models/minigpt4.py"
    written = model.read_text()
    model.write_text("import no_such_package_at_all\n" + written)
    with pytest.raises(CounterGroundError, match=r"no_such_package_at_all.*environment\.yml"):
        load_model(f"minigpt4:{checkout}", device="cpu")
    model.write_text(written.replace("torch.manual_seed(0)", "raise OSError('no vicuna')"))
    for name in [name for name in sys.modules if name.startswith("minigpt4.models")]:
        del sys.modules[name]
    with pytest.raises(CounterGroundError, match=r"no vicuna.*llama_model"):
        load_model(f"minigpt4:{checkout}", device="cpu")


def test_answers_too_long_are_refused(checkout):
    settings = checkout / "eval_configs" / "minigpt4_eval.yaml"
    settings.write_text(settings.read_text().replace("40", "9"))
    model = load_model(f"minigpt4:{checkout}", device="cpu")
    with pytest.raises(CounterGroundError, match="A zebra"):
        model.losses(noise((40, 50), 0), [QUESTION], ["A zebra"])
