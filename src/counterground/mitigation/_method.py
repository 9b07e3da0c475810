"""What a mitigation is: the data it is fitted on, and the head it returns, also as a file of numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from counterground.errors import CounterGroundError
from counterground.files import open_regular, write_bytes

GroupLabels = Literal["none", "fit", "choose"]
"""Where a method needs to know the background of a photo: nowhere, to be fitted, or to choose a setting."""

Need = Literal["texts", "backgrounds", "masks"]
"""What a method needs besides the features: a text tower, background labels, masks of the objects."""

Input = Literal["photo", "background", "foreground"]
"""Features of a photo as it is, of its background with the object removed, of its object alone."""

_ARRAYS = ("weight", "bias", "projection", "shift")

Rows = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class FitData:
    """The photos that a method is fitted on, and the model's own head.

    Attributes:
        features: ``[n, d]`` float32: image embeddings of unit length, or the logits of a classifier.
        class_index: ``[n]`` int64, the column of ``head`` that is the class of each photo.
        background: ``[n]`` texts, None if there is no label.
        group: ``[n]``, ``"common"``, ``"counter"`` or None.
        head: ``[d, k]`` float32; ``features @ head`` are cosine similarities, or the logits of the classes.
        scale: ``scale * features @ head`` are the logits.
        class_names: ``[k]`` texts, as they appear in prompts.
        background_names: the labels that occur in the benchmark, sorted.
        encode_texts: texts ``[t]`` -> ``[t, d]`` float32 of unit length; None for a model without texts.
        templates: the prompts of ``head``, with ``{}`` for the name.
        background_features: ``[n, d]`` float32, of the photos with the object removed; None without masks.
        foreground_features: ``[n, d]`` float32, of the object alone; None without masks.
        seed: seed for what is drawn.
    """

    features: np.ndarray
    class_index: np.ndarray
    background: np.ndarray
    group: np.ndarray
    head: np.ndarray
    scale: float
    class_names: Sequence[str]
    background_names: Sequence[str]
    encode_texts: Callable[[Sequence[str]], np.ndarray] | None = None
    templates: Sequence[str] = ("A photo of {}.",)
    background_features: np.ndarray | None = None
    foreground_features: np.ndarray | None = None
    seed: int = 0


@dataclass(frozen=True)
class MitigatedHead:
    """A mitigated head: from the features of the unchanged model to logits.

    ``logits = unit((features - shift) @ projection) @ weight + bias``; what is None is left out, and so is
    ``unit`` (division by the length) unless ``normalise``. All of this can be exported; the hooks cannot.

    Attributes:
        weight: ``[d, k]`` float32, times the ``scale`` of the model if it is made from texts.
        bias: ``[k]`` float32.
        projection: ``[d, d]`` float32.
        shift: ``[d]`` float32.
        normalise: whether features are divided by their length before the product.
        feature_hook: any function ``[n, d] -> [n, d]``, before all else.
        logit_hook: any function ``[n, k] -> [n, k]``, after all else.
        inputs: shares of the inputs in the sum that `logits` receives, see `mix`; all but ``"photo"`` need
            masks.
    """

    weight: np.ndarray
    bias: np.ndarray | None = None
    projection: np.ndarray | None = None
    shift: np.ndarray | None = None
    normalise: bool = False
    feature_hook: Rows | None = None
    logit_hook: Rows | None = None
    inputs: Mapping[Input, float] = field(default_factory=lambda: {"photo": 1.0})

    def mix(self, given: Mapping[Input, np.ndarray]) -> np.ndarray:
        """Return the features ``[n, d]`` that `logits` takes, from the ``given`` ``[n, d]`` of each input."""
        parts = [np.float32(share) * given[name] for name, share in self.inputs.items()]
        return np.asarray(np.sum(parts, axis=0, dtype=np.float32))

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Return ``[n, k]`` float32 logits of ``[n, d]`` features; a row does not depend on the others."""
        if self.feature_hook is not None:
            features = self.feature_hook(features)
        features = features.astype(np.float32, copy=False)
        if self.shift is not None:
            features = features - self.shift
        if self.projection is not None:
            features = features @ self.projection
        if self.normalise:
            length = np.linalg.norm(features, axis=1, keepdims=True)
            features = features / np.maximum(length, np.finfo(np.float32).tiny)
        logits = features @ self.weight
        if self.bias is not None:
            logits = logits + self.bias
        if self.logit_hook is not None:
            logits = self.logit_hook(logits)
        return np.asarray(logits, dtype=np.float32)


@dataclass(frozen=True)
class Mitigation:
    """A way to make a model rely less on the background, without training the model.

    Attributes:
        name: as users write it, ``text-projection``.
        title: in one line, what it does.
        source: who proposed it, where.
        fit: ``fit(data, **setting) -> MitigatedHead``, with one value of each of ``settings``.
        group_labels: ``"fit"`` if backgrounds or groups of photos are used to fit it and to choose among
            ``settings``; ``"choose"`` if only the choice uses them; ``"none"`` if nothing does, and balanced
            accuracy chooses. Unless they are used to fit it, ``fit`` does not see them.
        needs: ``"texts"`` (a text tower), ``"backgrounds"`` (labels of backgrounds, even if only their
            names), ``"masks"`` (of the objects): without one of these it is refused.
        settings: the values (numbers, texts) to try; the best on the photos for choosing is taken.

    Raises:
        ValueError: the name has characters other than lower-case letters, digits and hyphens.
    """

    name: str
    title: str
    source: str
    fit: Callable[..., MitigatedHead]
    group_labels: GroupLabels = "none"
    needs: tuple[Need, ...] | frozenset[Need] = ()
    settings: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", self.name):
            raise ValueError(
                f"{self.name!r} cannot be the name of a method: use lower-case letters, digits and hyphens."
            )


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
        return MitigatedHead(**arrays, normalise=json.loads(metadata["normalise"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CounterGroundError(f"{path} is not a head that `counterground mitigate` wrote.") from error
