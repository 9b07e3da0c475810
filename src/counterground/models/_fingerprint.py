"""Fingerprints: content hashes that change whenever a number the model gives could change."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from counterground._version import __version__

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
