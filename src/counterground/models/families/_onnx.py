"""``onnx:FILE``: a classifier in an ONNX file, run by onnxruntime on the CPU."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from counterground.errors import CounterGroundError, UsageError, error_message
from counterground.files import file_sha256, given_path, is_file
from counterground.models._base import Classifier, Family, LoadOptions, read_options, require
from counterground.models._fingerprint import WEIGHTS_HASH, combine, library_versions, plain_repr
from counterground.models._labels import match_labels, read_labels, unnamed
from counterground.models._weights import read_json
from counterground.text import counted

if TYPE_CHECKING:
    import torch
    from PIL import Image


_ROUNDING = 1e-3  # of probabilities and their sum
_LARGEST_SIDE = 2**14  # pixels
_FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
_EXAMPLE = (
    '{"labels": "imagenet", "size": 224, "resize": 256, "interpolation": "bilinear", '
    '"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}'
)

_Side = Annotated[int, Field(strict=True, gt=0, le=_LARGEST_SIDE)]
_Number = Annotated[float, Field(strict=True, gt=-1e6, lt=1e6)]
_Positive = Annotated[float, Field(strict=True, gt=0, lt=1e6)]


class OnnxSource(BaseModel):
    """An ONNX classifier, and how to prepare its photos and read its logits.

    Attributes:
        spec: the specification as written.
        file: the graph's file.
        labels: ``imagenet``, or a file of class names, one per line, beside the graph.
        size: height and width of the network's input, None to take them from the graph.
        resize: pixels of the shorter side before the centre is cropped, or ``squash``.
        interpolation: Pillow's name for the filter.
        mean: mean of each channel (RGB), for pixels between 0 and 1.
        std: standard deviation, likewise.
        output: ``logits``, or ``probabilities`` if the graph ends in a softmax.
        output_name: the output to read, if the graph has several.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    spec: str
    file: Path
    labels: str
    resize: _Side | Literal["squash"]
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
    mean: tuple[_Number, _Number, _Number]
    std: tuple[_Positive, _Positive, _Positive]
    size: _Side | tuple[_Side, _Side] | None = None
    output: Literal["logits", "probabilities"] = "logits"
    output_name: str | None = None

    @property
    def sidecar(self) -> Path:
        """The file that says so."""
        return self.file.with_name(f"{self.file.name}.json")


def find_onnx(spec: str) -> OnnxSource:
    """Return the file that ``onnx:FILE[?labels=FILE]`` names, with its sidecar ``FILE.json`` checked.

    Raises:
        UsageError: no such file or sidecar, or a sidecar with missing, unknown or impossible values.
        CounterGroundError: the sidecar is not JSON.
        ModuleNotFoundError: a package is missing.
    """
    require("onnx", "onnxruntime")
    place, _, query = spec.partition(":")[2].partition("?")
    labels = read_options(spec, query, ("labels",)).get("labels")
    file = given_path(place)
    if not is_file(file):
        raise UsageError(f"{spec}: there is no file {str(file)!r}.")
    sidecar = file.with_name(f"{file.name}.json")
    if not is_file(sidecar):
        raise UsageError(
            f"{spec}: an ONNX file contains neither preprocessing nor class names; write them into "
            f"{sidecar}, such as {_EXAMPLE}."
        )
    values = read_json(sidecar, spec)
    try:
        given = {} if labels is None else {"labels": labels}
        source = OnnxSource(**{**values, **given, "spec": spec, "file": file})
    except TypeError as error:
        raise UsageError(f"{spec}: {sidecar} must hold one JSON object, such as {_EXAMPLE}.") from error
    except ValidationError as error:
        problem = error.errors()[0]
        raise UsageError(
            f"{spec}: {sidecar}: {problem['loc'][0]!r}: {problem['msg']}; such as {_EXAMPLE}."
        ) from error
    if labels is None and source.labels != "imagenet":
        source = source.model_copy(update={"labels": str(file.parent / source.labels)})
    read_labels(source.labels)
    return source


