"""``onnx:FILE``: a classifier in an ONNX file, run by onnxruntime on the CPU."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from counterground.errors import CounterGroundError, UsageError, error_message
from counterground.files import file_sha256, given_path, is_file
from counterground.models._base import Classifier, Family, LoadOptions, read_options, require
from counterground.models._fingerprint import combine, library_versions, plain_repr
from counterground.models._labels import Labels, match_labels, read_labels
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
        labels: names and ImageNet-1K indices of the logits.
        graph: the opened file.
        options: load options; anything but fp32 on the CPU adds a warning.
    """

    runtime = "onnx"

    def __init__(self, source: OnnxSource, labels: Labels, graph: _Graph, options: LoadOptions) -> None:
        self.spec, self.device, self.dtype = source.spec, "cpu", "fp32"
        self.class_names, self.imagenet_columns = labels.names, labels.columns
        self.dim = len(labels.names)
        self._graph = graph
        self._probabilities = source.output == "probabilities"
        self._sidecar = source.sidecar
        self._transform = _transform(source, graph.size)
        preprocessing = plain_repr(self._transform)
        versions = library_versions("onnxruntime", "torchvision")
        self.fingerprint = combine(
            weights=[file_sha256(file) for file in (source.file, *graph.external)],
            preprocessing=preprocessing,
            classes=labels.names,
            output=[graph.output, source.output],
            libraries=versions,
        )
        self.description = {
            "architecture": "ONNX",
            "weights": source.file.name,
            "training_data": None,
            "parameters": graph.parameters,
            "classes": self.dim,
            "preprocessing": preprocessing,
            "final_layer": f"as exported; {source.output}",
            "provider": "CPUExecutionProvider",
            "libraries": versions,
            "warnings": [*labels.warnings, *_warnings(options)],
        }

    def preprocess(self, image: Image.Image) -> torch.Tensor:
        pixels: torch.Tensor = self._transform(image if image.mode == "RGB" else image.convert("RGB"))
        return pixels

    def encode(self, batch: torch.Tensor) -> torch.Tensor:
        import torch

        scores = self._graph.run(batch.numpy())
        if self._probabilities:
            if ((scores < 0) | (scores > 1 + _ROUNDING)).any():
                raise CounterGroundError(
                    f"{self.display_name}: the graph gives numbers below 0 or above 1, not probabilities; "
                    f'write "output": "logits" into {self._sidecar}.'
                )
            scores = np.log(np.maximum(scores, np.finfo(np.float32).tiny))
        return torch.from_numpy(scores)


class _Graph:
    """An opened ONNX file with one image input.

    Attributes:
        size: height and width that photos must have.
        output: name of the output that is read.
        classes: how many numbers this output has for a photo.
        parameters: how many numbers the graph's initializers hold.
        external: files beside the graph in which it keeps weights, in the order of their names.
    """

    def __init__(self, source: OnnxSource) -> None:
        self._spec = source.spec
        self.parameters, self.external = _initializers(source)
        self._session = _open(source)
        self._input, self._dtype, self._channels_last, self._batch, fixed = _image_input(
            source, self._session
        )
        self.size = _agreed_size(source, fixed)
        self.output = _output(source, self._session)
        probe = self.run(np.zeros((1, 3, *self.size), np.float32))
        self.classes = probe.shape[1]
        if not self.classes:
            raise UsageError(f"{source.spec}: output {self.output!r} is empty: the graph knows no class.")
        looks_normalised = (
            bool(probe.min() >= 0) and abs(float(probe.sum()) - 1) < _ROUNDING and self.classes > 1
        )
        if looks_normalised and source.output == "logits":
            raise UsageError(
                f"{source.spec}: the graph gives probabilities (they add up to 1), not logits; "
                f'write "output": "probabilities" into {source.sidecar}.'
            )

    def run(self, pixels: np.ndarray) -> np.ndarray:
        """Return ``[n, classes]`` float32 for ``[n, 3, h, w]``."""
        step = self._batch or len(pixels)
        parts = []
        for start in range(0, len(pixels), step):
            part = pixels[start : start + step]
            blank = np.zeros((step - len(part), *part.shape[1:]), part.dtype)
            given = np.concatenate([part, blank]) if len(blank) else part
            if self._channels_last:
                given = given.transpose(0, 2, 3, 1)
            given = np.ascontiguousarray(given, dtype=self._dtype)
            made = self._forward(given)
            if made.ndim != 2 or len(made) != step or made.dtype.kind not in "biuf":
                raise CounterGroundError(
                    f"{self._spec}: output {self.output!r} is {made.shape} of {made.dtype} for "
                    f"{counted(step, 'photo')}, not a number for each class of each photo."
                )
            parts.append(made[: len(part)].astype(np.float32))
        return np.concatenate(parts)

    def _forward(self, given: np.ndarray) -> np.ndarray:
        try:
            (made,) = self._session.run([self.output], {self._input: given})
        except Exception as error:
            raise CounterGroundError(
                f"{self._spec}: onnxruntime cannot run it ({error_message(error)})."
            ) from error
        return np.asarray(made)


