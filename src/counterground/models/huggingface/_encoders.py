"""``hf:``: dual encoders, classifiers and vision models of transformers; LVLMs are beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from counterground.errors import CounterGroundError
from counterground.models._base import Encoder, Family, Kind, LoadOptions, Model, Tower, known_models
from counterground.models._fingerprint import probed, tokenizer_identity
from counterground.models._labels import match_labels, names_of
from counterground.models._networks import (
    TOKENS,
    NetworkClassifier,
    NetworkTower,
    TextEncoder,
    TorchDualEncoder,
    cut_head,
    image_tower,
    keep_float32,
    unit_length,
)
from counterground.models.huggingface._loading import (
    LIBRARIES,
    HfSource,
    HfTransform,
    MissingTensorsError,
    explained,
    find_hf,
    folder_config,
    from_pretrained,
    kind_of,
    pinned,
    quiet,
    read_config,
    read_network,
    reading,
    weights_name,
)
from counterground.models.huggingface._lvlm import Lvlm, read_lvlm

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

# Trained on texts padded to the full context, without a mask over the padding.
_SIGLIP = ("siglip", "siglip2")
_ALIGN_LENGTH = 64  # AlignProcessor's own, which the configuration does not carry
# What transformers' models call the token that is no part of the photo.
_CLASS_TOKENS = ("cls_token", "class_token", "class_embedding")


@dataclass(frozen=True)
class Tokenization:
    """How texts become tokens.

    Attributes:
        tokenizer: class of the tokenizer.
        padding: ``max_length`` or ``longest`` (of the texts encoded together).
        max_length: tokens a text may have; longer ones are cut.
        mask: whether the tower gets a mask of the padding. SigLIP's was trained without one.
        clean: OpenCLIP's name for what is done to texts before the tokenizer sees them; None for nothing.
    """

    tokenizer: str
    padding: str
    max_length: int
    mask: bool
    clean: str | None


def tokenization(spec: str, config: Any, tokenizer: Any) -> Tokenization:
    """Return how a family's texts are tokenised.

    SigLIP and SigLIP 2 pad to ``max_length`` without a mask. Their texts are canonicalised (lower case, no
    punctuation) by OpenCLIP's function, so that the same weights get the same text from both libraries. Their
    authors' zero-shot evaluator does the same to class names and templates (big_vision,
    ``prompt_engineering.py``). transformers' tokenizer for SigLIP does so itself; the one for SigLIP 2
    lower-cases at most.

    Raises:
        CounterGroundError: the tokenizer has more tokens than the text tower, or less than half of them:
            without a tokenizer's files transformers makes an empty one.
    """
    text_config = getattr(config, "text_config", config)
    known = getattr(text_config, "vocab_size", None)
    tokens = 1 + max(tokenizer.get_vocab().values(), default=0)
    if known is not None and not tokens <= known <= 2 * tokens:
        raise CounterGroundError(
            f"{spec}: its tokenizer has {tokens} tokens, its text tower {known}: they do not fit. "
            "Put the tokenizer's own files (tokenizer.json, spiece.model, ...) beside the weights."
        )
    limit = int(tokenizer.model_max_length)
    limit = min(limit, int(getattr(text_config, "max_position_embeddings", limit)))
    siglip, align = config.model_type in _SIGLIP, config.model_type == "align"
    return Tokenization(
        tokenizer=type(tokenizer).__name__,
        padding="max_length" if siglip or align else "longest",
        max_length=min(limit, _ALIGN_LENGTH) if align else limit,
        mask=not siglip,
        clean="canonicalize" if siglip else None,
    )


class HfTextEncoder(TextEncoder):
    """Encodes texts in float32, each distinct one once, in batches of similar length.

    Args:
        model: model with ``get_text_features``, in evaluation mode.
        tokenizer: transformers tokenizer.
        how: tokenisation of the family's texts.
        device: where the model lives.
    """

    def __init__(self, model: Any, tokenizer: Any, how: Tokenization, device: str) -> None:
        super().__init__(model, tokenizer, device)
        self._how = how

    def encode(self, texts: list[str]) -> np.ndarray:
        how = self._how
        with quiet():
            tokens = self.tokenizer(self._cleaned(texts), truncation=True, max_length=how.max_length)[
                "input_ids"
            ]
            order = np.argsort([len(ids) for ids in tokens], kind="stable")
            each = max(
                1, TOKENS // (how.max_length if how.padding == "max_length" else len(tokens[order[-1]]))
            )
            batches = [order[start : start + each] for start in range(0, len(order), each)]
            parts = [self._embed([tokens[at] for at in batch]) for batch in batches]
        embedded = np.empty((len(tokens), parts[0].shape[1]), np.float32)
        embedded[order] = np.concatenate(parts)
        return embedded

    def count_cut(self, texts: list[str]) -> tuple[int, int]:
        most = self._how.max_length
        with quiet():  # a token may stand for a byte, and some stand around a text
            long = self._cleaned([text for text in texts if len(text.encode()) + 4 > most])
            return sum(len(ids) > most for ids in self.tokenizer(long)["input_ids"]) if long else 0, most

    def _embed(self, tokens: list[list[int]]) -> np.ndarray:
        how = self._how
        inputs = self.tokenizer.pad(
            {"input_ids": tokens}, padding=how.padding, max_length=how.max_length, return_tensors="pt"
        )
        names = ("input_ids", "attention_mask") if how.mask else ("input_ids",)
        given = {name: inputs[name].to(self.device) for name in names if name in inputs}
        return unit_length(pooled(self.network.get_text_features(**given)))

    def _cleaned(self, texts: Sequence[str]) -> list[str]:
        if self._how.clean is None:
            return list(texts)
        from open_clip.tokenizer import get_clean_fn

        return [get_clean_fn(self._how.clean)(text) for text in texts]


def pooled(output: Any) -> torch.Tensor:
    """Return the embeddings in what ``get_*_features`` gives: an object in transformers 5."""
    return getattr(output, "pooler_output", output)  # type: ignore[no-any-return]


def load_hf_dual(source: HfSource, options: LoadOptions) -> TorchDualEncoder:
    """Load a dual encoder with its own image processor and tokenizer; call it inside `reading`.

    The projection of the image tower runs in float32 too. Photos become ``[3, h, w]``; for SigLIP 2 NaFlex
    ``[patches, width + 3]`` (see `HfTransform`).

    Raises:
        CounterGroundError: incomplete weights, no pair of encoders, or photos that get different shapes.
    """
    from transformers import AutoModel, AutoTokenizer

    model = read_network(AutoModel, source)
    if not (hasattr(model, "get_image_features") and hasattr(model, "get_text_features")):
        raise CounterGroundError(
            f"{source.spec}: {type(model).__name__} has no get_image_features() and get_text_features()."
        )
    tokenizer, transform = from_pretrained(AutoTokenizer, source), HfTransform(source)
    how = tokenization(source.spec, model.config, tokenizer)
    words = {**tokenizer_identity(tokenizer), **asdict(how)}
    if hasattr(model, "temperature"):  # ALIGN divides by it, and keeps no logarithm
        scale = float(1 / model.temperature.detach().float().reshape(-1)[0])
    else:
        scale = float(model.logit_scale.detach().float().exp().reshape(-1)[0])
    encoder = TorchDualEncoder(
        source.spec,
        model,
        lambda network, batch: pooled(network.get_image_features(**transform.inputs(batch))),
        transform,
        HfTextEncoder(model, tokenizer, how, options.device),
        scale=scale,
        options=options,
        description={
            "architecture": type(model).__name__,
            "weights": weights_name(source),
            "activation": getattr(getattr(model.config, "vision_config", None), "hidden_act", None),
            "activation_source": "config.json",
            "training_data": None,
            "tokenization": words,
            "logit_scale": scale,
        },
        libraries=LIBRARIES,
        preprocessing=transform.settings,
        configuration=json.loads(model.config.to_json_string()),  # without the place it was read from
        tokenizer=words,
    )
    if options.precision != "fp32" and hasattr(model, "visual_projection"):
        keep_float32(model.visual_projection, options.device)
    return encoder


def load_hf_classifier(source: HfSource, options: LoadOptions) -> NetworkClassifier:
    """Load a classifier; call it inside `reading`.

    Raises:
        UsageError: its classes have no names, and the user did not say which they are.
        CounterGroundError: its weights are incomplete, or photos do not become tensors of one shape.
    """
    from transformers import AutoModelForImageClassification

    model, transform = read_network(AutoModelForImageClassification, source), HfTransform(source)
    labels = match_labels(source.spec, names_of(source.spec, model.config.id2label), source.labels)
    network = image_tower(model, lambda own, batch: own(**transform.inputs(batch)).logits)
    return NetworkClassifier(source.spec, network, transform, labels, **_facts(source, model, options))


def load_hf_tower(source: HfSource, kind: Kind, options: LoadOptions) -> NetworkTower:
    """Load a classifier without its last layer, or a vision model; call it inside `reading`.

    A vision model's features are its pooled output. Without one, they are the class token of its last layer,
    or the mean of all tokens if no token stands for the class.

    Raises:
        UsageError: a classifier without a last linear layer.
        CounterGroundError: its weights are incomplete, or photos do not become tensors of one shape.
    """
    from PIL import Image
    from transformers import AutoModel, AutoModelForImageClassification

    transform = HfTransform(source)
    if kind == "classifier":
        model = read_network(AutoModelForImageClassification, source)
        taken = f"before {cut_head(source.spec, model, model.config.num_labels)}"
        network = image_tower(model, lambda own, batch: own(**transform.inputs(batch)).logits)
    else:
        try:
            model = read_network(AutoModel, source)
        except MissingTensorsError as error:  # weights may lack the pooling layer
            if not all(name.startswith("pooler.") for name in error.names):
                raise
            model = read_network(AutoModel, source, add_pooling_layer=False)
        network = image_tower(model, lambda own, batch: _features(own, transform.inputs(batch))[0])
        grey = transform(Image.new("RGB", (256, 256)))[None]
        _, taken = _features(model, transform.inputs(grey))
    facts = _facts(source, model, options)
    facts["description"]["final_layer"] = facts["configuration"]["taken"] = taken
    return NetworkTower(source.spec, network, transform, **facts)


def _facts(source: HfSource, model: Any, options: LoadOptions) -> dict[str, Any]:
    return {
        "description": {
            "architecture": type(model).__name__,
            "weights": weights_name(source),
            "training_data": None,
        },
        "configuration": {"library": "transformers", "config": model.config.to_json_string()},
        "libraries": LIBRARIES,
        "options": options,
    }


def _features(model: Any, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, str]:
    """Return the features of photos, and which output of the model they are."""
    if hasattr(model, "get_image_features"):
        return pooled(model.get_image_features(**inputs)), "pooled output"
    output = model(**inputs)
    features: torch.Tensor | None = getattr(output, "pooler_output", None)
    if features is not None:
        return features, "pooled output"
    tokens: torch.Tensor = output.last_hidden_state
    # I-JEPA, AIMv2 and some SigLIPs have patches only.
    first = any(name.rpartition(".")[2] in _CLASS_TOKENS for name, _ in model.named_parameters())
    if first or tokens.ndim != 3:
        return tokens[:, 0], "first token of the last layer"
    seen = inputs.get("pixel_attention_mask", tokens.new_ones(tokens.shape[:2]))[..., None]
    return (tokens * seen).sum(dim=1) / seen.sum(dim=1).clamp(min=1), "mean of the last layer's tokens"


def _load(spec: str, options: LoadOptions, *, headless: bool = False) -> Model:
    """Load ``hf:DIR`` or ``hf:OWNER/NAME[@REVISION]`` with its own tokenisation and preprocessing.

    Raises:
        UsageError: no such folder, an unknown option, or a kind of model that cannot be scored.
        CounterGroundError: files cannot be fetched or read, or do not fit.
    """
    source = find_hf(spec, headless=headless)
    with reading(source, offline=options.offline):
        source = pinned(source)
        kind = kind_of(source, read_config(source), headless=headless)
        if kind != "generative":
            encoder: Encoder
            if kind == "dual_encoder":
                encoder = load_hf_dual(source, options)
            else:
                encoder = (
                    load_hf_tower(source, kind, options) if headless else load_hf_classifier(source, options)
                )
            if source.trust_remote_code:  # code enters the fingerprint by what it gives for the probe
                encoder.fingerprint = probed(encoder)
            return encoder
        network, processor = read_lvlm(source, options.precision)
    with explained(source):
        return Lvlm(source, network, processor, options)


def _kind(spec: str) -> Kind | None:
    source = find_hf(spec)
    return None if source.folder is None else kind_of(source, folder_config(source))


HUGGING_FACE = Family(
    prefix="hf",
    usage="hf:OWNER/NAME or hf:DIR",
    resolve=find_hf,
    load=_load,
    kind=_kind,
    list=partial(known_models, "hf:"),
    extra="hf",
    tower=Tower(partial(find_hf, headless=True), partial(_load, headless=True)),
)
