"""Fingerprints, which change whenever a number of the model could change, and the probe of code."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

import numpy as np
from PIL import Image

from counterground._version import __version__
from counterground.models._base import DualEncoder, Encoder
from counterground.models._execution import own_arithmetic

WEIGHTS_HASH = "weights_sha256"
"""Key of a model's description: SHA-256 of its weights, whatever runs them in whatever precision."""
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def plain_repr(value: object) -> str:
    """Return ``repr(value)`` without memory addresses, which differ in every process."""
    text = repr(value)
    return _ADDRESS.sub("", text) if " at 0x" in text else text


def tensor_digests(state: Mapping[str, Any]) -> dict[str, str]:
    """Return a SHA-256 for each entry of a ``state_dict``, sorted by name: of its dtype, shape and bytes."""
    return {name: _digest(state[name]) for name in sorted(state)}


def _digest(value: Any) -> str:
    import torch

    if not isinstance(value, torch.Tensor) or value.is_quantized or value.layout is not torch.strided:
        return combine(value=value)
    tensor = value.detach().resolve_conj().resolve_neg().to("cpu")
    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
    digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def combine(**parts: Any) -> str:
    """Return one SHA-256 over named, JSON-ready parts."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=plain_repr)
    return hashlib.sha256(text.encode()).hexdigest()


def tokenizer_identity(tokenizer: Any) -> dict[str, Any]:
    """Return what decides the tokens that a tokenizer of OpenCLIP or transformers gives, JSON-ready."""
    inner = getattr(tokenizer, "tokenizer", tokenizer)
    backend = getattr(inner, "backend_tokenizer", None)
    content = backend.to_str() if backend is not None else getattr(inner, "encoder", None)
    named = ("context_length", "padding_side", "do_lower_case", "clean_up_tokenization_spaces")
    return {
        "class": type(tokenizer).__name__,
        "content": combine(content=content or sorted(inner.get_vocab().items())),
        "special": plain_repr(sorted(getattr(inner, "special_tokens_map", {}).items())),
        "clean": getattr(getattr(tokenizer, "clean_fn", None), "__name__", None),
        **{name: getattr(tokenizer, name, None) for name in named},
    }


def library_versions(*distributions: str) -> dict[str, str]:
    """Return the versions of PyTorch, Pillow, this package and ``distributions``."""
    names = ("torch", "pillow", *distributions)
    return dict(sorted({"counterground": __version__, **{name: _version(name) for name in names}}.items()))


@functools.cache
def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"


_SIZES = ((320, 240), (240, 320), (256, 256), (500, 375), (375, 500), (224, 224), (640, 256), (33, 47))
_MODES = ("RGB", "L", "RGBA", "P")
_TEXTS = ("a photo of a cat", "Two Dogs, on grass!", "zebra")
# Another number of threads changes the last of seven digits, an edit the first ones.
_DIGITS = 4


def probe_images() -> Iterator[Image.Image]:
    """Yield eight made-up images of several sizes and modes, the same every time."""
    for number, (width, height) in enumerate(_SIZES):
        x, y, colour = np.ogrid[:width, :height, :3]
        waves = np.sin(x / (9 + number) + colour) * np.cos(y / (5 + number)) * 90
        pixels = waves + (x * (number + 2) + y * (colour + 3)) ** 2 % 75 + 90
        image = Image.fromarray(pixels.transpose(1, 0, 2).astype(np.uint8))
        yield image.convert(_MODES[number % len(_MODES)])


def probed(model: Encoder) -> str:
    """Return a model's fingerprint with a digest of what its code gives for the probe, each image alone.

    It is unique if the probe does not suit the model, which is tried on a photo before anything else.
    """
    try:
        with own_arithmetic(model.device):
            photos = [model.encode(model.preprocess(photo)[None])[0].numpy() for photo in probe_images()]
            texts = (
                [model.encode_texts([text])[0] for text in _TEXTS] if isinstance(model, DualEncoder) else []
            )
        return combine(loaded=model.fingerprint, photos=leading_digits(photos), texts=leading_digits(texts))
    except (Exception, SystemExit):  # whatever the user's code raises
        return uuid.uuid4().hex


def leading_digits(vectors: Sequence[np.ndarray]) -> list[float]:
    """Return the part of each vector in a fixed direction, to some digits of the largest part."""
    parts = [float(vector.astype(np.float64) @ np.cos(np.arange(len(vector)))) for vector in vectors]
    largest = max(map(abs, parts), default=0.0) or 1.0
    digits = _DIGITS - 1 - math.floor(math.log10(largest))
    return [round(part, digits) for part in parts]
