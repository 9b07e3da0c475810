"""Ways to run a network other than eager PyTorch; whether one gives the same numbers is not checked here."""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterground.errors import CounterGroundError, is_installed
from counterground.settings import RuntimeChoice

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx
    import torch

Forward = Callable[["torch.Tensor"], Any]

_OPSET = 17


@dataclass(frozen=True)
class Runtime:
    """A way to run a network.

    Attributes:
        name: name of the runtime, with all that decides its numbers; part of the model's fingerprint.
        start: returns the forward pass, given a network and a batch like those it will get. May raise
            anything.
        choice: the ``-X runtime`` that selects it.
    """

    name: str
    start: Callable[[torch.nn.Module, torch.Tensor], Forward]
    choice: RuntimeChoice


def runtimes_for(device: str, precision: str) -> tuple[Runtime, ...]:
    """Return the other ways to run a network on a device."""
    kind = device.partition(":")[0]
    if kind not in {"cpu", "cuda"}:
        return ()
    found = [Runtime("torch.compile", _start_compiled, "compile")]
    if (kind, precision) == ("cpu", "fp32") and all(map(find_spec, ("onnx", "onnxruntime"))):
        name = f"onnxruntime {version('onnxruntime')}, opset {_OPSET}"
        found.append(Runtime(name, _start_onnx, "onnx"))
    return tuple(found)


def _start_compiled(network: torch.nn.Module, batch: torch.Tensor) -> Forward:
    import torch

    # Freezing folds batch norm and lays weights out for the CPU.
    compiled = torch.compile(own_layers(network), options={"freezing": batch.device.type == "cpu"})

    def forward(batch: torch.Tensor) -> Any:
        # A batch of one photo would be compiled separately.
        several = batch if len(batch) > 1 else batch.expand(2, *batch.shape[1:]).contiguous()
        torch._dynamo.mark_dynamic(several, 0)  # noqa: SLF001  # PyTorch documents it
        made = compiled(several)
        return made if len(batch) > 1 else made[:1]

    return forward


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

    _require_pixels(batch)
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


def _require_pixels(batch: torch.Tensor) -> None:
    if batch.ndim != 4:
        raise CounterGroundError("photos come as patches, whose grid decides what is computed")


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
