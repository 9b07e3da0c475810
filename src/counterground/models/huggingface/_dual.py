"""Dual encoders from transformers: CLIP, SigLIP, SigLIP 2 (fixed and NaFlex), ALIGN and related models."""

from __future__ import annotations

import json
from typing import Any

from counterground.errors import CounterGroundError
from counterground.models._family import LoadOptions
from counterground.models._fingerprint import combine, library_versions, tensor_digests
from counterground.models.classifiers import keep_float32
from counterground.models.huggingface._images import HfTransform, load_transform
from counterground.models.huggingface._loading import (
    LIBRARIES,
    HfSource,
    code_parts,
    from_pretrained,
    read_network,
    weights_name,
)
from counterground.models.huggingface._texts import (
    HfTextEncoder,
    Tokenization,
    check_vocabulary,
    pooled,
    tokenization,
    tokenizer_identity,
)
from counterground.models.networks import TorchDualEncoder, checked_scale, image_tower


class HfDualEncoder(TorchDualEncoder):
    """A dual encoder from transformers with its own image processor and tokenizer.

    The projection of the image tower runs in float32 too. Photos become ``[3, h, w]``; for SigLIP 2 NaFlex
    ``[patches, width + 3]`` (see `HfTransform`).

    Args:
        source: where the model comes from.
        model: transformers model with weights in float32.
        transform: photo -> tensor.
        tokenizer: transformers tokenizer.
        how: tokenisation of the family's texts.
        description: what is known of the weights; completed here.
        options: device and precision.
    """

    transform: HfTransform

    def __init__(
        self,
        source: HfSource,
        model: Any,
        transform: HfTransform,
        tokenizer: Any,
        how: Tokenization,
        *,
        description: dict[str, Any],
        options: LoadOptions,
    ) -> None:
        self.spec, self.device, self.dtype = source.spec, options.device, options.precision
        self.transform, self.split = transform, transform.split
        libraries = library_versions(*LIBRARIES)
        words = tokenizer_identity(tokenizer, how)
        code = code_parts(source, *map(type, (model, tokenizer, transform.processor)))
        self.fingerprint, self.text_fingerprint = _fingerprints(
            model, transform, words, libraries=libraries, code=code, dtype=options.precision
        )
        self.network = model.to(options.device)
        self.image_network = image_tower(
            self.network, lambda network, batch: pooled(network.get_image_features(**transform.inputs(batch)))
        )
        if options.precision != "fp32" and hasattr(model, "visual_projection"):
            keep_float32(model.visual_projection, options.device)
        scale, bias = _scale(model)
        self.logit_scale = checked_scale(source.spec, scale)
        self.description = {
            **description,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "preprocessing": transform.settings,
            "tokenization": words,
            "logit_scale": self.logit_scale,
            "logit_bias": bias,
            "libraries": libraries,
        }
        warn = self.description["warnings"].append
        self.texts = HfTextEncoder(self.network, tokenizer, how, options.device, warn=warn)
        self.dim = int(self.encode_texts(["a photo"]).shape[1])


def load_hf_dual(source: HfSource, options: LoadOptions) -> HfDualEncoder:
    """Load a dual encoder; call it inside `reading`.

    Raises:
        CounterGroundError: incomplete weights, no pair of encoders, or photos that get different shapes.
    """
    from transformers import AutoModel, AutoTokenizer

    model = read_network(AutoModel, source)
    for method in ("get_image_features", "get_text_features"):
        if not hasattr(model, method):
            raise CounterGroundError(
                f"{source.spec}: {type(model).__name__} has no {method}(), so it is not a dual encoder."
            )
    tokenizer = from_pretrained(AutoTokenizer, source)
    check_vocabulary(source.spec, model.config, tokenizer)
    how, warnings = tokenization(model.config, tokenizer)
    vision = getattr(model.config, "vision_config", None)
    return HfDualEncoder(
        source,
        model,
        load_transform(source),
        tokenizer,
        how,
        description={
            "architecture": type(model).__name__,
            "weights": weights_name(source),
            "activation": getattr(vision, "hidden_act", None),
            "activation_source": "config.json",
            "training_data": None,
            "warnings": list(warnings),
        },
        options=options,
    )


def _scale(model: Any) -> tuple[float, float | None]:
    """Return the factor on cosine similarity and the bias, None without one (it changes no arg-max)."""
    if hasattr(model, "temperature"):  # ALIGN divides by it, and keeps no logarithm
        return float(1 / model.temperature.detach().float().reshape(-1)[0]), None
    scale = float(model.logit_scale.detach().float().exp().reshape(-1)[0])
    bias = getattr(model, "logit_bias", None)
    return scale, None if bias is None else float(bias.detach().float().reshape(-1)[0])


def _fingerprints(
    model: Any, transform: HfTransform, words: dict[str, Any], *, dtype: str, **others: Any
) -> tuple[str, str]:
    """Return the fingerprints of the whole model and of all that decides a text's embedding."""
    digests = tensor_digests(model.state_dict())
    config = json.loads(model.config.to_json_string())  # without the place it was read from
    whole = combine(
        weights=digests,
        configuration=config,
        preprocessing=transform.settings,
        tokenizer=words,
        dtype=dtype,
        **others,
    )
    text = combine(
        weights={name: value for name, value in digests.items() if not name.startswith("vis")},
        configuration={key: config.get(key) for key in ("model_type", "projection_dim", "text_config")},
        tokenizer=words,
        **others,
    )
    return whole, text
