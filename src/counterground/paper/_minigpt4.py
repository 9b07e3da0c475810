"""``minigpt4:DIR``: MiniGPT-4 from the user's own checkout, because no package of it exists."""

from __future__ import annotations

import hashlib
import importlib
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from counterground.errors import CounterGroundError, UsageError, error_message
from counterground.files import given_path, is_file
from counterground.models import (
    Family,
    Generative,
    LoadOptions,
    ModelInfo,
    ModelSet,
    combine,
    library_versions,
    plain_repr,
    tensor_digests,
)
from counterground.settings import Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image


CONFIG = "eval_configs/minigpt4_eval.yaml"
# Modules whose import registers classes under the names that the configuration uses.
_REGISTERED = ("minigpt4.datasets.builders", "minigpt4.models", "minigpt4.processors")


def find_minigpt4(spec: str) -> Path:
    """Return the checkout that ``minigpt4:DIR`` names; none of it is run.

    Raises:
        UsageError: there is none; the message says what to install and where.
    """
    folder = given_path(spec.partition(":")[2])
    if not all(is_file(folder / name) for name in ("minigpt4/common/config.py", CONFIG)):
        raise UsageError(
            f"{spec}: there is no checkout of MiniGPT-4 with {CONFIG} in {folder}. Make one: "
            f"git clone https://github.com/Vision-CAIR/MiniGPT-4 {folder}; "
            "install the packages of its environment.yml in the environment of this one; "
            "write the path of Vicuna into llama_model of minigpt4/configs/models/minigpt4_vicuna0.yaml, and "
            f"the path of the checkpoint into ckpt of {CONFIG}."
        )
    return folder


def load_minigpt4(spec: str, options: LoadOptions) -> Generative:
    """Load MiniGPT-4 with the code of a checkout; naming the checkout allows its code to run.

    Raises:
        UsageError: there is no checkout.
        CounterGroundError: its code fails, or lacks a package or its weights.
    """
    folder = find_minigpt4(spec)
    loaded = getattr(sys.modules.get("minigpt4"), "__file__", None)
    if loaded and not Path(loaded).is_relative_to(folder.resolve()):
        raise CounterGroundError(f"{spec}: another minigpt4 is in use, from {loaded}; run one at a time.")
    sys.path.insert(0, str(folder.resolve()))
    try:
        return MiniGpt4(spec, folder, options)
    except (Exception, SystemExit) as error:
        raise CounterGroundError(
            f"{spec}: MiniGPT-4 could not be loaded ({type(error).__name__}: {error_message(error)}). "
            "Check the packages of its environment.yml, llama_model in "
            f"minigpt4/configs/models/minigpt4_vicuna0.yaml and ckpt of {CONFIG}."
        ) from error
    finally:
        sys.path.remove(str(folder.resolve()))


class MiniGpt4(Generative):
    """A MiniGPT-4 with the interface that its repository has had since version 2.

    Its own forward pass gives the loss, so the symbol that ends an answer counts as one of its tokens.
    """

    protocols: frozenset[Protocol] = frozenset(get_args(Protocol))

    def __init__(self, spec: str, folder: Path, options: LoadOptions) -> None:
        model, photo_processor, settings = _build(folder / CONFIG, options.device)
        self.spec, self.device, self.dtype = spec, options.device, options.precision
        self._model, self._photo_processor = model.eval(), photo_processor
        self._template = str(settings.get("prompt_template") or "{}")
        self._end = str(getattr(model, "end_sym", settings.get("end_sym", "")))
        libraries = library_versions("transformers", "peft")
        self.fingerprint = combine(
            weights=tensor_digests(model.state_dict()),
            code=_code(folder),
            settings={key: str(value) for key, value in sorted(settings.items())},
            photo_processor=plain_repr(photo_processor),
            libraries=libraries,
        )
        self.description = {
            "architecture": type(model).__name__,
            "weights": str(settings.get("ckpt", "")),
            "language_model": str(settings.get("llama_model", "")),
            "training_data": None,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "preprocessing": plain_repr(photo_processor),
            "chat_template": self._template,
            "libraries": libraries,
            "warnings": [
                f"The precision is what {CONFIG} says, not --precision {self.dtype}.",
            ],
        }

    def losses(
        self, image: Image.Image, questions: Sequence[str], answers: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        import torch

        sums, tokens = [], [self._tokens(answer) for answer in answers]
        with torch.inference_mode():
            pixels = self._photo_processor(image.convert("RGB"))[None].to(self.device)
            encoded = self._model.encode_img(pixels)
            self._model.encode_img = lambda _pixels: encoded  # once for all answers
            try:
                for question, answer, count in zip(questions, answers, tokens, strict=True):
                    asked = {
                        "image": pixels,
                        "instruction_input": [self.prompt(question)],
                        "answer": [answer],
                    }
                    sums.append(float(self._model(asked)["loss"]) * count)
            finally:
                del self._model.encode_img
        return np.array(sums, dtype=np.float32), np.array(tokens, dtype=np.int64)

    def generate(self, image: Image.Image, question: str, *, max_new_tokens: int) -> str:
        import torch

        with torch.inference_mode():
            pixels = self._photo_processor(image.convert("RGB"))[None].to(self.device)
            texts = [self.prompt(question)]
            written = self._model.generate(pixels, texts, max_new_tokens=max_new_tokens, do_sample=False)[0]
        return str(written).split(self._end.strip() or "\0")[0].strip()

    def prompt(self, question: str, answer: str | None = None) -> str:
        text = self._template.format(f"<Img><ImageHere></Img> {question}")
        return text if answer is None else text + answer + self._end

    def _tokens(self, answer: str) -> int:
        given = self._model.llama_tokenizer(answer + self._end, add_special_tokens=False)
        count, longest = len(given["input_ids"]), self._model.max_txt_len
        if count > longest:
            raise CounterGroundError(f"{self.spec} cuts {answer!r}, {count} tokens, at {longest}.")
        return count


def _build(config: Path, device: str) -> tuple[Any, Any, dict[str, Any]]:
    """Build model and photo processor as the demo of MiniGPT-4 does."""
    for module in _REGISTERED:
        importlib.import_module(module)
    registry = importlib.import_module("minigpt4.common.registry").registry
    made = importlib.import_module("minigpt4.common.config").Config(
        Namespace(cfg_path=str(config), options=None)
    )
    settings = made.model_cfg
    model = registry.get_model_class(settings.arch).from_config(settings).to(device)
    data = next(iter(made.datasets_cfg.values()))
    wanted = data.vis_processor.train
    processor = registry.get_processor_class(wanted.name).from_config(wanted)
    return model, processor, dict(settings)


def _code(folder: Path) -> str:
    digest = hashlib.sha256((folder / CONFIG).read_bytes())
    for path in sorted((folder / "minigpt4").rglob("*")):
        if path.suffix in (".py", ".yaml") and path.is_file():
            digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()


_NOTE = "a folder with a checkout of its repository"
MINIGPT4 = Family(
    prefix="minigpt4",
    usage="minigpt4:DIR",
    resolve=find_minigpt4,
    load=load_minigpt4,
    kind=lambda _spec: "generative",
    list=lambda: [ModelInfo("minigpt4:MiniGPT-4", "generative", None, None, needs_network=False, note=_NOTE)],
)

# The paper's vision-language models (Table 5). A checkout of MiniGPT-4, which has no package, is expected.
LVLM = ModelSet("paper:lvlm", lambda: ["hf:llava-hf/llava-1.5-7b-hf", "minigpt4:MiniGPT-4"])
