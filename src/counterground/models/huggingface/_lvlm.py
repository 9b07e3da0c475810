"""LVLMs from transformers: generative models, scored by the loss of an answer about a photo."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from counterground.errors import CounterGroundError, error_message
from counterground.models._base import Generative, LoadOptions, opens_thoughts
from counterground.models._execution import out_of_memory
from counterground.models._fingerprint import (
    WEIGHTS_HASH,
    combine,
    leading_digits,
    library_versions,
    tensor_digests,
    tokenizer_identity,
)
from counterground.models._weights import check_limits
from counterground.models.huggingface._conversation import Candidate, Conversation, PhotoInputs, placed
from counterground.models.huggingface._loading import (
    LIBRARIES,
    HfSource,
    from_pretrained,
    plain_settings,
    quiet,
    read_network,
)
from counterground.models.huggingface._losses import NotShareableError, Scorer
from counterground.settings import Precision, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from PIL import Image


# Families whose losses this package's tests compare with transformers' own forward pass.
TESTED = ("instructblip", "llava", "llava_next", "qwen2_5_vl", "qwen2_vl")
_PROTOCOLS: frozenset[Protocol] = frozenset(get_args(Protocol))
_PROBE = ("What is the main object in the image?", ("A zebra", "An African chameleon on a branch", "An ox"))
# Absolute (nats) and relative tolerance of summed losses.
_TOLERANCE = {"fp32": (1e-4, 1e-5), "bf16": (5e-2, 5e-2), "fp16": (1e-2, 1e-2)}
# Where an answer begins and ends, and tokens that are no part of one. All else that transformers knows
# (sampling, beams, penalties, a shortest length, a time limit) chooses another token than the likeliest.
_KEPT = frozenset(
    {
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
        "decoder_start_token_id",
        "forced_bos_token_id",
        "stop_strings",
        "bad_words_ids",
        "suppress_tokens",
        "begin_suppress_tokens",
    }
)


def read_lvlm(source: HfSource, precision: Precision) -> tuple[Any, Any]:
    """Return the network, its weights held in ``precision``, and the processor; call it inside `reading`.

    Raises:
        CounterGroundError: tensors are missing, or the processor prepares no photos.
    """
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    processor = from_pretrained(AutoProcessor, source)
    images = getattr(processor, "image_processor", None)
    if images is None or getattr(processor, "tokenizer", None) is None:
        raise CounterGroundError(
            f"{source.spec}: {type(processor).__name__} prepares no photos with texts. Put the processor "
            "that was saved with the weights beside them."
        )
    check_limits(source.spec, images.to_dict())
    return read_network(AutoModelForImageTextToText, source, dtype=dtype), processor


class Lvlm(Generative):
    """A transformers network with its processor.

    The last matrix product and the losses are float32 in any precision. On a small probe the losses with
    shared keys and values are compared with those of full forward passes; if they differ, full passes are
    used and the description says so.

    Raises:
        UsageError: a processor without a chat template.
        CounterGroundError: it fails on a probe photo.
    """

    protocols = _PROTOCOLS

    def __init__(
        self,
        source: HfSource,
        network: Any,
        processor: Any,
        options: LoadOptions,
    ) -> None:
        self.spec, self.device, self.dtype = source.spec, options.device, options.precision
        self._network = network.to(options.device)
        config = network.config
        text_config = config.get_text_config()
        self._decoder_apart = bool(config.is_encoder_decoder or text_config.is_encoder_decoder)
        self._reads_question = hasattr(network, "qformer")
        image_token = getattr(config, "image_token_id", None)
        self._conversation = Conversation(self.spec, processor, config.model_type, image_token)
        self._scorer = Scorer(network, options.device)
        generation = _decode_greedily(network)
        weights = tensor_digests(network.state_dict())
        if options.precision != "fp32":
            _float32_output(network)
        self.shares = False
        sharing = self._try_sharing()
        libraries = library_versions(*LIBRARIES)
        settings = _processor_settings(processor)
        self.fingerprint = combine(
            weights=weights,
            configuration=_plain(config.to_dict()),
            processor=settings,
            template=self._conversation.template,
            prompts=(self.prompt(_PROBE[0]), self.prompt(_PROBE[0], _PROBE[1][0])),
            generation=generation,
            code=self._probed() if source.trust_remote_code else None,
            dtype=options.precision,
            sharing=self.shares,
            libraries=libraries,
        )
        warnings = [*self._conversation.warnings]
        if config.model_type not in TESTED:
            warnings.append(
                f"Models of the family {config.model_type} are loaded through the common interface of "
                f"transformers; only those of {', '.join(TESTED)} are tested against its own forward pass."
            )
        if not self.shares:
            warnings.append(f"Answers are scored by full forward passes, one each: {sharing}.")
        self.description = {
            "architecture": type(network).__name__,
            "weights": source.name,
            WEIGHTS_HASH: combine(weights=weights),
            "revision": source.revision,
            "training_data": None,
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "processor": type(processor).__name__,
            "chat_template": self._conversation.template or "none: the prompt is the question itself",
            "key_value_sharing": sharing,
            "output_layer": "float32",
            "trust_remote_code": source.trust_remote_code,
            "preprocessing": settings["images"],
            "generation_settings": generation,
            "libraries": libraries,
            "warnings": warnings,
        }

    def _probed(self) -> list[Any]:
        """Return what code beside the weights gives for the probe photo, some digits of the losses."""
        question, answers = _PROBE
        sums, _ = self.losses(_probe_photo(), [question] * len(answers), answers)
        written = ""
        with suppress(ValueError):  # it may be asked for losses only
            written = self.generate(_probe_photo(), question, max_new_tokens=8)
        return [leading_digits([sums]), written]

    def losses(
        self, image: Image.Image, questions: Sequence[str], answers: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        import torch

        sums = np.zeros(len(answers), dtype=np.float32)
        tokens = np.zeros(len(answers), dtype=np.int64)
        with torch.inference_mode():
            for rows in self._batches(questions):
                asked = [questions[row] for row in rows]
                given = [answers[row] for row in rows]
                sums[rows], tokens[rows] = self._scored(image, asked, given)
        return sums, tokens

    def generate(self, image: Image.Image, question: str, *, max_new_tokens: int) -> str:
        import torch

        given = placed(self._conversation.prepared(image, question), self._network)
        ids = given["input_ids"]
        # Restated for code of the model's own, which may not read settings that `_decode_greedily` resets.
        greedy = {"do_sample": False, "num_beams": 1, "temperature": None, "top_p": None, "top_k": None}
        with quiet(), torch.inference_mode():
            written = self._network.generate(**given, max_new_tokens=max_new_tokens, **greedy)[0]
        if not self._decoder_apart and written[: ids.shape[1]].tolist() == ids[0].tolist():
            written = written[ids.shape[1] :]
        text = self._conversation.processor.tokenizer.decode(written, skip_special_tokens=True)
        thinks = opens_thoughts(self._conversation.prompt(question))
        return f"{'<think>' if thinks else ''}{str(text).strip()}"

    def prompt(self, question: str, answer: str | None = None) -> str:
        if answer is None:
            return self._conversation.prompt(question)
        if self._decoder_apart:
            return f"{self._conversation.prompt(question)} -> {answer}"
        return self._conversation.lead(question, answer) + answer

    def _batches(self, questions: Sequence[str]) -> list[list[int]]:
        """Return rows that share an image encoding: all, or those of one question if the encoder reads it."""
        if not self._reads_question and not self._decoder_apart:
            return [list(range(len(questions)))]
        by_question: dict[str, list[int]] = {}
        for row, question in enumerate(questions):
            by_question.setdefault(question, []).append(row)
        return list(by_question.values())

    def _scored(
        self, image: Image.Image, questions: Sequence[str], answers: Sequence[str]
    ) -> tuple[np.ndarray, list[int]]:
        if self._decoder_apart:
            written = [self._conversation.answer_tokens(answer) for answer in answers]
            inputs = self._conversation.prepared(image, questions[0])
            return self._scorer.decoder_losses(inputs, written), [len(tokens) for tokens in written]
        photo, candidates = self._candidates(image, questions, answers)
        tokens = [len(candidate.scored) for candidate in candidates]
        if self.shares:
            try:
                return self._scorer.shared_losses(photo, candidates), tokens
            except NotShareableError:
                pass  # these questions begin with different tokens; full passes give the same losses
        return self._scorer.full_losses(photo, candidates), tokens

    def _candidates(
        self, image: Image.Image, questions: Sequence[str], answers: Sequence[str]
    ) -> tuple[PhotoInputs, list[Candidate]]:
        photo = self._conversation.inputs(image, questions[0])
        pairs = zip(questions, answers, strict=True)
        return photo, [self._conversation.candidate(photo, *pair) for pair in pairs]

    def _try_sharing(self) -> str:
        """Share keys and values if a probe gets the losses of full passes; return a note on it."""
        import torch

        if self._decoder_apart:
            return "an encoder-decoder, whose answers are decoded one by one"
        question, answers = _PROBE
        with torch.inference_mode():
            try:
                photo, candidates = self._candidates(_probe_photo(), [question] * len(answers), answers)
                full = self._scorer.full_losses(photo, candidates)
            except CounterGroundError:
                raise
            except Exception as error:
                if out_of_memory(error):
                    raise
                raise CounterGroundError(
                    f"{self.spec}: it fails on a probe photo ({error_message(error, 200)}). "
                    "Check its chat template and its processor; this family of models may not be supported."
                ) from error
            try:
                shared = [self._scorer.shared_losses(photo, candidates, packed=size) for size in (1, 512)]
            except Exception as error:
                return error_message(error, 120)
        gap = float(np.abs(np.stack(shared) - full).max())
        absolute, relative = _TOLERANCE[self.dtype]
        self.shares = gap <= absolute + relative * float(np.max(full))
        if self.shares:
            return "image and question are encoded once for all answers; checked on a probe"
        return f"a probe got other losses (by {gap:.2g})"


def _probe_photo() -> Image.Image:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def _float32_output(network: Any) -> None:
    """Compute logits in float32: in bf16 the two best answers tie in a fifth of cases."""
    import torch

    layer = network.get_output_embeddings()
    if layer is None or not hasattr(layer, "weight"):
        raise CounterGroundError(f"{type(network).__name__} has no output layer; use --precision fp32.")
    weight, bias = layer.weight.float(), getattr(layer, "bias", None)
    bias = None if bias is None else bias.float()

    def forward(hidden: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(hidden.float(), weight, bias)

    layer.forward = forward


def _decode_greedily(network: Any) -> list[dict[str, Any]]:
    """Reset all settings of ``network.generate`` that greedy decoding does not use; return those that stay.

    A language model inside the network may have settings of its own, which InstructBLIP's ``generate`` reads.
    What transformers does not know stays too, since code that came with the weights may need it.
    """
    from transformers import GenerationConfig

    known = set(GenerationConfig().to_dict()) - _KEPT  # type: ignore[no-untyped-call]
    found = []
    for module in network.modules():
        if not isinstance(vars(module).get("generation_config"), GenerationConfig):
            continue
        given = module.generation_config.to_dict()
        kept = {
            name: value
            for name, value in given.items()
            if name not in known and value is not None and not name.startswith("_")
        }
        module.generation_config = GenerationConfig(**kept)  # type: ignore[no-untyped-call]
        found.append(kept)
    return found


def _plain(settings: Any) -> Any:
    """Drop what depends on where the files lie."""
    if isinstance(settings, dict):
        return {key: _plain(value) for key, value in settings.items() if key != "_name_or_path"}
    return settings


def _processor_settings(processor: Any) -> dict[str, Any]:
    others = {key: value for key, value in processor.to_dict().items() if key != "image_processor"}
    # InstructBLIP has two: its Q-Former reads the question with one of its own.
    tokenizers = {name: each for name, each in vars(processor).items() if hasattr(each, "get_vocab")}
    return {
        "class": type(processor).__name__,
        "images": json.dumps(plain_settings(processor.image_processor), sort_keys=True),
        "others": _plain(others),
        "tokenizers": {name: tokenizer_identity(each) for name, each in sorted(tokenizers.items())},
    }