class OnnxClassifier(Classifier):
    """A classifier in an ONNX graph with one image input, ``[n, 3, h, w]`` or ``[n, h, w, 3]``.

    A graph with a fixed batch size gets that many photos at a time. Its precision was decided when the file
    was written.

    Args:
        source: the file and what its sidecar says.
        options: load options; anything but fp32 on the CPU adds a warning.

    Raises:
        UsageError: a sidecar that does not fit the graph.
        CounterGroundError: the graph cannot be read or run.
    """

    runtime = "onnx"

    def __init__(self, source: OnnxSource, options: LoadOptions) -> None:
        from torchvision import transforms

        self.spec, self.device, self.dtype = source.spec, "cpu", "fp32"
        self._source = source
        self._session = _open(source)
        self._input, size = self._checked_input()
        self._output = self._checked_output()
        squash = source.resize == "squash"
        filters = transforms.InterpolationMode(source.interpolation)
        self._transform = transforms.Compose(
            [
                transforms.Resize(size if squash else source.resize, interpolation=filters),
                *([] if squash else [transforms.CenterCrop(size)]),
                transforms.ToTensor(),
                transforms.Normalize(source.mean, source.std),
            ]
        )
        self.dim = self._checked_classes(size)
        labels = match_labels(self.spec, unnamed(self.dim), source.labels)
        self.class_names, self.imagenet_columns = labels.names, labels.columns
        parameters, external = _weights(source)
        preprocessing = plain_repr(self._transform)
        versions = library_versions("onnxruntime", "torchvision")
        weights = [file_sha256(file) for file in (source.file, *external)]
        self.fingerprint = combine(
            weights=weights,
            preprocessing=preprocessing,
            classes=labels.names,
            output=[self._output, source.output],
            libraries=versions,
        )
        requested = (options.precision, options.device)
        differs = requested != ("fp32", "cpu")
        warning = f"An ONNX file runs on the CPU in its own precision, not in {' on '.join(requested)}."
        self.description = {
            "architecture": "ONNX",
            "weights": source.file.name,
            WEIGHTS_HASH: combine(weights=weights),
            "training_data": None,
            "parameters": parameters,
            "classes": self.dim,
            "preprocessing": preprocessing,
            "final_layer": f"as exported; {source.output}",
            "provider": "CPUExecutionProvider",
            "libraries": versions,
            "warnings": [*labels.warnings, *([warning] if differs else [])],
        }

    def preprocess(self, image: Image.Image) -> torch.Tensor:
        pixels: torch.Tensor = self._transform(image if image.mode == "RGB" else image.convert("RGB"))
        return pixels

    def encode(self, batch: torch.Tensor) -> torch.Tensor:
        import torch

        scores = self._run(batch.numpy())
        if self._source.output == "probabilities":
            if ((scores < 0) | (scores > 1 + _ROUNDING)).any():
                raise CounterGroundError(
                    f"{self.display_name}: the graph gives numbers below 0 or above 1, not probabilities; "
                    f'write "output": "logits" into {self._source.sidecar}.'
                )
            scores = np.log(np.maximum(scores, np.finfo(np.float32).tiny))
        return torch.from_numpy(scores)

    def _run(self, pixels: np.ndarray) -> np.ndarray:
        """Return ``[n, classes]`` float32 for ``[n, 3, h, w]``."""
        dtype, shape = _FLOATS[self._input.type], self._input.shape
        step = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else len(pixels)
        parts = []
        for start in range(0, len(pixels), step):
            part = pixels[start : start + step]
            blank = np.zeros((step - len(part), *part.shape[1:]), part.dtype)
            given = np.concatenate([part, blank])
            given = given.transpose(0, 2, 3, 1) if _channels_last(shape) else given
            given = np.ascontiguousarray(given, dtype=dtype)
            with _explained(self.spec, "run"):
                made = np.asarray(self._session.run([self._output], {self._input.name: given})[0])
            if made.ndim != 2 or len(made) != step or made.dtype.kind not in "biuf":
                raise CounterGroundError(
                    f"{self.spec}: output {self._output!r} is {made.shape} of {made.dtype} for "
                    f"{counted(step, 'photo')}, not a number for each class of each photo."
                )
            parts.append(made[: len(part)].astype(np.float32))
        return np.concatenate(parts)

    def _checked_input(self) -> tuple[Any, tuple[int, int]]:
        """Return the only input, and height and width that photos must have."""
        source, inputs = self._source, self._session.get_inputs()
        given = inputs[0]
        shape, sidecar = given.shape, source.sidecar
        sides = shape[1:3] if _channels_last(shape) else shape[2:]
        if len(inputs) != 1 or given.type not in _FLOATS or len(shape) != 4:
            names = ", ".join(f"{each.name} ({each.type} {each.shape})" for each in inputs)
            raise UsageError(
                f"{self.spec}: the graph takes {names}; only classifiers with one input, float [n, 3, h, w], "
                "can be scored. Wrap others in a function of your own: module:function."
            )
        wanted = (source.size, source.size) if isinstance(source.size, int) else source.size or (None, None)
        fixed = [side if isinstance(side, int) and side > 0 else None for side in sides]
        height, width = (one or other for one, other in zip(fixed, wanted, strict=True))
        if not height or not width or wanted not in ((None, None), (height, width)):
            raise UsageError(
                f'{self.spec}: the graph takes {sides}; write a "size" that fits into {sidecar}.'
            )
        if source.resize != "squash" and source.resize < max(height, width):
            raise UsageError(
                f"{self.spec}: {sidecar} resizes the shorter side to {source.resize}, from which {height} x "
                f"{width} pixels cannot be cropped."
            )
        return given, (height, width)

    def _checked_output(self) -> str:
        names = [each.name for each in self._session.get_outputs()]
        wanted = self._source.output_name or (names[0] if len(names) == 1 else None)
        if wanted not in names:
            raise UsageError(
                f"{self.spec}: the graph gives {', '.join(names)}; write the one with the logits as "
                f'"output_name" into {self._source.sidecar}.'
            )
        return str(wanted)

    def _checked_classes(self, size: tuple[int, int]) -> int:
        """Return how many numbers a photo gets; those that look like probabilities are no logits."""
        probe = self._run(np.zeros((1, 3, *size), np.float32))
        classes = probe.shape[1]
        normalised = classes > 1 and probe.min() >= 0 and abs(float(probe.sum()) - 1) < _ROUNDING
        if normalised and self._source.output == "logits":
            raise UsageError(
                f"{self.spec}: the graph gives probabilities (they add up to 1), not logits; "
                f'write "output": "probabilities" into {self._source.sidecar}.'
            )
        return int(classes)


