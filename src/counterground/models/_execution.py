"""Where a model runs and in which precision."""

from __future__ import annotations

import copy
import ctypes
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, get_args

from counterground.errors import CounterGroundError, UsageError, did_you_mean, is_installed
from counterground.settings import Precision

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import numpy.typing as npt
    import onnx
    import torch


_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4  # options of mallopt(3)
DEVICES = ("auto", "cpu", "cuda", "mps")
_ALL_DIGITS = ("none", "ieee")


def resolve_device(device: str) -> str:
    """Return the torch device for ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises:
        UsageError: unknown device, or one this machine does not have.
    """
    import torch

    device = str(device)  # it may be a torch.device
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if available[name])
    kind, _, index = device.partition(":")
    if kind not in available or (index and not (kind == "cuda" and re.fullmatch("[0-9]{1,4}", index))):
        raise UsageError(
            f"Unknown device {device!r}; use one of {', '.join(DEVICES)}.{did_you_mean(device, DEVICES)}"
        )
    if not available[kind] or (index and int(index) >= torch.cuda.device_count()):
        raise UsageError(
            f"Device {device!r} is not available to PyTorch on this machine; use --device auto or cpu."
        )
    return device


def check_precision(precision: str) -> Precision:
    """Return ``precision`` if it is known.

    Raises:
        UsageError: not fp32, bf16 or fp16.
    """
    known: tuple[Precision, ...] = get_args(Precision)
    if precision not in known:
        raise UsageError(
            f"Unknown precision {precision!r}; use one of {', '.join(known)}."
            f"{did_you_mean(str(precision), known)}"
        )
    return known[known.index(precision)]


def autocast(device: str, precision: str) -> AbstractContextManager[object]:
    """Context in which matrix products and convolutions run in ``precision``; weights stay float32."""
    import torch

    if precision == "fp32":
        return nullcontext()
    dtype = torch.bfloat16 if precision == "bf16" else torch.float16
    return torch.autocast(device.partition(":")[0], dtype=dtype)


class _Float32:
    """The precision in which this process multiplies float32, a setting of all threads.

    A program may have allowed TF32 or bfloat16, and PyTorch itself allows TF32 in convolutions on CUDA.
    """

    def __init__(self) -> None:
        self._lock, self._users = Lock(), 0
        self._general: str | None = None
        self._convolutions = False
        self._backends: list[tuple[Any, str]] = []

    def keep_all_digits(self) -> None:
        import torch

        with self._lock:
            self._users += 1
            if self._users > 1:
                return
            try:
                self._general = torch.get_float32_matmul_precision()
            except RuntimeError:  # it was set for one backend, in the newer way
                self._general = None
            cpu, cuda, cudnn = torch.backends.mkldnn, torch.backends.cuda, torch.backends.cudnn
            try:
                self._convolutions = cudnn.allow_tf32
            except RuntimeError:  # likewise
                self._convolutions = False
            parts = [(cpu, "matmul"), (cpu, "conv"), (cuda, "matmul"), (cudnn, "conv"), (cudnn, "rnn")]
            found = [getattr(backend, name, None) for backend, name in parts]
            known = [(each, getattr(each, "fp32_precision", None)) for each in found]
            self._backends = [(each, before) for each, before in known if before is not None]
            if self._general != "highest":
                torch.set_float32_matmul_precision("highest")
            with suppress(RuntimeError):  # a program may forbid changes of what concerns CUDA
                if self._convolutions:
                    cudnn.allow_tf32 = False
                for each, _ in self._backends:
                    if each.fp32_precision not in _ALL_DIGITS:
                        each.fp32_precision = "ieee"

    def restore(self) -> None:
        import torch

        with self._lock:
            self._users -= 1
            if self._users:
                return
            if self._general not in (None, "highest"):
                torch.set_float32_matmul_precision(self._general)
            with suppress(RuntimeError):
                if self._convolutions:
                    torch.backends.cudnn.allow_tf32 = True
                for each, before in self._backends:
                    if each.fp32_precision != before:
                        each.fp32_precision = before


_FLOAT32 = _Float32()


@contextmanager
def own_arithmetic(device: str) -> Iterator[None]:
    """Compute in the precision that a model was loaded in, whatever the surrounding program has set.

    A training script may run in an autocast, or allow TF32 or bfloat16 in products of float32. Features would
    differ in the third digit, and be stored as those of float32. The program's settings are restored.
    """
    kind = device.partition(":")[0]
    if kind not in DEVICES:  # it runs elsewhere
        yield
        return
    import torch

    _FLOAT32.keep_all_digits()
    try:
        with torch.autocast(kind, enabled=False):
            yield
    finally:
        _FLOAT32.restore()


class _Memory:
    """What the C library of this process does with freed memory; glibc lets us control it."""

    def __init__(self) -> None:
        self._lock, self._users = Lock(), 0
        library = ctypes.CDLL(None) if os.name == "posix" else None
        chosen = any(name.startswith("MALLOC_") for name in os.environ) or "GLIBC_TUNABLES" in os.environ
        controllable = not chosen and hasattr(library, "mallopt")
        self._library: Any = library if controllable else None

    def keep(self) -> None:
        with self._lock:
            self._users += 1
            if self._library and self._users == 1:
                self._library.mallopt(_MMAP_MAX, 0)
                self._library.mallopt(_TRIM_THRESHOLD, -1)
                self._library.mallopt(_TOP_PAD, 64 * 2**20)

    def give_back(self) -> None:
        """Set the largest values that glibc reaches by itself when large blocks are freed.

        The rest goes back as more is freed: ``malloc_trim`` would take long in a process with many objects.
        """
        with self._lock:
            self._users -= 1
            if self._library and self._users == 0:
                self._library.mallopt(_MMAP_MAX, 65536)
                self._library.mallopt(_MMAP_THRESHOLD, 32 * 2**20)
                self._library.mallopt(_TRIM_THRESHOLD, 64 * 2**20)
                self._library.mallopt(_TOP_PAD, 128 * 2**10)


