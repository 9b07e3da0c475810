"""The wrapper for every library's classifiers: logits in float32, one column per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from counterground.errors import CounterGroundError
from counterground.models._base import Classifier
from counterground.models._family import LoadOptions
from counterground.models._fingerprint import combine, library_versions, plain_repr, tensor_digests
from counterground.models.execution import for_inference, own_layers, split_transform
from counterground.models.networks import NetworkEncoder
from counterground.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from PIL import Image


class NetworkClassifier(NetworkEncoder, Classifier):
    """A PyTorch network with one logit per class.

    Under bf16 and fp16 the last linear layer runs in float32 outside autocast, if one is found;
    ``description["final_layer"]`` says which, or that there is none.

    Args:
        spec: the specification as written.
        network: ``[n, 3, h, w]`` -> logits ``[n, classes]``, also as ``logits`` of a dict or object.
        transform: photo -> ``[3, h, w]``.
        class_names: name of each logit.
        imagenet_columns: ImageNet-1K index of each logit, or None.
        description: what is known of the weights; completed here.
        configuration: JSON-ready account of what was built; enters the fingerprint.
        libraries: distributions whose versions enter the fingerprint.
        options: device and precision.

    Raises:
        CounterGroundError: the numbers of names and ImageNet indices differ.
    """

    def __init__(
        self,
        spec: str,
        network: torch.nn.Module,
        transform: Callable[[Image.Image], torch.Tensor],
        *,
        class_names: tuple[str, ...],
        imagenet_columns: tuple[int | None, ...],
        description: dict[str, Any],
        configuration: dict[str, Any],
        libraries: tuple[str, ...],
        options: LoadOptions,
    ) -> None:
        if len(class_names) != len(imagenet_columns):
            raise CounterGroundError(
                f"{spec}: {len(class_names)} class names for {len(imagenet_columns)} logits."
            )
        self.spec, self.device, self.dtype = spec, options.device, options.precision
        self.class_names, self.imagenet_columns = class_names, imagenet_columns
        self.dim = len(class_names)
        self.transform = transform
        self.split = split_transform(transform)
        versions = library_versions(*libraries)
        preprocessing = plain_repr(transform)
        self.weights = tensor_digests(network.state_dict())
        self.fingerprint = combine(
            weights=self.weights,
            configuration=configuration,
            preprocessing=preprocessing,
            classes=class_names,
            dtype=self.dtype,
            libraries=versions,
        )
        self.image_network = for_inference(network, self.device)
        final = None if self.dtype == "fp32" else final_linear(network, self.dim, self.grey_photo)
        if final is not None:
            # Others may use the same network: only layers of our own compute in another way.
            self.image_network = own_layers(self.image_network)
            keep_float32(self.image_network.get_submodule(final[0]), self.device)
        self.description = {
            **description,
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "classes": self.dim,
            "preprocessing": preprocessing,
            "final_layer": _final_layer_note(final[0] if final else None, self.dtype),
            "libraries": versions,
            "warnings": list(description.get("warnings", [])),
        }

    def encode(self, batch: torch.Tensor) -> torch.Tensor:
        logits = output_of(self.display_name, self.forward(batch), "logits")
        if logits.ndim != 2 or len(logits) != len(batch):
            raise CounterGroundError(
                f"{self.display_name}: the network returned {tuple(logits.shape)} for "
                f"{counted(len(batch), 'photo')}; expected logits ({len(batch)}, {self.dim})."
            )
        if logits.shape[1] != self.dim:
            raise CounterGroundError(
                f"{self.display_name}: the network has {counted(logits.shape[1], 'output')}, but "
                f"{counted(self.dim, 'name')} are given; give one name for each output, in their order."
            )
        return logits.float().cpu()


def output_of(spec: str, output: Any, what: str) -> torch.Tensor:
    """Return the tensor in what a network returned: itself, or ``logits`` of an object or mapping.

    Raises:
        CounterGroundError: it is not the expected ``what``.
    """
    import torch

    keyed = isinstance(output, Mapping) and "logits" in output
    logits = output["logits"] if keyed else getattr(output, "logits", output)
    if not isinstance(logits, torch.Tensor):
        keys = f" with {', '.join(map(str, output))}" if isinstance(output, Mapping) else ""
        raise CounterGroundError(
            f"{spec}: the network returned {type(output).__name__}{keys}; expected a tensor of {what}, or a "
            "dict or object with 'logits'."
        )
    return logits


def final_linear(
    network: torch.nn.Module, classes: int, pixels: Callable[[], torch.Tensor] | None = None
) -> tuple[str, torch.nn.Module] | None:
    """Return name and module of the last linear layer with ``classes`` outputs, None without one.

    Of several it is the one that runs last on ``pixels``, if given: others may serve training only.
    """
    import torch

    linear: list[tuple[str, torch.nn.Module]] = [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Linear) and module.out_features == classes
    ]
    if len(linear) > 1 and pixels is not None:
        linear = _in_running_order(network, linear, pixels) or linear
    return linear[-1] if linear else None


def _in_running_order(
    network: torch.nn.Module,
    layers: Sequence[tuple[str, torch.nn.Module]],
    pixels: Callable[[], torch.Tensor],
) -> list[tuple[str, torch.nn.Module]]:
    """Return the layers that run, in the order in which they run."""
    import torch

    ran: list[tuple[str, torch.nn.Module]] = []
    hooks = [each[1].register_forward_hook(lambda *_, each=each: ran.append(each)) for each in layers]
    try:
        with torch.inference_mode():
            network(pixels())
    finally:
        for hook in hooks:
            hook.remove()
    return ran


def keep_float32(layer: torch.nn.Module, device: str) -> None:
    """Run ``layer`` in float32 whatever autocast is in force around it."""
    import torch

    forward = layer.forward

    def forward_float32(features: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.partition(":")[0], enabled=False):
            return forward(features.float())  # type: ignore[no-any-return]

    layer.forward = forward_float32


def _final_layer_note(name: str | None, precision: str) -> str:
    if precision == "fp32":
        return "float32"
    if name is None:
        return f"no final linear layer found: logits computed in {precision}, then converted to float32"
    return f"{name} in float32, outside autocast"