@contextmanager
def _explained(spec: str, what: str) -> Iterator[None]:
    """Turn whatever ONNX raises into one line."""
    try:
        yield
    except Exception as error:
        raise CounterGroundError(f"{spec}: onnxruntime cannot {what} it ({error_message(error)}).") from error


def _open(source: OnnxSource) -> Any:
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # a failure is raised as well, and reported once
    with _explained(source.spec, "open"):
        session = onnxruntime.InferenceSession(
            str(source.file), options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
        for each in (*session.get_inputs(), *session.get_outputs()):
            _ = each.name, each.shape  # bytes that are not UTF-8 raise here
    return session


def _channels_last(shape: list[Any]) -> bool:
    return len(shape) == 4 and shape[3] == 3 and shape[1] != 3


def _weights(source: OnnxSource) -> tuple[int, list[Path]]:
    """Return how many numbers the graph's initializers hold, and the files beside it with some of them."""
    import onnx

    with _explained(source.spec, "open"):
        held = onnx.load(str(source.file), load_external_data=False).graph.initializer
    places = {entry.value for tensor in held for entry in tensor.external_data if entry.key == "location"}
    files = [source.file.parent / name for name in sorted(places)]
    return sum(math.prod(tensor.dims) for tensor in held), files


ONNX = Family(
    prefix="onnx",
    usage="onnx:FILE",
    resolve=find_onnx,
    load=lambda spec, options: OnnxClassifier(find_onnx(spec), options),
    kind=lambda _spec: "classifier",
    extra="onnx",
)