_MEMORY = _Memory()


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let the process keep the memory that a forward pass frees, for the next one.

    By default large blocks go back to the system, which clears each page when it is requested again: half of
    the CPU time of convolutions on batches of 32. What an environment variable sets is left alone.
    """
    _MEMORY.keep()
    try:
        yield
    finally:
        _MEMORY.give_back()


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a device or this machine is out of memory."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text


Forward = Callable[["torch.Tensor"], Any]

_OPSET = 17


@dataclass(frozen=True)
class Runtime:
    """A way to run a network.

    Attributes:
        name: name of the runtime, with all that decides its numbers; part of the model's fingerprint.
        start: returns the forward pass, given a network and a batch like those it will get. May raise
            anything.
    """

    name: str
    start: Callable[[torch.nn.Module, torch.Tensor], Forward]


def runtimes_for(device: str, precision: str) -> tuple[Runtime, ...]:
    """Return the other ways to run a network on a device."""
    if (device, precision) != ("cpu", "fp32") or not all(map(find_spec, ("onnx", "onnxruntime"))):
        return ()
    return (Runtime(f"onnxruntime {version('onnxruntime')}, opset {_OPSET}", _start_onnx),)


def _start_onnx(network: torch.nn.Module, batch: torch.Tensor) -> Forward:
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    # Spinning threads would take the CPU from those that decode the next photos.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    graph = _export(network, batch)
    weights = _without_weights(graph, network)
    arrays = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
    options.add_external_initializers(list(weights), arrays)
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def forward(batch: torch.Tensor, _memory: object = (weights, arrays)) -> torch.Tensor:  # keeps them alive
        (made,) = session.run(None, {"photos": batch.contiguous().numpy()})
        return torch.from_numpy(made)

    return forward


def _export(network: torch.nn.Module, batch: torch.Tensor) -> onnx.ModelProto:
    """Return the network as an ONNX graph that takes any number of photos, and also its weights as inputs."""
    import onnx
    import torch
    from torch.jit._trace import TracerWarning

    if batch.ndim != 4:
        raise CounterGroundError("photos come as patches, whose grid decides what is computed")
    own = own_layers(network)
    for layer in own.modules():
        if "fused_attn" in vars(layer):  # timm's name for it
            vars(layer)["fused_attn"] = False
    with (
        tempfile.NamedTemporaryFile(suffix=".onnx") as written,
        _without_fused_attention(),
        warnings.catch_warnings(record=True) as caught,
    ):
        # The newer exporter needs two more packages and takes ten times as long.
        warnings.simplefilter("always")
        torch.onnx.export(
            own,
            (batch.new_zeros(2, *batch.shape[1:]),),
            written.name,
            input_names=["photos"],
            output_names=["features"],
            dynamic_axes={"photos": {0: "n"}, "features": {0: "n"}},
            opset_version=_OPSET,
            dynamo=False,
            export_params=False,  # copying them takes most of the time of an export
            do_constant_folding=False,  # ONNX Runtime does it
        )
        graph = onnx.load(written.name)
    for warning in caught:
        # Libraries branch on shapes, which do not change. A user's own code may branch on what is in a photo.
        if issubclass(warning.category, TracerWarning) and not is_installed(warning.filename):
            place = f"{Path(warning.filename).name}, line {warning.lineno}"
            raise CounterGroundError(f"{place} may decide by values, which a graph does not hold")
    return graph


def _without_weights(graph: onnx.ModelProto, network: torch.nn.Module) -> dict[str, npt.NDArray[Any]]:
    """Turn the graph's weights into constants stored outside it; return them, shared with the network."""
    import onnx

    held = dict(chain(network.named_parameters(), network.named_buffers()))
    weights = {}
    for given in [each for each in graph.graph.input if each.name != "photos"]:
        array = held[given.name].detach().contiguous().numpy()
        outside = graph.graph.initializer.add(
            name=given.name,
            dims=array.shape,
            data_type=given.type.tensor_type.elem_type,
            data_location=onnx.TensorProto.EXTERNAL,
        )
        for key, value in {"location": "memory", "offset": 0, "length": array.nbytes}.items():
            outside.external_data.add(key=key, value=str(value))
        weights[given.name] = array
        graph.graph.input.remove(given)
    return weights


@contextmanager
def _without_fused_attention() -> Iterator[None]:
    """Run attention as products and a softmax: PyTorch's fused kernels cannot be exported."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def own_layers(network: torch.nn.Module) -> torch.nn.Module:
    """Return a copy of the layers, which may be changed; the weights are not copied."""
    import torch

    values = (value for layer in network.modules() for value in vars(layer).values())
    held = (value for value in values if isinstance(value, torch.Tensor))  # such as what weight_norm computes
    tensors = chain(network.parameters(), network.buffers(), held)
    shared: dict[int, Any] = {id(tensor): tensor for tensor in tensors}
    return copy.deepcopy(network, shared)
