"""Fingerprints: content hashes that change whenever a number the model gives could change."""

from __future__ import annotations

import hashlib
import json
import re
from importlib import metadata
from typing import TYPE_CHECKING, Any

from counterground._version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def plain_repr(value: object) -> str:
    """Return ``repr(value)`` without memory addresses, which differ in every process."""
    return _ADDRESS.sub("", repr(value))


def tensor_digests(state: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Return a SHA-256 for each tensor over its dtype, shape and bytes, in the order of the names."""
    import torch

    digests = {}
    for name in sorted(state):
        tensor = state[name]
        if not isinstance(tensor, torch.Tensor):
            digests[name] = hashlib.sha256(repr(tensor).encode()).hexdigest()
            continue
        flat = tensor.detach().to("cpu").contiguous().reshape(-1)
        digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(flat.view(torch.uint8).numpy().data)
        digests[name] = digest.hexdigest()
    return digests


def combine(**parts: Any) -> str:
    """Return one SHA-256 over named, JSON-ready parts."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=plain_repr)
    return hashlib.sha256(text.encode()).hexdigest()


def library_versions(*distributions: str) -> dict[str, str]:
    """Return the versions of PyTorch, Pillow, this package and ``distributions``."""
    versions = {"counterground": __version__}
    for name in ("torch", "pillow", *distributions):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "unknown"
    return dict(sorted(versions.items()))
