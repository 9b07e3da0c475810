"""What lies beside an ONNX file: a graph carries neither preprocessing nor class names, so a sidecar does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from counterground.errors import CounterGroundError, UsageError, did_you_mean

_INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
_OUTPUTS = ("logits", "probabilities")
_REQUIRED = ("labels", "resize", "interpolation", "mean", "std")
_OPTIONAL = ("size", "output", "output_name")
_EXAMPLE = (
    '{"labels": "imagenet", "size": 224, "resize": 256, "interpolation": "bilinear", '
    '"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}'
)


@dataclass(frozen=True)
class OnnxSource:
    """An ONNX classifier and how photos and logits of it are to be read.

    Attributes:
        spec: as the user wrote it.
        file: the graph.
        labels: ``imagenet``, or a file of class names, one a line.
        size: height and width of the network's input, None to take them from the graph.
        resize: pixels of the shorter side before the centre is cropped; None to squash the whole photo
            to ``size``.
        interpolation: Pillow's name of the filter.
        mean: per channel (RGB), of pixels between 0 and 1.
        std: likewise.
        output: ``logits``, or ``probabilities`` where the graph ends in a softmax.
        output_name: which output, where the graph has several.
    """

    spec: str
    file: Path
    labels: str
    size: tuple[int, int] | None
    resize: int | None
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    output: str
    output_name: str | None


def find_onnx(spec: str, rest: str) -> OnnxSource:
    """Return the file that ``onnx:FILE`` names, with its sidecar ``FILE.json`` read and checked.

    Raises:
        UsageError: no such file or sidecar, or a sidecar with missing, unknown or impossible values.
        CounterGroundError: a package is missing, or the sidecar is not JSON.
    """
    missing = [package for package in ("onnx", "onnxruntime") if find_spec(package) is None]
    if missing:
        raise CounterGroundError(
            f"{spec} needs the package {' and '.join(missing)}: run pip install 'counterground[onnx]'."
        )
    file = Path(rest).expanduser()
    if not file.is_file():
        raise UsageError(f"{spec}: there is no file {str(file)!r}.")
    sidecar = file.with_name(f"{file.name}.json")
    if not sidecar.is_file():
        raise UsageError(
            f"{spec}: an ONNX file says nothing of preprocessing and class names; write them into {sidecar}, "
            f"such as {_EXAMPLE}."
        )
    try:
        values = json.loads(sidecar.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CounterGroundError(f"{spec}: {sidecar} is not readable JSON ({error}).") from error
    return _checked(spec, file, sidecar, values)


def _checked(spec: str, file: Path, sidecar: Path, values: Any) -> OnnxSource:
    def refuse(problem: str) -> UsageError:
        return UsageError(f"{spec}: {sidecar}: {problem}")

    if not isinstance(values, dict):
        raise refuse(f"it must be one JSON object, such as {_EXAMPLE}.")
    for key in values:
        if key not in (*_REQUIRED, *_OPTIONAL):
            raise refuse(f"unknown key {key!r}.{did_you_mean(key, (*_REQUIRED, *_OPTIONAL))}")
    for key in _REQUIRED:
        if key not in values:
            raise refuse(f"{key!r} is missing; such as {_EXAMPLE}.")
    output = values.get("output", "logits")
    for key, value, known in (
        ("interpolation", values["interpolation"], _INTERPOLATIONS),
        ("output", output, _OUTPUTS),
    ):
        if value not in known:
            raise refuse(f"{key!r} is {value!r}; use one of {', '.join(known)}.")
    resize = values["resize"]
    if resize != "squash" and not _is_side(resize):
        raise refuse(
            f"'resize' is {resize!r}; it is the shorter side's pixels before the centre crop, or \"squash\"."
        )
    return OnnxSource(
        spec,
        file,
        labels=_labels(values["labels"], sidecar, refuse),
        size=_size(values.get("size"), refuse),
        resize=None if resize == "squash" else resize,
        interpolation=values["interpolation"],
        mean=_triple("mean", values["mean"], refuse),
        std=_triple("std", values["std"], refuse),
        output=output,
        output_name=values.get("output_name"),
    )


def _labels(value: Any, sidecar: Path, refuse: Any) -> str:
    """Return ``imagenet``, or the path of a file that lies relative to the sidecar."""
    if value == "imagenet":
        return "imagenet"
    file = sidecar.parent / value if isinstance(value, str) and value else None
    if file is None or not file.is_file():
        raise refuse(
            f"'labels' is {value!r}; it is \"imagenet\" or a file beside it with one class name a line."
        )
    return str(file)


def _size(value: Any, refuse: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    sides = [value, value] if _is_side(value) else value
    if not isinstance(sides, list) or len(sides) != 2 or not all(_is_side(side) for side in sides):
        raise refuse(f"'size' is {value!r}; it is a number of pixels, or [height, width].")
    return sides[0], sides[1]


def _triple(key: str, value: Any, refuse: Any) -> tuple[float, float, float]:
    numbers = (
        isinstance(value, list) and len(value) == 3 and all(type(each) in (int, float) for each in value)
    )
    if not numbers or (key == "std" and min(value) <= 0):
        raise refuse(f"{key!r} is {value!r}; it is three numbers, for pixels between 0 and 1.")
    return float(value[0]), float(value[1]), float(value[2])


def _is_side(value: Any) -> bool:
    return type(value) is int and value > 0
