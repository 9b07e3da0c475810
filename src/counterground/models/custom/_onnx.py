"""``onnx:FILE``: a classifier in an ONNX file, run by onnxruntime on the CPU."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from counterground.errors import CounterGroundError, UsageError, did_you_mean, error_message
from counterground.files import file_sha256, given_path, is_file
from counterground.models._base import Classifier
from counterground.models._family import Family, LoadOptions, read_options, require
from counterground.models._fingerprint import combine, library_versions, plain_repr
from counterground.models._labels import Labels, match_labels, read_labels
from counterground.models._weights import read_json
from counterground.models.execution import split_transform
from counterground.text import counted

if TYPE_CHECKING:
    import torch
    from PIL import Image


_INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
_OUTPUTS = ("logits", "probabilities")
_ROUNDING = 1e-3  # of probabilities and their sum
_LARGEST_SIDE = 2**14  # pixels
_LARGEST_NUMBER = 1e6  # for pixels between 0 and 1; NaN is not below it
_FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
_REQUIRED = ("labels", "resize", "interpolation", "mean", "std")
_OPTIONAL = ("size", "output", "output_name")
_EXAMPLE = (
    '{"labels": "imagenet", "size": 224, "resize": 256, "interpolation": "bilinear", '
    '"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}'
)


@dataclass(frozen=True)
class OnnxSource:
    """An ONNX classifier, and how to prepare its photos and read its logits.

    Attributes:
        spec: the specification as written.
        file: the graph's file.
        labels: ``imagenet``, or a file of class names, one per line.
        size: height and width of the network's input, None to take them from the graph.
        resize: pixels of the shorter side before the centre is cropped; None to squash the whole photo
            to ``size``.
        interpolation: Pillow's name for the filter.
        mean: mean of each channel (RGB), for pixels between 0 and 1.
        std: standard deviation, likewise.
        output: ``logits``, or ``probabilities`` if the graph ends in a softmax.
        output_name: the output to read, if the graph has several.
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
    if labels is not None and isinstance(values, dict):
        read_labels(labels)
        values["labels"] = labels if labels == "imagenet" else str(given_path(labels).absolute())
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
            f"'resize' is {resize!r}; it must be the shorter side's pixels before the centre crop, or "
            '"squash".'
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
    """Return ``imagenet``, or the path of a file, which is given relative to the sidecar."""
    if value == "imagenet":
        return "imagenet"
    file = sidecar.parent / value if isinstance(value, str) and value else None
    if file is None or not is_file(file):
        raise refuse(
            f"'labels' is {value!r}; it must be \"imagenet\" or a file beside it with one class name per "
            "line."
        )
    return str(file)


def _size(value: Any, refuse: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    sides = [value, value] if _is_side(value) else value
    if not isinstance(sides, list) or len(sides) != 2 or not all(_is_side(side) for side in sides):
        raise refuse(f"'size' is {value!r}; it must be a number of pixels, or [height, width].")
    return sides[0], sides[1]


def _triple(key: str, value: Any, refuse: Any) -> tuple[float, float, float]:
    numbers = (
        isinstance(value, list)
        and len(value) == 3
        and all(type(each) in (int, float) and abs(each) < _LARGEST_NUMBER for each in value)
    )
    if not numbers or (key == "std" and min(value) <= 0):
        raise refuse(f"{key!r} is {value!r}; it must be three numbers, for pixels between 0 and 1.")
    return float(value[0]), float(value[1]), float(value[2])


def _is_side(value: Any) -> bool:
    return type(value) is int and 0 < value <= _LARGEST_SIDE


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

    runs_by = "onnx"

    def __init__(self, source: OnnxSource, labels: Labels, graph: _Graph, options: LoadOptions) -> None:
        self.spec, self.device, self.dtype = source.spec, "cpu", "fp32"
        self.class_names, self.imagenet_columns = labels.names, labels.columns
        self.dim = len(labels.names)
        self._graph = graph
        self._probabilities = source.output == "probabilities"
        self._sidecar = f"{source.file}.json"
        self._transform = _transform(source, graph.size)
        self.split = split_transform(self._transform)
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
        parameters: how many numbers the graph's initializers hold, those of its branches and loops included.
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
                f'write "output": "probabilities" into {source.file}.json.'
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
    given = source.size or (None, None)
    sides = []
    for name, wanted, graph in zip(("height", "width"), given, fixed, strict=True):
        if wanted is None and graph is None:
            raise UsageError(
                f'{source.spec}: the graph takes any {name}; write "size" into {source.file}.json.'
            )
        if wanted is not None and graph not in (None, wanted):
            raise UsageError(
                f"{source.spec}: the graph takes {name} {graph}, but {source.file}.json says {wanted}."
            )
        sides.append(wanted or graph or 0)
    if max(sides) > _LARGEST_SIDE:
        raise UsageError(f"{source.spec}: the graph takes photos of {sides[0]} x {sides[1]} pixels.")
    if source.resize is not None and source.resize < max(sides):
        raise UsageError(
            f"{source.spec}: {source.file}.json resizes the shorter side to {source.resize}, less than the "
            f"{max(sides)} pixels that are cropped from it."
        )
    return sides[0], sides[1]


def _output(source: OnnxSource, session: Any) -> str:
    names = [each.name for each in session.get_outputs()]
    wanted = source.output_name or (names[0] if len(names) == 1 else None)
    if wanted not in names:
        raise UsageError(
            f"{source.spec}: the graph gives {', '.join(names)}; write the one with the logits as "
            f'"output_name" into {source.file}.json.'
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
    held, constants = _tensors(model.graph)
    of_functions = (_constants(function.node) for function in model.functions)
    files = {
        entry.value
        for tensor in chain(held, constants, chain.from_iterable(of_functions))
        if tensor.data_location == onnx.TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    paths = [source.file.parent / name for name in sorted(files)]
    for path in paths:
        if not is_file(path):
            raise CounterGroundError(f"{source.spec}: the graph keeps weights in {path}, which is missing.")
    return sum(math.prod(tensor.dims) for tensor in held), paths


def _tensors(graph: Any) -> tuple[list[Any], list[Any]]:
    """Return the initializers of a graph and its inner ones (branches, loops), and the tensors of nodes."""
    sparse = [part for each in graph.sparse_initializer for part in (each.values, each.indices)]
    held, constants = [*graph.initializer, *sparse], _constants(graph.node)
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                of_inner = _tensors(inner)
                held += of_inner[0]
                constants += of_inner[1]
    return held, constants


def _constants(nodes: Any) -> list[Any]:
    attributes = [attribute for node in nodes for attribute in node.attribute]
    single = [attribute.t for attribute in attributes if attribute.HasField("t")]
    return [*single, *chain.from_iterable(attribute.tensors for attribute in attributes)]


def _transform(source: OnnxSource, size: tuple[int, int]) -> Any:
    """Return the preprocessing: Pillow's resize, centre crop, mean and deviation."""
    from torchvision import transforms

    filters = transforms.InterpolationMode(source.interpolation)
    resize = [transforms.Resize(source.resize or size, interpolation=filters)]
    crop = [] if source.resize is None else [transforms.CenterCrop(size)]
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