def load_onnx(spec: str, options: LoadOptions) -> OnnxClassifier:
    """Load ``onnx:FILE``, a classifier; an image tower without its text tower cannot be scored.

    Raises:
        UsageError: no such file or sidecar, or a sidecar that does not fit the graph.
        CounterGroundError: the graph cannot be read or run.
    """
    source = find_onnx(spec)
    graph = _Graph(source)
    labels = match_labels(spec, [f"class {index}" for index in range(graph.classes)], source.labels)
    return OnnxClassifier(source, labels, graph, options)


def _open(source: OnnxSource) -> Any:
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # a failure is raised as well, and reported once
    try:
        session = onnxruntime.InferenceSession(
            str(source.file), options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
        for each in (*session.get_inputs(), *session.get_outputs()):
            _ = each.name, each.shape  # bytes that are not UTF-8 raise here
    except Exception as error:
        raise CounterGroundError(
            f"{source.spec}: onnxruntime cannot open it ({error_message(error)})."
        ) from error
    return session


def _image_input(source: OnnxSource, session: Any) -> tuple[str, Any, bool, int | None, list[int | None]]:
    """Return name, NumPy type, whether channels come last, fixed batch size and fixed height and width."""
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(each.name for each in inputs)
        raise UsageError(
            f"{source.spec}: the graph takes {len(inputs)} inputs ({names}); only classifiers with one "
            "image input can be scored. Wrap others in a function of your own: module:function."
        )
    given = inputs[0]
    if given.type not in _FLOATS or len(given.shape) != 4:
        raise UsageError(
            f"{source.spec}: input {given.name!r} is {given.type} {given.shape}, not float [n, 3, h, w]."
        )
    fixed = [side if isinstance(side, int) and side > 0 else None for side in given.shape]
    channels_last = fixed[3] == 3 and fixed[1] != 3
    channels, sides = (fixed[3], fixed[1:3]) if channels_last else (fixed[1], fixed[2:])
    if channels not in (3, None):
        raise UsageError(
            f"{source.spec}: input {given.name!r} is {given.shape}: its channels are not the 3 of RGB."
        )
    return given.name, _FLOATS[given.type], channels_last, fixed[0], sides


def _agreed_size(source: OnnxSource, fixed: list[int | None]) -> tuple[int, int]:
    size = source.size
    given = (size, size) if isinstance(size, int) else size or (None, None)
    sides = []
    for name, wanted, graph in zip(("height", "width"), given, fixed, strict=True):
        if wanted is None and graph is None:
            raise UsageError(
                f'{source.spec}: the graph takes any {name}; write "size" into {source.sidecar}.'
            )
        if wanted is not None and graph not in (None, wanted):
            raise UsageError(
                f"{source.spec}: the graph takes {name} {graph}, but {source.sidecar} says {wanted}."
            )
        sides.append(wanted or graph or 0)
    if max(sides) > _LARGEST_SIDE:
        raise UsageError(f"{source.spec}: the graph takes photos of {sides[0]} x {sides[1]} pixels.")
    if source.resize != "squash" and source.resize < max(sides):
        raise UsageError(
            f"{source.spec}: {source.sidecar} resizes the shorter side to {source.resize}, less than the "
            f"{max(sides)} pixels that are cropped from it."
        )
    return sides[0], sides[1]


def _output(source: OnnxSource, session: Any) -> str:
    names = [each.name for each in session.get_outputs()]
    wanted = source.output_name or (names[0] if len(names) == 1 else None)
    if wanted not in names:
        raise UsageError(
            f"{source.spec}: the graph gives {', '.join(names)}; write the one with the logits as "
            f'"output_name" into {source.sidecar}.'
        )
    return str(wanted)


def _initializers(source: OnnxSource) -> tuple[int, list[Path]]:
    """Return how many numbers the graph's initializers hold, and the external files that keep tensors."""
    import onnx

    try:
        model = onnx.load(str(source.file), load_external_data=False)
    except Exception as error:
        raise CounterGroundError(
            f"{source.spec}: {source.file} is not an ONNX file ({error_message(error)})."
        ) from error
    held = model.graph.initializer
    files = {
        entry.value
        for tensor in held
        if tensor.data_location == onnx.TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return sum(math.prod(tensor.dims) for tensor in held), [
        source.file.parent / name for name in sorted(files)
    ]


def _transform(source: OnnxSource, size: tuple[int, int]) -> Any:
    """Return the preprocessing: Pillow's resize, centre crop, mean and deviation."""
    from torchvision import transforms

    filters = transforms.InterpolationMode(source.interpolation)
    squash = source.resize == "squash"
    resize = [transforms.Resize(size if squash else source.resize, interpolation=filters)]
    crop = [] if squash else [transforms.CenterCrop(size)]
    return transforms.Compose(
        [*resize, *crop, transforms.ToTensor(), transforms.Normalize(source.mean, source.std)]
    )


def _warnings(options: LoadOptions) -> list[str]:
    warnings: list[str] = []
    if options.precision != "fp32":
        warnings.append(
            f"An ONNX file runs in the precision it was written in, not in {options.precision} as requested."
        )
    if options.device != "cpu":
        warnings.append(f"An ONNX file runs on the CPU here, not on {options.device}.")
    return warnings


ONNX = Family(
    prefix="onnx",
    usage="onnx:FILE",
    resolve=find_onnx,
    load=load_onnx,
    kind=lambda _spec: "classifier",
    extra="onnx",
)
