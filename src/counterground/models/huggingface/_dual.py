"""Dual encoders from transformers: CLIP, SigLIP, SigLIP 2 (fixed and NaFlex), ALIGN and related models."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from counterground.errors import CounterGroundError
from counterground.models._family import LoadOptions
from counterground.models._fingerprint import tokenizer_identity
from counterground.models.classifiers import keep_float32
from counterground.models.huggingface._images import load_transform
from counterground.models.huggingface._loading import (
    LIBRARIES,
    HfSource,
    from_pretrained,
    read_network,
    weights_name,
)
from counterground.models.huggingface._texts import (
    HfTextEncoder,
    check_vocabulary,
    cleans_itself,
    pooled,
    tokenization,
)
from counterground.models.networks import TorchDualEncoder


def load_hf_dual(source: HfSource, options: LoadOptions) -> TorchDualEncoder:
    """Load a dual encoder with its own image processor and tokenizer; call it inside `reading`.

    The projection of the image tower runs in float32 too. Photos become ``[3, h, w]``; for SigLIP 2 NaFlex
    ``[patches, width + 3]`` (see `HfTransform`).

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
    tokenizer, transform = from_pretrained(AutoTokenizer, source), load_transform(source)
    check_vocabulary(source.spec, model.config, tokenizer)
    how, warnings = tokenization(model.config, tokenizer)
    words = {**tokenizer_identity(tokenizer), **asdict(how), "cleans_itself": cleans_itself(tokenizer, how)}
    scale, bias = _scale(model)
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
            "logit_bias": bias,
            "warnings": warnings,
        },
        libraries=LIBRARIES,
        preprocessing=transform.settings,
        configuration=json.loads(model.config.to_json_string()),  # without the place it was read from
        tokenizer=words,
    )
    if options.precision != "fp32" and hasattr(model, "visual_projection"):
        keep_float32(model.visual_projection, options.device)
    return encoder


def _scale(model: Any) -> tuple[float, float | None]:
    """Return the factor on cosine similarity and the bias, None without one (it changes no arg-max)."""
    if hasattr(model, "temperature"):  # ALIGN divides by it, and keeps no logarithm
        return float(1 / model.temperature.detach().float().reshape(-1)[0]), None
    scale = float(model.logit_scale.detach().float().exp().reshape(-1)[0])
    bias = getattr(model, "logit_bias", None)
    return scale, None if bias is None else float(bias.detach().float().reshape(-1)[0])
