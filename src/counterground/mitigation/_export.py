"""A mitigated head as a file, and its reader: NumPy and safetensors are enough."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from counterground.errors import CounterGroundError
from counterground.files import open_regular, parse_json, write_bytes
from counterground.mitigation._method import MitigatedHead

_ARRAYS = ("weight", "bias", "projection", "shift")


def obstacle(head: MitigatedHead) -> str | None:
    """Say why a head cannot be written; None if it can."""
    if head.feature_hook is not None or head.logit_hook is not None:
        return "it calls a function, which no file of numbers holds"
    if dict(head.inputs) != {"photo": 1.0}:
        return "it reads features of masked photos, and a file only holds a head for features of whole photos"
    return None


def write_head(head: MitigatedHead, path: Path, about: dict[str, Any]) -> None:
    """Write a head; ``about`` becomes metadata, along with whether features are divided by their length.

    Raises:
        CounterGroundError: it cannot be written.
    """
    import safetensors.numpy

    if reason := obstacle(head):
        raise CounterGroundError(f"This head cannot be written: {reason}.")
    arrays = {name: getattr(head, name) for name in _ARRAYS}
    tensors = {name: np.ascontiguousarray(a, np.float32) for name, a in arrays.items() if a is not None}
    metadata = {name: value if isinstance(value, str) else json.dumps(value) for name, value in about.items()}
    metadata["normalise"] = json.dumps(head.normalise)
    write_bytes(path, safetensors.numpy.save(tensors, metadata))


def read_head(path: Path | str) -> MitigatedHead:
    """Read a head that `mitigate` exported.

    Raises:
        CounterGroundError: it is damaged, or not such a file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        open_regular(path).close()
        with safe_open(path, "numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            metadata = file.metadata()
        head = _head_of(arrays, parse_json(metadata["normalise"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CounterGroundError(f"{path} is not a head that `counterground mitigate` wrote.") from error
    return head


def _head_of(arrays: Mapping[str, Any], normalise: object) -> MitigatedHead:
    """Return a head of arrays that fit each other.

    Raises:
        ValueError: they do not, they are not float32, one has NaN, or one is unknown.
    """
    d, k = arrays["weight"].shape
    shapes = {"weight": (d, k), "bias": (k,), "projection": (d, d), "shift": (d,)}
    for name, array in arrays.items():
        if array.shape != shapes.get(name) or array.dtype != np.float32 or np.isnan(array).any():
            raise ValueError(f"its {name} does not fit")
    if not isinstance(normalise, bool):
        raise ValueError("normalise is neither true nor false")  # noqa: TRY004 - it is read from a file
    return MitigatedHead(**arrays, normalise=normalise)
