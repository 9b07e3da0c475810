"""Other ways to run a network than eager PyTorch; whether one gives the same numbers is not checked here."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

Forward = Callable[["torch.Tensor"], "torch.Tensor"]

_OPSET = 17


@dataclass(frozen=True)
class Runtime:
    """A way to run a network on the CPU in float32.

    Attributes:
        name: what runs it, with all that decides its numbers; part of the model's fingerprint.
        start: returns the forward pass, ``[n, 3, h, w]`` -> ``[n, classes]``. May raise anything.
    """

    name: str
    start: Callable[[], Forward]


def onnx_runtimes(network: torch.nn.Module, side: int) -> tuple[Runtime, ...]:
    """Return ONNX Runtime for a network of ``[n, 3, side, side]``; nothing where its packages are missing."""
    if any(find_spec(package) is None for package in ("onnx", "onnxruntime")):
        return ()
    name = f"onnxruntime {version('onnxruntime')}, opset {_OPSET}"
    return (Runtime(name, partial(_start_onnx, network, side)),)


def _start_onnx(network: torch.nn.Module, side: int) -> Forward:
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    # Threads that wait in a loop would take the processor from those that decode the next photos.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    graph = _exported(network, side)
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def forward(batch: torch.Tensor) -> torch.Tensor:
        (logits,) = session.run(None, {"photos": batch.contiguous().numpy()})
        return torch.from_numpy(logits)

    return forward


def _exported(network: torch.nn.Module, side: int) -> bytes:
    """Return the network as an ONNX graph that takes any number of photos."""
    import torch

    stream = io.BytesIO()
    with warnings.catch_warnings():
        # The newer exporter needs two more packages and takes ten times as long.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(2, 3, side, side),),
            stream,  # type: ignore[arg-type]  # the declared types omit files in memory
            input_names=["photos"],
            output_names=["logits"],
            dynamic_axes={"photos": {0: "n"}, "logits": {0: "n"}},
            opset_version=_OPSET,
            dynamo=False,
        )
    return stream.getvalue()
